"""The exact mean: the same bits however it is grouped."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.kernels import native_merge
from mpinn.merging import mean, rules

NO_MOMENTS = np.empty((0, 2), np.float32)
WEIGHTS = st.floats(-8191, 8191, width=32)


@given(st.data())
def test_the_sum_is_the_same_in_any_order_and_grouping(data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, 12))
    counts = data.draw(st.lists(st.integers(1, 60000), min_size=workers, max_size=workers))
    weights = np.array(data.draw(st.lists(WEIGHTS, min_size=workers, max_size=workers)), np.float32)
    constant = mean.rounding_constant(sum(counts))
    sums = []
    for _ in range(3):
        order = data.draw(st.permutations(range(workers)))
        cut = data.draw(st.integers(0, workers))
        left, right = np.zeros(1), np.zeros(1)
        for place, worker in enumerate(order):
            side = left if place < cut else right
            assert mean.add_rounded(
                side, weights[worker : worker + 1, None], np.array(counts[worker : worker + 1]), constant
            )
        sums.append(float((left + right)[0]))
    assert len(set(sums)) == 1
    exact = math.fsum(float(w) * n for w, n in zip(weights, counts, strict=True))
    assert (
        abs(sums[0] - exact) / sum(counts) <= 2.0**-38 * workers
    )  # a term is off by a unit at most, 2^-q / sum(n) < 2^-38


@pytest.mark.parametrize("exemplars", [1, 2, 3, 64, 65, 6400, 60_000, 2**16, 2**16 + 1])
def test_terms_are_rounded_as_finely_as_any_sum_of_them_stays_exact(exemplars: int) -> None:
    """A grid step more or less would be other weights, in every run."""
    unit = np.spacing(mean.rounding_constant(exemplars))
    most = 2 ** (exemplars - 1).bit_length() * mean.LIMIT  # of a sum, for all rounds of up to as many exemplars
    assert most / unit == 2.0**52
    fine = np.array([[unit * 5.25], [unit * 5.75], [-unit * 5.25]])
    for weights, steps in zip(fine, (5, 6, -5), strict=True):
        total = np.zeros(1)
        mean.add_rounded(total, weights[None], np.array([1]), mean.rounding_constant(exemplars))
        assert total[0] == steps * unit


@pytest.mark.parametrize("add", [mean.add_rounded, native_merge.add_rounded])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 8192.0, -8192.0, 1e30])
def test_a_weight_that_is_no_number_or_too_large_is_noticed(add, value: float) -> None:  # type: ignore[no-untyped-def]
    weights = np.zeros((2, 33), np.float32)
    assert add(np.zeros(33), weights, np.array([1, 1]), mean.rounding_constant(2), mean.LIMIT)
    weights[1, 17] = value
    with np.errstate(invalid="ignore"):
        assert not add(np.zeros(33), weights, np.array([1, 1]), mean.rounding_constant(2), mean.LIMIT)
    assert add(np.zeros(33), weights, np.array([1, 0]), mean.rounding_constant(2), mean.LIMIT)  # ignored


def test_the_mean_weighs_workers_by_their_exemplars() -> None:
    master, vectors = np.zeros(2, np.float32), np.array([[1, -2], [4, 1]], np.float32)
    assert rules.merge_workers(
        "mean", master, NO_MOMENTS, vectors, np.array([100, 50]), 0.0, mean.rounding_constant(150)
    )
    assert master.tolist() == [2.0, -1.0]
