"""The exact mean of the workers' weights: the same bits in whatever order it is summed up.

The mean is sum(n_w W_w) / sum(n_w), n_w the exemplars that worker w learned. A float sum depends on how it is grouped,
and so on the number of ranks and the MPI library. This one does not: each term is rounded to a multiple of 2^-q,
q = 39 - ceil(log2(sum(n_w))), in float64. While |w| < 2^13 a partial sum is below 2^52 such units, so every addition is
exact, in any order. The mean is then off by less than 2^-39 a worker, where float32 resolves a weight of 2^-9 to 2^-33.
`kernels/native_merge.py` computes the same bits, compiled; the tests of merging compare the two.
"""

import numpy as np

LIMIT = 2.0**13  # a weight at or beyond it is divergence; a hundred epochs of good training may go beyond 2^8


def rounding_constant(exemplars: int) -> float:
    """Return c such that (x + c) - c is x rounded to a multiple of 2^-q in float64, for rounds of `exemplars`."""
    q = 39 - (exemplars - 1).bit_length()
    return 1.5 * 2.0 ** (52 - q)


def add_rounded(
    total: np.ndarray, vectors: np.ndarray, counts: np.ndarray, constant: float, limit: float = LIMIT
) -> bool:
    """Add count * weights, rounded, of every worker to total; return whether all weights are numbers below the limit.

    total (parameters,) float64, changed in place; vectors (workers, parameters) float32; counts (workers,) int64. The
    vector of a worker that learned nothing is ignored.
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


def move(weights: np.ndarray, moments: np.ndarray, mean: np.ndarray, momentum: float) -> None:
    """Make the mean the master weights: weights <- mean. It remembers nothing, and has no momentum."""
    weights[:] = mean
