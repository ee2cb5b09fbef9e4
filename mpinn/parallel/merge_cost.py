"""Measure what a merge costs on these ranks."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

from mpinn.merging.worker_batch import MergeCost
from mpinn.parallel.round import Team
from mpinn.parallel.stop_requests import NOTHING

ROUNDS = 9


def measure(team: Team, overlapping: Team | None = None) -> MergeCost:
    """Learn and merge the first round several times over; the teams are of no use afterwards. Every rank calls it.

    overlapping: the same team under --overlap, where it may hide something.
    """
    learn, merge = seconds(team)
    exposed = None if overlapping is None else max(0.0, sum(seconds(overlapping)) - learn)
    return MergeCost(*team.world.comm.bcast((learn / team.schedule.worker_batch, merge, exposed)))


def seconds(team: Team) -> tuple[float, float]:
    """Return the median of the seconds of learning, and of merging what need not be waited for any more."""
    world, counts = team.world, team.schedule.counts(0)
    batches = team.scatter_batches(epoch=1)[0]
    numbers = team.pace.numbers(team.exchange.master, epoch=1, done=0, factor=1.0)

    def timed(work: Callable[[], object]) -> float:
        world.comm.Barrier()
        start = perf_counter()
        work()
        world.comm.Barrier()
        return perf_counter() - start

    spent = []
    for _ in range(ROUNDS):
        learn = timed(lambda: team.learn(batches, counts, 1, 0))
        if team.exchange.reduction:
            team.exchange.reduction.wait()
        spent.append((learn, timed(lambda: team.exchange.merge(counts, NOTHING, numbers))))
    team.exchange.settle()
    learn, merge = (median(column) for column in zip(*spent, strict=True))
    return learn, merge
