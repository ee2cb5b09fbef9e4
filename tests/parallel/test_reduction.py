"""What ranks tell each other beside their terms: the same in every format and on any number of ranks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpinn.merging import sums
from mpinn.merging.formats import FORMATS
from mpinn.merging.master import Master
from mpinn.parallel.reduction import MOST_LOSS, NOTES, Notes, loss_in, read_notes
from mpinn.parallel.stop_requests import SLOTS, Requests

NOBODY = np.zeros(SLOTS, np.int64)


def told(ranks: list[list[int]], kind: type[np.generic]) -> np.ndarray:
    """Return the sum of the notes of ranks, whose workers have these losses, in a format's numbers."""
    total, step = np.zeros(NOTES, kind), sums.largest(np.array([0.25], np.float32))
    for losses in ranks:
        notes, mine = Notes(), np.zeros(NOTES, kind)
        for loss in losses:
            notes.take(0, step, loss)
        notes.hand_over(NOBODY, mine)
        total += mine
    return total


LOSSES = st.lists(st.lists(st.integers(0, 2**53), max_size=3), min_size=1, max_size=255)


@given(LOSSES, st.sampled_from(sorted(FORMATS)))
def test_the_sum_of_losses_is_exact_in_every_format(ranks: list[list[int]], name: str) -> None:
    total = told(ranks, FORMATS[name].dtype)  # type: ignore[arg-type]
    assert loss_in(total) == sum(map(sum, ranks))


def test_255_ranks_with_the_largest_digits_fit_into_an_int16() -> None:
    assert loss_in(told([[MOST_LOSS]] * 255, np.int16)) == 255 * MOST_LOSS
    assert loss_in(told([[MOST_LOSS + 1]], np.int16)) == MOST_LOSS


def test_notes_are_handed_over_once_and_read_into_the_master() -> None:
    notes, mine = Notes(), np.full(NOTES, 9, np.int64)
    notes.take(0, sums.largest(np.array([0.25], np.float32)), 300)
    asked = NOBODY.copy()
    asked[2] = 1
    notes.hand_over(asked, mine)
    master = Master(np.zeros(1, np.float32), np.zeros((0, 1), np.float32), 0.0)
    assert read_notes(mine, 0, master) == (Requests(terminate=1), 0, 300)
    assert (master.exponent, master.loss) == (-1, 300)
    notes.hand_over(NOBODY, mine)
    assert not mine.any()
