"""What the measuring programs have in common: their command line, timing in turn, and the file for `bench run`."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from mpinn.system import files
from mpinn.system.command_line import Parser
from mpinn.system.errors import MpinnError


class NotHereError(MpinnError):
    """The program cannot run on this machine; the text says what to install. Its points are left out."""

    status = 3


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return the command line of `python -m bench.programs.<MODULE>`; the description is its docstring."""
    made = Parser(
        prog=f"python -m bench.programs.{module}",
        description=(description or "").replace("`", ""),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--result", type=Path, default=None, metavar="FILE", help="write the figures here as JSON")
    return made


def positive(text: str) -> int:
    """Return a whole number above 0, as options take it. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def in_turn(variants: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Return the seconds of every turn of each variant. They take turns: what disturbs one disturbs the others."""
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(turns):
        for name, variant in variants.items():
            start = perf_counter()
            variant()
            spent[name].append(perf_counter() - start)
    return spent


def check(name: str, passed: bool, detail: str) -> dict[str, Any]:
    """Return one test of what was measured; where it has not passed, the figures count for nothing."""
    return {"name": name, "passed": bool(passed), "detail": detail}


def write(
    path: Path | None,
    metrics: Mapping[str, float],
    units: Mapping[str, str],
    seconds: float,
    *,
    checks: Sequence[Mapping[str, Any]] = (),
    series: Mapping[str, Sequence[float | None]] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> None:
    """Write what was measured: `seconds` of timed work, a unit for every metric, and whether the results were right.

    A metric that has a series of its name is the median of it: so others can check it (`bench verify`). Without a path
    the figures are printed. Raises MpinnError.
    """
    content = {
        "metrics": dict(metrics),
        "units": dict(units),
        "series": dict(series or {}),
        "checks": [dict(one) for one in checks],
        "environment": dict(environment or {}),
        "seconds": seconds,
    }
    if path is not None:
        files.write_json(path, content)
        return
    for name, value in metrics.items():
        print(f"{name:32} {value:12.5g} {units[name]}")
    for one in checks:
        print(f"{'right' if one['passed'] else 'WRONG':8} {one['name']}: {one['detail']}")
