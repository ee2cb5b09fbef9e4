"""In what form workers' results are summed up: each form makes the sum exact, and so the same in any order.

The mean is sum(n_w W_w) / sum(n_w), n_w the exemplars that worker w learned. A float sum depends on how it is grouped,
and so on the number of ranks and the MPI library. These do not:

- **int16**, the usual one, and **int32**: a worker's term is its *step*, W_w minus the master, as a whole number of
  units. The unit is a power of two that all ranks know: the largest step of the round before lay below 2^e; N terms as
  large as `most` still fit into the type; a step may grow to 2^(e + 1) before it is cut. Two bytes a weight move
  between hosts. A worker with a short batch counts for less: its step is scaled by its share of a batch.
- **float64**, the reference: n_w W_w, rounded to a multiple of 2^-q, q = 39 - ceil(log2(sum(n_w))). While |w| < 2^13 a
  partial sum is below 2^52 such units, so every addition is exact. The mean is off by less than 2^-39 a worker.
- **float32**, one worker's: what it learned, as it is.

To add a form, write its class and put it into the table.
"""

import math
from typing import Protocol

import numpy as np

from mpinn.merging import sums
from mpinn.merging.term import Term

LIMIT = 2.0**13  # a weight at or beyond it is divergence; a hundred epochs of good training may go beyond 2^8
LIMIT_BITS = sums.largest(np.array([LIMIT], np.float32))
USUAL_OF_INT16 = 128  # workers; beyond, fewer than 8 bits and a sign would be left for a step,
MOST_OF_INT16 = 255  # and beyond these, fewer than 7
FIRST_EXPONENT = -48  # that is told apart of steps
EXPONENTS = 64
LAST_EXPONENT = FIRST_EXPONENT + EXPONENTS - 1
WHOLE_BITS = 22  # float32 holds larger whole numbers, but their rounding would be another


class Merger(Protocol):
    """The functions of `mpinn.merging.sums`, there in NumPy, and compiled in `mpinn.kernels.native`."""

    def write(self, term: Term, learned: np.ndarray) -> None: ...

    def add(self, total: np.ndarray, terms: np.ndarray, counts: np.ndarray) -> None: ...

    def move(
        self,
        rule: str,
        weights: np.ndarray,
        moments: np.ndarray,
        total: np.ndarray,
        share: float,
        numbers: np.ndarray,
    ) -> None: ...

    def pass_on(self, to: np.ndarray, values: np.ndarray) -> None: ...

    def go_on(
        self,
        start: np.ndarray,
        weights: np.ndarray,
        moments: np.ndarray,
        term: np.ndarray,
        share: float,
        ahead: float,
    ) -> None: ...


class Format(Protocol):
    """How one worker's result becomes a term, and what the sum of terms is multiplied by."""

    @property
    def dtype(self) -> type[np.generic]: ...

    def __init__(self, workers: int, worker_batch: int) -> None: ...

    def term(self, array: np.ndarray, start: np.ndarray | None, exponent: int, count: int, exemplars: int) -> Term:
        """Return a worker's term, of `count` of the round's exemplars, which will be written to an array of the type.

        start: the weights with which the worker began the round, None where it gives a direction; exponent: the
        master's when it began.
        """

    def share(self, exponent: int, exemplars: int) -> float:
        """Return what the round's sum is multiplied by: then it is the mean, or beyond the master for whole numbers."""


class Steps:
    """Whole numbers of units."""

    dtype: type[np.signedinteger]

    def __init__(self, workers: int, worker_batch: int) -> None:
        self.worker_batch = worker_batch
        self.bits = min(WHOLE_BITS, (int(np.iinfo(self.dtype).max) // workers + 1).bit_length() - 1) - 1
        self.most = 2 ** (self.bits + 1) - 1

    def term(self, array: np.ndarray, start: np.ndarray | None, exponent: int, count: int, exemplars: int) -> Term:
        return Term(array, start, math.ldexp(count / self.worker_batch, self.bits - exponent), self.most)

    def share(self, exponent: int, exemplars: int) -> float:
        return math.ldexp(self.worker_batch / exemplars, exponent - self.bits)


class Int16(Steps):
    dtype = np.int16


class Int32(Steps):
    dtype = np.int32


class Copy:
    """One worker's weights."""

    dtype = np.float32

    def __init__(self, workers: int, worker_batch: int) -> None:
        pass

    def term(self, array: np.ndarray, start: np.ndarray | None, exponent: int, count: int, exemplars: int) -> Term:
        return Term(array)

    def share(self, exponent: int, exemplars: int) -> float:
        return 1.0


class Rounded:
    """Weights times exemplars, rounded so that sums are exact."""

    dtype = np.float64

    def __init__(self, workers: int, worker_batch: int) -> None:
        pass

    def term(self, array: np.ndarray, start: np.ndarray | None, exponent: int, count: int, exemplars: int) -> Term:
        return Term(array, factor=count, constant=rounding_constant(exemplars))

    def share(self, exponent: int, exemplars: int) -> float:
        return 1 / exemplars


FORMATS: dict[str, type[Format]] = {"int16": Int16, "int32": Int32, "float64": Rounded}


def usual(workers: int) -> str:
    """Return the format that is taken for so many workers where none is asked for."""
    return "int16" if workers <= USUAL_OF_INT16 else "int32"


def choose(name: str, workers: int, worker_batch: int) -> Format:
    """Return a format by name. One worker's step needs no rounding."""
    one = Copy if workers == 1 and name != "float64" else FORMATS[name]
    return one(workers, worker_batch)


def rounding_constant(exemplars: int) -> float:
    """Return c such that (x + c) - c is x rounded to a multiple of 2^-q in float64, for rounds of `exemplars`."""
    q = 39 - (exemplars - 1).bit_length()
    return 1.5 * 2.0 ** (52 - q)


def diverged(weight: int) -> bool:
    """Return whether weights are at or beyond the limit, or no numbers; weight: `sums.largest` of them."""
    return weight >= LIMIT_BITS


def exponent_of(step: int) -> int:
    """Return the e of a largest step, |step| < 2^e, as far as exponents are told apart; step: `sums.largest`."""
    return min(max((step >> 23) - 126, FIRST_EXPONENT), LAST_EXPONENT)


def cut(step: int, exponent: int) -> bool:
    """Return whether steps were cut whose largest has the exponent `step`, in a round of this exponent."""
    return step > exponent + 1
