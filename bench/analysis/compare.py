"""`bench compare A B ...`: runs of the same points, on other machines or at other commits; ratios with intervals."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from bench.analysis import results
from bench.analysis.results import Run
from bench.harness import statistics
from bench.harness.records import VALID, Record
from bench.harness.statistics import CHANCE, LEAST, Ratio
from mpinn.system.errors import UsageError
from mpinn.system.terminal import Table, show
from mpinn.system.words import counted

# The metric by which a point is compared: the first that it has, or its first time.
SPEEDS = ("epoch_seconds", "exemplar_microseconds")
TIMES = ("s", "ms", "us")


class Pair(NamedTuple):
    point: str
    metric: str
    ratio: Ratio  # B by A
    chance: float  # that as much is there by chance, corrected for the number of points
    repeats: int  # of the one with fewer
    doubtful: bool  # a record of either is not VALID

    @property
    def differs(self) -> bool:
        """Whether more than chance is between them."""
        return self.ratio.known and self.chance < CHANCE

    @property
    def again(self) -> bool:
        """Whether it should be measured again before anyone builds on it."""
        return self.doubtful or self.ratio.unstable or not self.ratio.known

    def said(self) -> str:
        """Return what there is to say of it."""
        if not self.ratio.known:
            return f"fewer than {LEAST} repeats: measure again"
        words = "no difference shown" if not self.differs else "faster" if self.ratio.value < 1 else "slower"
        doubts = (["unstable"] if self.ratio.unstable else []) + (["not all VALID"] if self.doubtful else [])
        return ", ".join([words, *doubts]) + (": measure again" if doubts else "")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare runs",
        description="Compare the times of the points that result directories share with the first: B by A, with a 95% "
        "interval, and whether they differ, corrected for the number of points. Exit status: 0; 1 where one is slower "
        "than --fail-if-slower allows.",
    )
    parser.add_argument("a", type=Path, metavar="A", help="result directory that is the measure")
    parser.add_argument("others", type=Path, nargs="+", metavar="B", help="result directories to compare with it")
    parser.add_argument(
        "--fail-if-slower",
        type=percent,
        metavar="PERCENT",
        help="exit with 1 if a point differs and is slower by more than this, by its whole interval",
    )
    parser.add_argument(
        "--doubtful-too", action="store_true", help="let --fail-if-slower count unstable and DEGRADED points as well"
    )
    parser.set_defaults(command=compare)


def percent(text: str) -> float:
    """Return '5%' or '5' as 5.0. Raises ValueError."""
    value = float(text.removesuffix("%"))
    if not value >= 0:
        raise ValueError
    return value


def pairs(a: Run, b: Run) -> list[Pair]:
    """Return the comparison of every point that both have, with values that are not INVALID, in the suite's order."""
    groups, others = results.by_point(a.records), results.by_point(b.records)
    experiments = list(a.plan["suite"]["experiments"]) if a.plan else []

    def place(group: list[Record]) -> tuple[Any, ...]:
        experiment = group[0]["experiment"]
        known = experiments.index(experiment) if experiment in experiments else len(experiments)
        return (known, results.setting_key(group[0]))

    found, chances = [], []
    for point, group in sorted(groups.items(), key=lambda one: place(one[1])):
        metric = speed_of(group)
        if point not in others or metric is None:
            continue
        mine, theirs = results.values(group, metric), results.values(others[point], metric)
        if len(mine) and len(theirs):
            doubtful = any(one["verdict"] != VALID for one in (*group, *others[point]))
            found.append(
                Pair(point, metric, statistics.ratio(theirs, mine), 1.0, min(len(mine), len(theirs)), doubtful)
            )
            chances.append(statistics.chance(mine, theirs))
    return [pair._replace(chance=one) for pair, one in zip(found, statistics.holm(chances), strict=True)]


def speed_of(group: list[Record]) -> str | None:
    """Return the metric by which the speed of a point is compared."""
    units = group[0]["units"]
    return next(
        (name for name in SPEEDS if name in units), next((n for n, unit in units.items() if unit in TIMES), None)
    )


def compare(asked: argparse.Namespace) -> int:
    """Print the comparison of each with the first; return the exit status. Raises UsageError."""
    first = results.open_run(asked.a)
    found = {directory: pairs(first, results.open_run(directory)) for directory in asked.others}
    for directory, made in found.items():
        if not made:
            raise UsageError(f"{asked.a} and {directory} have no right result of the same point")
    slower = []
    print(f"A: {asked.a}")
    for directory, made in found.items():
        print()
        show(table(f"B: {directory}. B by A: below 1, B is faster", made))
        if not any(pair.differs for pair in made):
            print("no point differs by more than chance explains" + too_few(made))
        if asked.fail_if_slower is not None:
            limit = 1 + asked.fail_if_slower / 100
            counted_too = [pair for pair in made if asked.doubtful_too or not pair.again]
            slower += [
                f"{pair.point} of {directory}" for pair in counted_too if pair.differs and pair.ratio.low > limit
            ]
    if slower:
        print(f"slower by more than {asked.fail_if_slower:g}%: {', '.join(slower)}")
    return 1 if slower else 0


def table(title: str, made: list[Pair]) -> Table:
    rows = []
    for pair in made:
        ratio = pair.ratio
        limits = f"{ratio.low:.3f} to {ratio.high:.3f}" if ratio.known else ""
        rows.append([pair.point, pair.metric, f"{ratio.value:.3f}", limits, pair.said()])
    return Table(title, ["point", "metric", "ratio", "95% interval", ""], rows)


def too_few(made: list[Pair]) -> str:
    """Say so where as many points and as few repeats could not show a difference, however large."""
    fewest = min(pair.repeats for pair in made)
    needed = statistics.repeats_to_differ(len(made), CHANCE)
    if fewest >= needed:
        return ""
    return f"; over {counted(len(made), 'point')} that needs {needed} repeats or more (--set repeats={needed})"
