"""What keeps many workers under block momentum as good as one: how far to step, how much to remember, when to merge.

N workers learn B exemplars each between two merges and step by K eta, K the scale of the learning rate. Under
mu = 1 - K/N the master moves as far an exemplar as one worker that steps by eta: the mean divides what a worker learned
by N, the longer step makes it K times as much (the linear scaling rule of Goyal et al. 2017, arXiv:1706.02677), and
block momentum repeats it 1/(1 - mu) times (Chen and Huo 2016). Both have their limits, measured on MNIST (`python -m
bench run merge`): momentum that remembers too much, N B / (1 - mu) exemplars, overshoots and in the end diverges, and a
worker that steps too far learns worse.
"""

AIM = 4000  # exemplars that momentum remembers where the scale can be chosen for it: no seed diverges
MEMORY = 6400  # and at most
MOST_SCALE = 8.0


def most_scale(workers: int) -> float:
    """Return the largest K with which as many workers learn well: their mean evens out only so much."""
    return max(1.0, min(MOST_SCALE, workers / 4))


def learning_rate_scale(workers: int, worker_batch: int) -> float:
    """Return the K with which momentum remembers what is aimed for, or as near as it may be."""
    return max(1.0, min(workers**2 * worker_batch / AIM, most_scale(workers)))


def block_momentum(workers: int, worker_batch: int, scale: float) -> float:
    """Return mu = 1 - K/N, or less where it would remember too much: then learning falls behind."""
    return max(0.0, 1 - max(scale / workers, workers * worker_batch / MEMORY))


def most_worker_batch(workers: int) -> int:
    """Return the largest worker batch with which as many workers learn as well as one."""
    return max(1, int(most_scale(workers) * MEMORY / workers**2))


def lower(momentum: float, workers: int, worker_batch: int) -> float:
    """Return the block momentum after a divergence: what may be remembered at most, half of what was, or none."""
    return max(0.0, min(2 * momentum - 1, 1 - workers * worker_batch / MEMORY))
