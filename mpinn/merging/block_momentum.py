"""Block momentum (Chen and Huo, ICASSP 2016), with which many workers learn as well as one; its two settings.

N workers learn B exemplars each between two merges and step by K eta, K the scale of the learning rate. Under
mu = 1 - K/N the master moves as far an exemplar as one worker that steps by eta: the mean divides what a worker learned
by N, the longer step makes it K times as much (the linear scaling rule of Goyal et al. 2017, arXiv:1706.02677), and
block momentum repeats it 1/(1 - mu) times. Both have their limits, measured on MNIST (`python -m bench run merge`):
momentum that remembers too much, N B / (1 - mu) exemplars, overshoots and in the end diverges, and a worker that steps
too far learns worse.
"""

import numpy as np

GRID = 2.0**40  # steps of the velocity in a unit

AIM = 4000  # exemplars that momentum remembers where the scale can be chosen for it: no seed diverges
MEMORY = 6400  # and at most
MOST_SCALE = 8.0


def move(weights: np.ndarray, moments: np.ndarray, mean: np.ndarray, momentum: float) -> None:
    """Move the master beyond the mean: with G = mean - master, V <- mu V + G and master <- master + G + mu V.

    (BMUF in Nesterov's form.) V, the only moment, is cut to multiples of 2^-40: where it dies away it becomes 0, and
    never a denormal number, which is slow. weights (parameters,), moments (1, parameters) float32; mean float64.
    """
    (velocity,) = moments
    moved = momentum * velocity.astype(np.float64)
    moved += mean
    moved -= weights
    velocity[:] = np.trunc(moved * GRID) / GRID
    weights[:] = mean + momentum * velocity.astype(np.float64)


def most_scale(workers: int) -> float:
    """Return the largest K with which as many workers learn well: their mean evens out only so much."""
    return max(1.0, min(MOST_SCALE, workers / 4))


def learning_rate_scale(workers: int, worker_batch: int) -> float:
    """Return the K with which momentum remembers what is aimed for, or as near as it may be."""
    return max(1.0, min(workers**2 * worker_batch / AIM, most_scale(workers)))


def momentum_for(workers: int, worker_batch: int, scale: float) -> float:
    """Return mu = 1 - K/N, or less where it would remember too much: then learning falls behind."""
    return max(0.0, 1 - max(scale / workers, workers * worker_batch / MEMORY))


def most_worker_batch(workers: int) -> int:
    """Return the largest worker batch with which as many workers learn as well as one."""
    return max(1, int(most_scale(workers) * MEMORY / workers**2))


def lowered(momentum: float, workers: int, worker_batch: int) -> float:
    """Return the momentum after a divergence: what may be remembered at most, half of what was, or none."""
    return max(0.0, min(2 * momentum - 1, 1 - workers * worker_batch / MEMORY))
