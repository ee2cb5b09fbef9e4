"""What the records of a run come to: the rows behind tables and figures. INVALID records give no figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.harness import records, statistics, stored
from bench.harness.records import INVALID, Record
from bench.harness.statistics import Ratio, Spread
from bench.prediction.machine import Machine
from mpinn.config import Options
from mpinn.system.proc import cpus


class Run(NamedTuple):
    """A result directory, or a pack of one."""

    directory: Path | None  # None: of a pack
    plan: dict[str, Any]  # suite and profile
    sessions: list[dict[str, Any]]  # environment of every `bench run` that added to it
    left_out: dict[str, str]  # point -> why it could not be run
    records: list[Record]
    machine: Machine | None = None  # as it was calibrated, of a pack; else its file lies beside the directory


class Row(NamedTuple):
    """One point's repeated measurements of one metric."""

    point: str
    records: list[Record]  # that are not INVALID and have the metric
    spread: Spread

    def values(self, metric: str) -> np.ndarray:
        return values(self.records, metric)


class Scaled(NamedTuple):
    """A point of a speedup curve."""

    x: int
    row: Row
    speedup: Ratio
    efficiency: float  # speedup by x


def open_run(directory: Path) -> Run:
    """Return what `bench run` left in a directory. Raises UsageError."""
    found = records.existing(directory)
    plan, sessions, left_out = (stored.load(directory, name) for name in ("plan", "environment", "left_out"))
    return Run(directory, plan, sessions, left_out, found)


def cores(run: Run) -> int:
    """Return the cores that the runs could use: the machine's, or the CPUs that were allowed."""
    machine = run.plan["profile"]["machine"]
    found = sum(cluster["cores"] for cluster in machine["clusters"])
    return min(found, len(cpus(machine["allowed"]))) if machine.get("allowed") else found


def values(found: Sequence[Record], metric: str) -> np.ndarray:
    """Return a metric of the records that are right and have it."""
    kept = [one["metrics"].get(metric) for one in found if one["verdict"] != INVALID]
    return np.array([value for value in kept if value is not None], float)


def by_point(found: Sequence[Record], experiment: str | None = None) -> dict[str, list[Record]]:
    """Return the records of an experiment, or all, by point in the order in which points were first recorded."""
    groups: dict[str, list[Record]] = {}
    for record in found:
        if experiment in (None, record["experiment"]):
            groups.setdefault(record["point"], []).append(record)
    return groups


def rows(found: Sequence[Record], experiment: str, metric: str) -> list[Row]:
    """Return a row for each point of an experiment that has the metric, ordered by ranks, workers and options."""
    made = []
    for point, group in by_point(found, experiment).items():
        kept = [one for one in group if one["verdict"] != INVALID and one["metrics"].get(metric) is not None]
        if kept:
            made.append(Row(point, kept, statistics.spread(values(kept, metric))))
    return sorted(made, key=lambda row: setting_key(row.records[0]))


def setting_key(record: Record) -> tuple[Any, ...]:
    """Return what orders points: numbers by size, lists of them too, words as they are."""
    options = [(name, sortable(value)) for name, value in sorted(record["options"].items())]
    return (
        record["program"],
        record["ranks"],
        record["workers"] or 0,
        str([o for o in options if o[1][0] == 1]),
        options,
    )


def sortable(value: Any) -> tuple[Any, ...]:
    """Return a value as one that can be compared with any other: numbers before words before lists."""
    if isinstance(value, list):
        return (2, *map(sortable, value))
    return (1, value) if isinstance(value, str) else (0, value or 0)


def setting(record: Record, name: str) -> Any:
    """Return the value of a setting that points differ in: ranks, workers, an option, or what is made of them.

    `degree`: ranks or workers; `law`: workers^2 x worker batch.
    """
    if name == "degree":
        return max(record["ranks"], record["workers"] or 1)
    if name == "law":
        return record["workers"] ** 2 * record["options"].get("worker_batch", Options().worker_batch)
    return record["options"][name] if name in record["options"] else record.get(name)


def scaling(found: Sequence[Record], experiment: str, metric: str, x: str) -> list[Scaled]:
    """Return speedups of an experiment over `x` (ranks or workers) against its point with x = 1; none without it."""
    points = rows(found, experiment, metric)
    base = next((row for row in points if setting(row.records[0], x) == 1), None)
    if base is None:
        return []
    scaled = []
    for row in points:
        at = setting(row.records[0], x)
        speedup = statistics.ratio(base.values(metric), row.values(metric))
        scaled.append(Scaled(at, row, speedup, speedup.value / at))
    return sorted(scaled, key=lambda one: one.x)


def serial_fraction(curve: Sequence[Scaled], cores: int) -> float | None:
    """Return Amdahl's serial fraction fitted to the points of a curve that have a core for each of x."""
    fitting = [one for one in curve if one.x <= cores]
    xs = np.array([one.x for one in fitting], float)
    return statistics.serial_fraction(xs, np.array([one.row.spread.median for one in fitting]))


def merit(run: Run) -> Row | None:
    """Return the figure of merit: the point of training that reached the target soonest, in every repeat."""
    target = run.plan["suite"]["target_accuracy"]
    best = None
    for point, group in by_point(run.records).items():
        kept = [one for one in group if one["verdict"] != INVALID and one["program"] == "train"]
        reached = np.array([seconds for one in kept if (seconds := seconds_to(one, "test", target)) is not None])
        if len(reached) and len(reached) == len(kept):
            row = Row(point, kept, statistics.spread(reached))
            if best is None or row.spread.median < best.spread.median:
                best = row
    return best


def seconds_to(record: Record, which: str, level: float) -> float | None:
    """Return the seconds of training until an accuracy (percent) was reached on the training or test set."""
    series = record.get("series", {})
    elapsed = 0.0
    for accuracy, seconds in zip(series.get(f"{which}_accuracy", []), series.get("train_seconds", []), strict=False):
        elapsed += seconds
        if accuracy is not None and accuracy >= level:
            return elapsed
    return None


def epochs_to(record: Record, which: str, level: float) -> int | None:
    """Return the epochs of training until an accuracy (percent) was reached on the training or test set."""
    accuracies = record.get("series", {}).get(f"{which}_accuracy", [])
    return next((n for n, value in enumerate(accuracies, start=1) if value is not None and value >= level), None)


def unofficial(row: Row) -> bool:
    """Return whether any run behind a row was too short for an official figure."""
    return any(not one["official"] for one in row.records)
