"""Measure what a merge costs on these ranks."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

from mpinn.merging.worker_batch import MergeCost
from mpinn.parallel.round import Team
from mpinn.parallel.stop_requests import SLOTS

ROUNDS = 9


def measure(team: Team) -> MergeCost:
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
            seconds(lambda: team.exchange.merge(counts, np.zeros(SLOTS, np.int64))),
        )
        for _ in range(ROUNDS)
    ]
    learn, merge = (median(column) for column in zip(*spent, strict=True))
    return MergeCost(*world.comm.bcast((learn / team.schedule.worker_batch, merge)))
