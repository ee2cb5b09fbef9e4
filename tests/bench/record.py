"""A whole record, for tests that make records by hand."""

RECORD = {
    "suite": "s", "experiment": "p", "point": "p", "repeat": 0, "program": "train", "ranks": 1, "workers": 1, "seed": 0,
    "options": {}, "wait_policy": None, "verdict": "VALID", "reasons": [], "official": True, "metrics": {}, "units": {},
    "series": {}, "seconds": 1.0, "hosts": [], "environment": {}, "started": "", "wall_seconds": 1.0, "command": "",
    "result": None,
}  # fmt: skip
