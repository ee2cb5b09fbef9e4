"""What ranks tell each other in a round beside their workers' terms: in rows, on a node, or added up with the terms."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mpinn.merging import formats
from mpinn.merging.formats import EXPONENTS, FIRST_EXPONENT
from mpinn.parallel.stop_requests import NOTHING, SLOTS, Requests

DIGITS = 8  # of a loss: its sum over ranks is one of digits, which are small enough for the sums of every format
DIGIT = 7  # bits: what 255 ranks add up still fits into an int16
LARGEST_DIGIT = 2**DIGIT - 1
MOST_LOSS = 2 ** (DIGIT * DIGITS) - 1  # a larger one, of one rank or of all, is told as this
ROW = SLOTS + 3  # numbers of `Told.row`
NOTES = SLOTS + EXPONENTS + 1 + DIGITS  # numbers that are added up: see `Told.write`


class Told(NamedTuple):
    """What one rank tells, or several together."""

    requests: Requests = NOTHING
    exponent: int = FIRST_EXPONENT  # of the largest step
    clipped: int = 0  # workers whose steps were cut
    loss: int = 0  # of the workers' exemplars, in `losses.UNIT`, at most MOST_LOSS

    @property
    def row(self) -> tuple[int, ...]:
        """The same as ROW numbers."""
        return (*self.requests, self.exponent, self.clipped, self.loss)

    def write(self, notes: np.ndarray) -> None:
        """Write to (NOTES,), of any format's type, what can be added up: requests, an exponent, cuts, a loss's digits.

        Each exponent has a number of its own, how many have told it: the largest of all is that of the last.
        """
        left, digits = self.loss, []
        for _ in range(DIGITS):
            digits.append(left & LARGEST_DIGIT)
            left >>= DIGIT
        notes[:SLOTS] = self.requests
        notes[SLOTS:-DIGITS] = 0
        notes[SLOTS + self.exponent - FIRST_EXPONENT] = 1
        notes[-DIGITS - 1] = self.clipped
        notes[-DIGITS:] = digits


def together(rows: Iterable[Sequence[int]]) -> Told:
    """Return what ranks have told in these rows."""
    columns = list(zip(*rows, strict=True))
    requests = Requests(*map(sum, columns[:SLOTS]))
    exponents, clipped, losses = columns[SLOTS:]
    return Told(requests, max(exponents), sum(clipped), min(sum(losses), MOST_LOSS))


def read_notes(notes: np.ndarray) -> Told:
    """Return what ranks have told; notes (NOTES,): the sum of what each has written."""
    numbers = notes.astype(np.int64).tolist()
    exponents, loss = notes[SLOTS : SLOTS + EXPONENTS], 0
    for digit in reversed(numbers[-DIGITS:]):
        loss = (loss << DIGIT) + digit
    exponent = FIRST_EXPONENT + int(exponents.nonzero()[0][-1])
    return Told(Requests(*numbers[:SLOTS]), exponent, numbers[-DIGITS - 1], min(loss, MOST_LOSS))


class Notes:
    """What this rank will tell of the round under way."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.diverged = self.clipped = self.loss = 0
        self.exponent = FIRST_EXPONENT

    def take(self, weight: int, step: int, loss: int, exponent: int) -> None:
        """Note what a worker has learned in a round of this exponent.

        weight, step: its `sums.largest` of weights and of steps; loss: of its exemplars, in `losses.UNIT`.
        """
        mine = formats.exponent_of(step)
        self.diverged += formats.diverged(weight)
        self.clipped += formats.cut(mine, exponent)
        self.exponent = max(self.exponent, mine)
        self.loss += loss

    def hand_over(self, requests: Requests) -> Told:
        """Return what the round comes to, with this rank's requests, and begin anew."""
        asked = requests._replace(diverged=self.diverged) if self.diverged else requests
        told = Told(asked, self.exponent, self.clipped, min(self.loss, MOST_LOSS))
        self.clear()
        return told
