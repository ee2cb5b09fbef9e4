"""A suite small enough for tests, on the small data set."""

from pathlib import Path

import yaml

from tests.digits import write_npz


def write_suite(folder: Path, **changes: object) -> Path:
    """Write a suite of two experiments, four points; return its path."""
    content = {
        "title": "A small suite",
        "description": "For tests.",
        "repeats": 2,
        "minimum_seconds": 0,
        "target_accuracy": 60,
        "options": {"epochs": 3, "data": str(write_npz(folder / "digits.npz")), "worker_batch": 10},
        "experiments": {
            "strong": {
                "title": "Speedup",
                "ranks": [1, 2],
                "workers": 4,
                "figures": [
                    {"kind": "speedup", "published": "speedup", "paper": "Figure 2"},
                    {"kind": "shares", "title": "Shares"},
                    {"kind": "efficiencies", "title": "Efficiencies"},
                    {"kind": "timeline", "title": "Rounds"},
                    {"kind": "predicted", "title": "Further"},
                ],
            },
            "growth": {
                "title": "Growth",
                "workers": [1, 2],
                "seeds": True,
                "mpi": False,
                "figures": [{"kind": "growth", "y": ["test_accuracy"], "epochs": [1, 3], "paper": "Figure 6"}],
            },
        },
    }
    path = folder / "small.yml"
    path.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return path
