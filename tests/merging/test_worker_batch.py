"""The worker batch that a merge's price asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.merging.worker_batch import SHARE

SECONDS = st.floats(1e-9, 1e3)


@given(SECONDS, SECONDS, st.integers(1, 60000))
def test_merges_take_no_more_than_their_share_unless_the_batch_may_not_grow(
    exemplar: float, merge: float, most: int
) -> None:
    batch = worker_batch(Price(exemplar, merge), most)
    assert 1 <= batch <= most
    assert batch == most or merge <= 1.0001 * SHARE * batch * exemplar


@pytest.mark.parametrize("merge, batch", [(0.1, 2), (0.2, 5), (0.5, 10), (1, 20), (1.01, 50), (5, 100), (51, 700)])
def test_the_least_step_is_taken(merge: float, batch: int) -> None:
    assert worker_batch(Price(1, merge), 700) == batch
