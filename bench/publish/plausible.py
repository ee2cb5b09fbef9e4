"""What no machine can have measured: times shorter than their parts, clocks beyond the processor's, copied repeats."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from bench.prediction.model import PAPERS, weights_met

FASTEST = 6e9 * 64  # floating-point operations a second of one core: 6 GHz, two fused steps of 16 floats
OPERATIONS = 4  # an exemplar's at least, for each weight that it meets: forward and update
ROUNDING = 1.001
NOISE = 0.9  # of the bound, that an honest kernel on a noisy machine may seem to take; the least measured is 1.04
LATER = timedelta(days=1)  # that a clock may be ahead
MOST_WATTS = 1e6
TIMES = ("epoch_seconds", "evaluate_seconds", "start_seconds")  # metrics that no two runs share to the last digit,
APART = 1e-3  # seconds, if they are as long: of shorter ones, of no evaluation, say, a clock has too few to tell


def doubts(records: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what cannot be, of all records of a pack."""
    yield from copied(records)
    for record, run in zip(records, runs, strict=True):
        for words in (*of_record(record), *(of_run(record, run) if run else ())):
            yield f"{record['point']} #{record['repeat'] + 1}: {words}"


def of_record(record: dict[str, Any]) -> Iterator[str]:
    if record["wall_seconds"] * ROUNDING < record["seconds"]:
        yield f"{record['seconds']:.3g} s of measured work in {record['wall_seconds']:.3g} s"
    if record["program"] == "kernel_speed":
        yield from of_kernel(record)
    for host in record["hosts"]:
        clock, most = host.get("clock_mhz"), host.get("max_mhz")
        if clock and most and clock > 1.05 * most:
            yield f"a clock of {clock:.0f} MHz, of a processor with {most:.0f} at most"
        if host.get("seconds", 0) * ROUNDING < record["seconds"]:
            yield f"{record['seconds']:.3g} s of measured work while {host.get('seconds', 0):.3g} s passed"
        joules = host.get("joules")
        if joules is not None and not 0 <= joules < MOST_WATTS * max(host["seconds"], 1e-9):
            yield f"{joules:.3g} J in {host['seconds']:.3g} s"


def of_kernel(record: dict[str, Any]) -> Iterator[str]:
    """Yield where a kernel is faster than any core, or than the least that it must do."""
    least = 1e6 * OPERATIONS * weights_met(record["options"].get("layers", PAPERS)) / FASTEST
    for name in ("native_microseconds", "reference_microseconds"):
        took = record["metrics"].get(name)
        if took is not None and took < least:
            yield f"{name} is {took:.3g}; no core learns an exemplar in less than {least:.3g}"
    beyond = record["metrics"].get("native_by_bound")
    if beyond is not None and beyond < NOISE:
        yield f"native_by_bound is {beyond:.3g}: faster than the least that learning must do"


def of_run(record: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    layers = run["config"]["layers"]
    least = run["data"]["train"] * OPERATIONS * weights_met(layers) / FASTEST / record["ranks"]
    spent = sum(row["train_seconds"] + row["evaluate_seconds"] for row in run["epochs"])
    if spent > ROUNDING * record["wall_seconds"]:
        yield f"{spent:.3g} s of epochs in a run of {record['wall_seconds']:.3g} s"
    for row in run["epochs"]:
        parts = sum(phase["mean"] for phase in row["phases"].values())
        if parts > ROUNDING * row["train_seconds"]:
            yield f"epoch {row['epoch']} took {row['train_seconds']:.3g} s, its phases {parts:.3g}"
            return
        if row["train_seconds"] < least:
            yield f"epoch {row['epoch']} took {row['train_seconds']:.3g} s; no cores learn it in less than {least:.3g}"
            return


def copied(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield measurements that are the same to the last digit."""
    times = Counter(record["metrics"].get(name) or 0.0 for record in records for name in TIMES)
    twice = [value for value, count in times.items() if count > 1 and value >= APART]
    if twice:
        yield f"{len(twice)} times were measured twice to the last digit ({twice[0]!r} s, say): copied"


def moment(text: str) -> datetime:
    """Return a time that was written as ISO 8601, in UTC. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)


def out_of_order(what: str, measured: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with the times at which sessions or records started."""
    starts = []
    for one in measured:
        try:
            starts.append(moment(one["started"]))
        except ValueError:
            yield f"{what} that started at {one['started']!r}, which is no time"
            return
    if any(later < earlier for earlier, later in pairwise(starts)):
        yield f"{what} begin before those that stand before them"
    if starts and max(starts) > datetime.now(UTC) + LATER:
        yield f"measured in the future: {max(starts).isoformat()}"
