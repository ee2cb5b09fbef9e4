"""What is computed in a merge, in NumPy: a worker's term of the round's sum, sums of terms, and the master from a sum.

`mpinn.kernels.native` has the same functions and gives the same bits, compiled; the tests of merging compare the two.
What is passed to them, for each format of terms, is in `mpinn.merging.formats`.
"""

import numpy as np

from mpinn.merging.rules import RULES
from mpinn.merging.term import Term

WHOLE = np.float32(1.5 * 2**23)  # adding it, and taking it off, rounds a float32 below 2^22 to a whole number


def largest(values: np.ndarray) -> int:
    """Return the bits of the largest magnitude, of float32 values: in their order, and a NaN is beyond every number."""
    return int((values.view(np.uint32) & np.uint32(0x7FFFFFFF)).max(initial=0))


def write(term: Term, learned: np.ndarray) -> None:
    """Write a worker's term, made of what it learned, (parameters,) float32, or add it, and write what was found.

    int16, int32: the step times the factor, a whole number from -most to most. float32: as it is, but for -0, which
    becomes 0; then the two may be the same array. float64: times the factor, rounded by the constant.
    """
    array = term.array
    with np.errstate(over="ignore", invalid="ignore"):  # of weights that run away
        term.found = (largest(learned), 0)
        if array.dtype == np.float32:
            array[:] = learned + np.float32(0)
            return
        if array.dtype == np.float64:
            made = np.multiply(learned, term.factor, dtype=np.float64)
            made += term.constant
            made -= term.constant
        else:
            step = learned if term.start is None else learned - term.start
            most = np.float32(term.most)
            made = (np.clip(step * np.float32(term.factor), -most, most) + WHOLE - WHOLE).astype(array.dtype)
            term.found = (term.found[0], largest(step))
        array[:] = array + made if term.adds else made


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


def pass_on(to: np.ndarray, values: np.ndarray) -> None:
    """Copy what other ranks will read, (n,), past the caches where a processor can do that.

    To write to memory that another core holds in its cache takes long where the two share none.
    """
    to[:] = values


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
