"""How the workers' weights become the master's: an exact mean, and block momentum on top of it.

The new master is sum(n_w W_w) / sum(n_w), n_w the exemplars that worker w learned. A float sum depends on how it
is grouped, and so on the number of ranks and the MPI library. This one does not: each term is rounded to a multiple
of 2^-q, q = 39 - ceil(log2(sum(n_w))), in float64. While |w| < 2^13 a partial sum is below 2^52 such units, so every
addition is exact, in any order. (Under layer normalisation weights grow well beyond 256 in a hundred epochs of good
training, so 2^13. The mean is then off by less than 2^-39 a worker, where float32 resolves a weight of 2^-9 to 2^-33.)
"""

import numpy as np

LIMIT = 2.0**13  # a weight at or beyond it is divergence
GRID = 2.0**40  # steps of the velocity in a unit


def rounding_constant(exemplars: int) -> float:
    """Return c such that (x + c) - c is x rounded to a multiple of 2^-q in float64, for rounds of `exemplars`."""
    q = 39 - (exemplars - 1).bit_length()
    return 1.5 * 2.0 ** (52 - q)


def add_rounded(
    total: np.ndarray, vectors: np.ndarray, counts: np.ndarray, constant: float, limit: float = LIMIT
) -> bool:
    """Add count * weights, rounded, of every worker to total; return whether all weights are numbers below the limit.

    total (parameters,) float64, changed in place; vectors (workers, parameters) float32; counts (workers,) int64. What
    a worker without exemplars left is not looked at.
    """
    good = True
    for weights, count in zip(vectors, counts, strict=True):
        if count:
            term = weights * np.float64(count)
            term += constant
            term -= constant
            total += term
            good = good and bool(np.abs(weights).max() < limit)
    return good


def move_master(
    master: np.ndarray, velocity: np.ndarray | None, total: np.ndarray, exemplars: int, momentum: float
) -> None:
    """Move the master to the mean, total / exemplars, or beyond it with block momentum; in place.

    Block momentum (Chen and Huo 2016, BMUF in Nesterov's form): with G = mean - master,
    V <- mu V + G and master <- master + G + mu V. Without a velocity it is the plain mean.
    V is cut to multiples of 2^-40: where it dies away it becomes 0, and never a denormal number, which is slow.
    master, velocity (parameters,) float32; total (parameters,) float64, used up.
    """
    mean = np.multiply(total, 1 / exemplars, out=total)
    if velocity is not None:
        moved = momentum * velocity.astype(np.float64)
        moved += mean
        moved -= master
        velocity[:] = np.trunc(moved * GRID) / GRID
        mean += momentum * velocity.astype(np.float64)
    master[:] = mean


def merge_workers(
    master: np.ndarray,
    velocity: np.ndarray | None,
    vectors: np.ndarray,
    counts: np.ndarray,
    momentum: float,
    constant: float,
    limit: float = LIMIT,
) -> bool:
    """Move the master to where the workers' weights send it; return whether all were numbers below the limit.

    Arguments as those of `add_rounded` and `move_master`, of which it is made.
    """
    total = np.zeros(len(master))
    good = add_rounded(total, vectors, counts, constant, limit)
    move_master(master, velocity, total, int(counts.sum()), momentum)
    return good
