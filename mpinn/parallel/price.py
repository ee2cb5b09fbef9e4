"""What a merge costs on these ranks, and the worker batch that it asks for."""

import math
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np

from mpinn.parallel.round import Team
from mpinn.requests import SLOTS

ROUNDS = 9
SHARE = 0.05  # of the time of learning: what merges may take


class Price(NamedTuple):
    """Seconds from when the first rank begins to when the last one ends."""

    exemplar: float  # learning one exemplar a worker
    merge: float


def measure(team: Team) -> Price:
    """Learn and merge the first round several times over; the team is of no use afterwards. Every rank calls it."""
    world, counts = team.world, team.schedule.counts(0)
    batches = team.scatter_batches(epoch=1)[0]

    def seconds(work: Callable[[], object]) -> float:
        world.comm.Barrier()
        start = perf_counter()
        work()
        world.comm.Barrier()
        return perf_counter() - start

    spent = [
        (
            seconds(lambda: team.learn(batches, counts, 1, 0)),
            seconds(lambda: team.exchange.merge(counts, team.momentum, np.zeros(SLOTS))),
        )
        for _ in range(ROUNDS)
    ]
    learn, merge = (median(column) for column in zip(*spent, strict=True))
    return Price(*world.comm.bcast((learn / team.schedule.worker_batch, merge)))


def worker_batch(price: Price, most: int) -> int:
    """Return the least of 1, 2, 5, 10, 20, ... exemplars with which merges take no more than `SHARE`, or `most`.

    (Steps, so that the noise of measuring seldom changes the choice.)
    """
    wanted = price.merge / (SHARE * price.exemplar)
    power = 10 ** math.floor(math.log10(max(1, wanted)))
    return min(most, next(step * power for step in (1, 2, 5, 10) if step * power >= wanted))
