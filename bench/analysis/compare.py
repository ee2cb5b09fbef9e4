"""`bench compare A B`: two runs of the same points, on two machines or at two commits; ratios with their intervals."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from bench.analysis import results
from bench.harness import statistics
from bench.harness.records import VALID, Record
from bench.harness.statistics import Ratio
from mpinn.system.errors import UsageError
from mpinn.system.terminal import Table, show

# The metric by which a point is compared: the first that it has, or its first time.
SPEEDS = ("epoch_seconds", "exemplar_microseconds")
TIMES = ("s", "ms", "us")


class Pair(NamedTuple):
    point: str
    metric: str
    ratio: Ratio  # B by A
    doubtful: bool  # a record of either is not VALID


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare two runs",
        description="Compare the times of the points that two result directories share: B by A, with a 95% interval. "
        "Exit status: 0; 1 where B is slower than --fail-if-slower allows.",
    )
    parser.add_argument("a", type=Path, metavar="A", help="result directory that is the measure")
    parser.add_argument("b", type=Path, metavar="B", help="result directory to compare with it")
    parser.add_argument(
        "--fail-if-slower",
        type=percent,
        metavar="PERCENT",
        help="exit with 1 if a point of B is slower by more than this, by its whole interval",
    )
    parser.set_defaults(command=compare)


def percent(text: str) -> float:
    """Return '5%' or '5' as 5.0. Raises ValueError."""
    value = float(text.removesuffix("%"))
    if not value >= 0:
        raise ValueError
    return value


def pairs(a: list[Record], b: list[Record]) -> list[Pair]:
    """Return the comparison of every point that both have, with values that are not INVALID."""
    groups, others = results.by_point(a), results.by_point(b)
    found = []
    for point, group in groups.items():
        metric = speed_of(group)
        if point not in others or metric is None:
            continue
        mine, theirs = results.values(group, metric), results.values(others[point], metric)
        if len(mine) and len(theirs):
            doubtful = any(one["verdict"] != VALID for one in (*group, *others[point]))
            found.append(Pair(point, metric, statistics.ratio(theirs, mine), doubtful))
    return found


def speed_of(group: list[Record]) -> str | None:
    """Return the metric by which the speed of a point is compared."""
    units = group[0]["units"]
    return next(
        (name for name in SPEEDS if name in units), next((n for n, unit in units.items() if unit in TIMES), None)
    )


def compare(asked: argparse.Namespace) -> int:
    """Print the comparison; return the exit status. Raises UsageError."""
    runs = [results.open_run(directory) for directory in (asked.a, asked.b)]
    found = pairs(runs[0].records, runs[1].records)
    if not found:
        raise UsageError(f"{asked.a} and {asked.b} have no right result of the same point")
    rows, slower = [], []
    for pair in found:
        direction = "faster" if pair.ratio.value < 1 else "slower"
        said = direction if pair.ratio.significant else "no difference shown"
        notes = [said, *(["unstable"] if pair.ratio.unstable else []), *(["not all VALID"] if pair.doubtful else [])]
        limits = f"{pair.ratio.low:.3f} to {pair.ratio.high:.3f}"
        rows.append([pair.point, pair.metric, f"{pair.ratio.value:.3f}", limits, ", ".join(notes)])
        if asked.fail_if_slower is not None and pair.ratio.low > 1 + asked.fail_if_slower / 100:
            slower.append(pair.point)
    show(Table("B by A: below 1, B is faster", ["point", "metric", "ratio", "95% interval", ""], rows))
    if slower:
        print(f"slower by more than {asked.fail_if_slower:g}%: {', '.join(slower)}")
    return 1 if slower else 0
