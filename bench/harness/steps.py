"""What a run has to do: every point once a repeat; then, where speed is measured, what is not good enough yet.

Speed is measured where an experiment names the option that makes its runs longer (`lengthen`). There a run is made long
enough to be official, a repeat that something disturbed is measured again, and a point is repeated until the 95 %
interval of its figures is narrow.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.harness import records, statistics
from bench.harness.records import DEGRADED, INVALID, Record
from bench.harness.suite import Point
from mpinn.config import Options

Step = tuple[Point, int]  # a point and its repeat, from 0

ORDER_SEED = 0
TRIES = 3  # of a repeat that something disturbs
LONGEST = 20  # times as long as the suite says is a run made at most
MARGIN = 1.5  # by which a run is made longer than it must be
STEADY = statistics.UNSTABLE / 2  # width of a figure's interval: the ratio of two such figures is stable


def planned(points: Sequence[Point]) -> list[Step]:
    """Return what to run first: in every repeat each point once, in an order of its own."""
    found: list[Step] = []
    for repeat in range(max(point.repeats for point in points)):
        found += shuffled([(point, repeat) for point in points if repeat < point.repeats], repeat)
    return found


def shuffled(turn: list[Step], number: int) -> list[Step]:
    return random.Random(f"{ORDER_SEED} {number}").sample(turn, len(turn))


def more(points: Sequence[Point], found: Sequence[Record], most_repeats: int) -> list[Step]:
    """Return what to measure beyond the plan, given every record so far; nothing where all is good, or tried enough."""
    tries = Counter((one["point"], one["repeat"]) for one in found)
    latest = records.latest(list(found))
    turn: list[Step] = []
    for point in points:
        mine = [one for one in latest if one["point"] == point.name]
        if point.lengthen is None or not mine or any(one["verdict"] == INVALID for one in mine):
            continue
        doubtful = [one["repeat"] for one in mine if one["verdict"] == DEGRADED or not one["official"]]
        again = [repeat for repeat in doubtful if tries[point.name, repeat] < TRIES]
        if again:
            turn += [(point, repeat) for repeat in again]
        elif len(mine) < max(most_repeats, point.repeats) and not steady(point, mine):
            turn.append((point, 1 + max(one["repeat"] for one in mine)))
    return shuffled(turn, len(found))


def steady(point: Point, found: Sequence[Record]) -> bool:
    """Return whether the interval of each figure of a point is narrow."""
    for name in point.figures:
        values = np.array([one["metrics"][name] for one in found if one["metrics"].get(name)])
        if len(values) and statistics.ratio(values, np.full(len(values), np.median(values))).width > STEADY:
            return False
    return True


def of_length(point: Point, length: int | None) -> Point:
    """Return the point with runs of a length, a value of the option that makes them longer; None: the suite's."""
    return point if length is None else replace(point, options={**point.options, str(point.lengthen): length})


def length_by(point: Point, found: Sequence[Record], warm_up: int) -> int | None:
    """Return the length that runs of a point must have to be official, by the last one measured; None: unknown.

    At most `LONGEST` times what the suite says. warm_up: epochs of training that are not measured.
    """
    known = [one for one in found if one["point"] == point.name and one["seconds"] > 0]
    if point.lengthen is None or not known:
        return None
    usual: int = point.options.get(point.lengthen) or vars(Options())[point.lengthen]
    length, first = known[-1]["length"] or usual, warm_up if point.program == "train" else 0
    if known[-1]["official"]:
        return length
    wanted = first + math.ceil((length - first) * MARGIN * point.minimum_seconds / known[-1]["seconds"])
    return min(wanted, LONGEST * usual)
