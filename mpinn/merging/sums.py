"""What is computed in a merge, in NumPy: a worker's term of the round's sum, sums of terms, and the master from a sum.

`mpinn.kernels.native` has the same functions and gives the same bits, compiled; the tests of merging compare the two.
What is passed to them, for each format of terms, is in `mpinn.merging.formats`.
"""

import numpy as np

from mpinn.merging.rules import RULES

WHOLE = np.float32(1.5 * 2**23)  # adding it, and taking it off, rounds a float32 below 2^22 to a whole number


def largest(values: np.ndarray) -> int:
    """Return the bits of the largest magnitude, of float32 values: in their order, and a NaN is beyond every number."""
    return int((values.view(np.uint32) & np.uint32(0x7FFFFFFF)).max(initial=0))


def store_steps(term: np.ndarray, learned: np.ndarray, master: np.ndarray, factor: float, most: int) -> tuple[int, int]:
    """Write a worker's step times `factor`, a whole number from -most to most; return `largest` of weights and steps.

    term (parameters,) int16 or int32; learned, master (parameters,) float32; factor a float32; most below 2^22.
    """
    step = learned - master
    with np.errstate(over="ignore", invalid="ignore"):  # of weights that run away
        term[:] = np.clip(step * np.float32(factor), -np.float32(most), np.float32(most)) + WHOLE - WHOLE
    return largest(learned), largest(step)


def store_copy(term: np.ndarray, learned: np.ndarray) -> int:
    """Write what a worker learned as it is, float32, but for -0, which becomes 0; return `largest` of it.

    The two may be the same array.
    """
    term[:] = learned + np.float32(0)
    return largest(learned)


def store_rounded(term: np.ndarray, learned: np.ndarray, exemplars: float, constant: float) -> int:
    """Write exemplars * learned, rounded by a constant, float64; return `largest` of what was learned."""
    np.multiply(learned, exemplars, out=term, dtype=np.float64)
    term += constant
    term -= constant
    return largest(learned)


def add(total: np.ndarray, terms: np.ndarray, counts: np.ndarray) -> None:
    """Add the terms of workers that learned something to total, in place.

    total (parameters,); terms (workers, parameters) of the same type; counts (workers,) int64, exemplars.
    """
    for term, count in zip(terms, counts, strict=True):
        if count:
            total += term


def move(
    rule: str, weights: np.ndarray, moments: np.ndarray, total: np.ndarray, share: float, numbers: np.ndarray
) -> None:
    """Move the master as a rule says, in place, given a sum of terms: see `merging.rules`."""
    RULES[rule].move(weights, moments, total, share, numbers)


def merge(
    rule: str,
    weights: np.ndarray,
    moments: np.ndarray,
    terms: np.ndarray,
    counts: np.ndarray,
    share: float,
    numbers: np.ndarray,
) -> None:
    """`add` the terms of all workers, and `move` the master."""
    total = np.zeros(len(weights), terms.dtype)
    add(total, terms, counts)
    move(rule, weights, moments, total, share, numbers)


def go_on(
    start: np.ndarray, weights: np.ndarray, moments: np.ndarray, term: np.ndarray, share: float, ahead: float
) -> None:
    """Write where a worker goes on from while a merge is under way, in float32: see `merging.overlap`.

    start, weights (parameters,) float32; moments (moments of the rule, parameters) float32; term (parameters,) whole
    numbers; share, ahead are rounded to float32.
    """
    start[:] = weights
    for velocity in moments:
        start += np.float32(ahead) * velocity
    start += np.float32(share) * term.astype(np.float32)
