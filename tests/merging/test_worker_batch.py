"""The worker batch that the cost of a merge calls for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.merging import block_momentum
from mpinn.merging.worker_batch import SHARE, MergeCost, cheapest, largest

SECONDS = st.floats(1e-9, 1e3)


@given(SECONDS, SECONDS, st.integers(1, 60000))
def test_merges_take_no_more_than_their_share_unless_the_batch_may_not_grow(
    exemplar: float, merge: float, most: int
) -> None:
    batch = cheapest(MergeCost(exemplar, merge), most)
    assert 1 <= batch <= most
    assert batch == most or merge <= 1.0001 * SHARE * batch * exemplar


@pytest.mark.parametrize(
    "merge, batch", [(0.01, 1), (0.1, 2), (0.2, 5), (0.4, 10), (0.5, 10), (1, 20), (1.01, 50), (5, 100), (51, 700)]
)
def test_the_least_step_is_taken(merge: float, batch: int) -> None:
    assert cheapest(MergeCost(1, merge), 700) == batch


@pytest.mark.parametrize(
    "rule, workers, most",
    [
        ("mean", 16, 3750),
        ("mean", 7, 8571),
        ("mean", 70_000, 1),
        ("block-momentum", 16, block_momentum.most_worker_batch(16)),
    ],
)
def test_the_largest_worker_batch_is_what_the_data_and_the_rule_allow(rule: str, workers: int, most: int) -> None:
    found = largest(rule, workers, 60_000)
    assert found == most and isinstance(found, int)
