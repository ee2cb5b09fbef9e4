"""How many exemplars a worker should learn between two merges, given what these cost, and whether to overlap them."""

from typing import NamedTuple

from mpinn.merging import law

SHARE = 0.05  # of the time of learning: what merges may take
STEPS = [step * 10**power for power in range(10) for step in (1, 2, 5)]  # so that noise seldom changes the choice
GAIN = 0.1  # of the time: what overlapping must save, or it is not worth the smaller worker batch


class MergeCost(NamedTuple):
    """Seconds from when the first rank begins to when the last one ends."""

    exemplar: float  # learning one exemplar a worker
    merge: float
    exposed: float | None = None  # of a merge, what learning cannot hide; None where there is nothing to hide

    def round(self, worker_batch: int, overlap: bool) -> float:
        """Return the seconds of a round."""
        learning = worker_batch * self.exemplar
        if overlap and self.exposed is not None:
            return max(learning + self.exposed, self.merge)
        return learning + self.merge


def cheapest(cost: MergeCost, most: int, overlap: bool) -> int:
    """Return the least of `STEPS` with which merges take no more than `SHARE`, or `most`."""
    longest = 1 + SHARE  # than learning, a round
    return min(
        most,
        next(n for n in STEPS if n >= most or cost.round(n, overlap) <= longest * n * cost.exemplar),
    )


def choose(cost: MergeCost, most: int, most_overlapping: int) -> tuple[int, bool]:
    """Return the worker batch and whether to overlap; most, most_overlapping: the largest without and with it."""
    alone, beside = cheapest(cost, most, overlap=False), cheapest(cost, most_overlapping, overlap=True)
    if cost.exposed is None:
        return alone, False
    left = (cost.round(beside, overlap=True) / beside) / (cost.round(alone, overlap=False) / alone)
    return (beside, True) if left < 1 - GAIN else (alone, False)


def largest(rule: str, workers: int, exemplars: int, overlap: bool) -> int:
    """Return the largest worker batch that a training set can give every worker, and with which no learning is lost."""
    most = max(1, exemplars // workers)
    return min(most, law.of(overlap).most_worker_batch(workers)) if rule == "block-momentum" else most
