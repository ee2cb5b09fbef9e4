"""What ranks tell each other beside their terms: the same in every format, on any number of ranks and of nodes."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.merging import sums
from mpinn.merging.formats import EXPONENTS, FIRST_EXPONENT, FORMATS, LAST_EXPONENT, LIMIT
from mpinn.parallel.notes import DIGITS, LARGEST_DIGIT, MOST_LOSS, NOTES, ROW, Notes, Told, read_notes, together
from mpinn.parallel.stop_requests import Requests

TOLD = st.builds(
    Told,
    st.builds(Requests, *(5 * [st.integers(0, 1)])),
    st.integers(FIRST_EXPONENT, LAST_EXPONENT),
    st.integers(0, 1),
    st.one_of(st.integers(0, MOST_LOSS // 255), st.integers(0, MOST_LOSS)),
)
RANKS = st.lists(TOLD, min_size=1, max_size=255)


def largest(weight: float) -> int:
    return sums.largest(np.array([weight], np.float32))


def added_up(ranks: list[Told], kind: type[np.generic]) -> np.ndarray:
    """Return the sum of what ranks write, in a format's numbers."""
    written = np.full((len(ranks), NOTES), 9, kind)
    for one, notes in zip(ranks, written, strict=True):
        one.write(notes)
    return reduce(np.add, written)


def expected(ranks: list[Told]) -> Told:
    asked = [sum(one.requests[slot] for one in ranks) for slot in range(5)]
    return Told(
        Requests(*asked),
        max(one.exponent for one in ranks),
        sum(one.clipped for one in ranks),
        min(sum(one.loss for one in ranks), MOST_LOSS),
    )


@given(RANKS)
def test_rows_together_say_what_all_ranks_have_told(ranks: list[Told]) -> None:
    board = np.array([one.row for one in ranks], np.int64)
    assert board.shape == (len(ranks), ROW)
    assert together(board.tolist()) == expected(ranks)


@given(RANKS, st.sampled_from(sorted(FORMATS)))
def test_notes_added_up_say_the_same_in_every_format(ranks: list[Told], name: str) -> None:
    assert read_notes(added_up(ranks, FORMATS[name].dtype)) == expected(ranks)  # type: ignore[arg-type]


def test_255_ranks_with_the_largest_digits_fit_into_an_int16() -> None:
    notes = added_up([Told(loss=MOST_LOSS)] * 255, np.int16)
    assert set(notes[-DIGITS:].tolist()) == {255 * LARGEST_DIGIT}


def test_a_loss_that_is_too_large_is_told_as_the_largest_and_a_snapshot_can_hold_that_of_any_ranks() -> None:
    notes = Notes()
    notes.take(0, 0, MOST_LOSS + 1, 0)
    one = notes.hand_over(Requests())
    assert one.loss == MOST_LOSS == together([one.row] * 255).loss == read_notes(added_up([one] * 255, np.int16)).loss
    assert np.array(one.row, np.int64)[-1] == MOST_LOSS


def test_notes_are_of_all_workers_of_a_round_and_handed_over_once() -> None:
    notes = Notes()
    notes.take(largest(1.0), largest(0.25), 300, -2)
    notes.take(largest(LIMIT), largest(0.125), 40, -2)
    asked = Requests(terminate=1)
    assert notes.hand_over(asked) == Told(Requests(diverged=1, terminate=1), -1, 0, 340)
    assert notes.hand_over(Requests()) == Told()


@pytest.mark.parametrize(("exponent", "clipped"), [(-4, 2), (-3, 1), (-2, 0)])
def test_a_worker_whose_steps_grew_fourfold_is_counted_as_cut(exponent: int, clipped: int) -> None:
    notes = Notes()
    for size in (0.25, 0.125, 0.0):  # below 2^-1, 2^-2, 2^FIRST_EXPONENT
        notes.take(0, largest(size), 0, exponent)
    assert notes.hand_over(Requests()).clipped == clipped


def test_every_exponent_has_a_number_of_its_own() -> None:
    every = [Told(exponent=FIRST_EXPONENT + e) for e in range(EXPONENTS)]
    for one in every:
        assert read_notes(added_up([one, every[0]], np.int16)).exponent == one.exponent
