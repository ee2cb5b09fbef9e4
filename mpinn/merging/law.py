"""The law of block momentum: by its two settings, K and mu, many workers learn as well as one.

N workers learn B exemplars each between two merges and step by K eta, K the scale of the learning rate. Under
mu = 1 - K/N the master moves as far an exemplar as one worker that steps by eta: the mean divides what a worker learned
by N, the longer step makes it K times as much (the linear scaling rule of Goyal et al. 2017, arXiv:1706.02677), and
block momentum repeats it 1/(1 - mu) times. Both have their limits, measured on MNIST (`python -m bench run merge`):
momentum that remembers too much, N B / (1 - mu) exemplars, overshoots and in the end diverges, and a worker that steps
too far learns worse. Under --overlap (`merging.overlap`) workers go twice as far before a merge corrects them, and the
master answers a merge later: it bears less of either.
"""

from typing import NamedTuple


class Law(NamedTuple):
    """How much block momentum and long steps are borne, in exemplars and in K."""

    aim: int  # exemplars that momentum remembers where K can be chosen for it: no seed diverges
    memory: int  # and at most
    most: float  # K at most,
    share: float  # and at most so many workers a unit of K: their mean evens out only so much

    def most_scale(self, workers: int) -> float:
        """Return the largest K with which as many workers learn well."""
        return max(1.0, min(self.most, workers / self.share))

    def learning_rate_scale(self, workers: int, worker_batch: int) -> float:
        """Return the K with which momentum remembers what is aimed for, or as near as it may be."""
        return max(1.0, min(workers**2 * worker_batch / self.aim, self.most_scale(workers)))

    def momentum(self, workers: int, worker_batch: int, scale: float) -> float:
        """Return mu = 1 - K/N, or less where it would remember too much: then learning falls behind."""
        return max(0.0, 1 - max(scale / workers, workers * worker_batch / self.memory))

    def most_worker_batch(self, workers: int) -> int:
        """Return the largest worker batch with which as many workers learn as well as one."""
        return max(1, int(self.most_scale(workers) * self.memory / workers**2))

    def lowered(self, momentum: float, workers: int, worker_batch: int) -> float:
        """Return the momentum after a divergence: what may be remembered at most, half of what was, or none."""
        return max(0.0, min(2 * momentum - 1, 1 - workers * worker_batch / self.memory))


USUAL = Law(aim=4000, memory=6400, most=8.0, share=4)
OVERLAPPING = Law(aim=3500, memory=4500, most=5.0, share=5)


def of(overlapping: bool) -> Law:
    return OVERLAPPING if overlapping else USUAL
