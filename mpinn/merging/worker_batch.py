"""How many exemplars a worker should learn between two merges, given what a merge costs."""

import math
from typing import NamedTuple

from mpinn.merging import block_momentum

SHARE = 0.05  # of the time of learning: what merges may take


class MergeCost(NamedTuple):
    """Seconds from when the first rank begins to when the last one ends."""

    exemplar: float  # learning one exemplar a worker
    merge: float


def cheapest(cost: MergeCost, most: int) -> int:
    """Return the least of 1, 2, 5, 10, 20, ... exemplars with which merges take no more than `SHARE`, or `most`.

    (Steps, so that the noise of measuring seldom changes the choice.)
    """
    wanted = cost.merge / (SHARE * cost.exemplar)
    power = 10 ** math.floor(math.log10(max(1, wanted)))
    return min(most, next(step * power for step in (1, 2, 5, 10) if step * power >= wanted))


def largest(rule: str, workers: int, exemplars: int) -> int:
    """Return the largest worker batch that a training set can give every worker, and with which no learning is lost."""
    most = max(1, exemplars // workers)
    return min(most, block_momentum.most_worker_batch(workers)) if rule == "block-momentum" else most
