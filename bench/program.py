"""What a measuring program leaves for `bench run`: one JSON file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpinn.checkpoint import write_atomically
from mpinn.results import without_nan

NOT_HERE = 3  # exit status of a program whose peer or compiler is not installed


def check(name: str, passed: bool, detail: str) -> dict[str, Any]:
    """Return one test of what was measured."""
    return {"name": name, "passed": bool(passed), "detail": detail}


def write(
    path: Path,
    metrics: Mapping[str, float],
    units: Mapping[str, str],
    seconds: float,
    *,
    checks: Sequence[Mapping[str, Any]] = (),
    series: Mapping[str, Sequence[float | None]] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> None:
    """Write what was measured: `seconds` of timed work, a unit for every metric, and whether the results were right.

    Raises MpinnError.
    """
    content = {
        "metrics": dict(metrics),
        "units": dict(units),
        "series": dict(series or {}),
        "checks": [dict(one) for one in checks],
        "environment": dict(environment or {}),
        "seconds": seconds,
    }
    write_atomically(path, (json.dumps(without_nan(content), indent=1, allow_nan=False) + "\n").encode())
