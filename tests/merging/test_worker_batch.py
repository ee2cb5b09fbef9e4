"""The worker batch that the cost of a merge calls for, and whether merges overlap with learning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.merging.law import OVERLAPPING, USUAL
from mpinn.merging.worker_batch import GAIN, SHARE, MergeCost, cheapest, choose, largest

SECONDS = st.floats(1e-9, 1e3)
MOST = st.integers(1, 60000)


@given(SECONDS, SECONDS, SECONDS, MOST, st.booleans())
def test_merges_take_no_more_than_their_share_unless_the_batch_may_not_grow(
    exemplar: float, merge: float, exposed: float, most: int, overlap: bool
) -> None:
    cost = MergeCost(exemplar, merge, exposed)
    batch = cheapest(cost, most, overlap)
    assert 1 <= batch <= most
    learning = batch * exemplar
    left = max(exposed, merge - learning) if overlap else merge
    assert batch == most or left <= 1.0001 * SHARE * learning + 1e-12


@pytest.mark.parametrize(
    "merge, batch", [(0.01, 1), (0.1, 2), (0.2, 5), (0.4, 10), (0.5, 10), (1, 20), (1.01, 50), (5, 100), (51, 700)]
)
def test_the_least_step_is_taken(merge: float, batch: int) -> None:
    assert cheapest(MergeCost(1, merge), 700, overlap=False) == batch


@pytest.mark.parametrize(
    "merge, exposed, batch",
    [(10, 0, 10), (10.4, 0, 10), (10.6, 0, 20), (0.1, 1, 20), (30, 1, 50), (30, 3, 56)],
)
def test_what_is_hidden_behind_learning_costs_nothing(merge: float, exposed: float, batch: int) -> None:
    """A round takes as long as learning and what is exposed, or as the merge, if that is longer."""
    assert cheapest(MergeCost(1, merge, exposed), 56, overlap=True) == batch


@pytest.mark.parametrize(
    "cost, chosen",
    [
        (MergeCost(1, 1), (20, False)),  # on one node
        (MergeCost(1, 1, 0.5), (20, False)),  # merges are cheap
        (MergeCost(1, 40, 2), (50, True)),  # 40 are hidden: 1.04 an exemplar, not 1.4
        (MergeCost(1, 40, 40), (100, False)),  # nothing is hidden
        (MergeCost(1, 1000, 10), (100, False)),  # a network so slow that a smaller worker batch costs more
        (MergeCost(1, 120, 1), (100, False)),  # 2.14 an exemplar, not 2.2: less than GAIN
        (MergeCost(1, 100, 1), (56, True)),  # 1.79 an exemplar, not 2
    ],
)
def test_merges_overlap_where_that_pays(cost: MergeCost, chosen: tuple[int, bool]) -> None:
    assert choose(cost, 100, 56) == chosen


@given(SECONDS, SECONDS, SECONDS, MOST, MOST)
def test_overlapping_is_taken_only_for_a_gain(
    exemplar: float, merge: float, exposed: float, most: int, most_overlapping: int
) -> None:
    cost = MergeCost(exemplar, merge, exposed)
    batch, overlap = choose(cost, most, most_overlapping)
    alone = cheapest(cost, most, overlap=False)
    if overlap:
        assert batch <= most_overlapping
        assert max(batch * exemplar + exposed, merge) / batch < (1 - GAIN) * (alone * exemplar + merge) / alone
    else:
        assert batch == alone


@pytest.mark.parametrize(
    "rule, workers, overlap, most",
    [
        ("mean", 16, False, 3750),
        ("mean", 7, False, 8571),
        ("mean", 7, True, 8571),
        ("mean", 70_000, False, 1),
        ("block-momentum", 16, False, USUAL.most_worker_batch(16)),
        ("block-momentum", 16, True, OVERLAPPING.most_worker_batch(16)),
    ],
)
def test_the_largest_worker_batch_is_what_the_data_and_the_rule_allow(
    rule: str, workers: int, overlap: bool, most: int
) -> None:
    found = largest(rule, workers, 60_000, overlap)
    assert found == most and isinstance(found, int)
