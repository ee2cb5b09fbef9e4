"""The exact mean does not depend on grouping; block momentum is its formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpinn import merge
from mpinn.kernels import native

WEIGHTS = st.floats(-255.875, 255.875, width=32)


@settings(deadline=None)
@given(st.data())
def test_the_sum_is_the_same_in_any_order_and_grouping(data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, 12))
    counts = data.draw(st.lists(st.integers(1, 60000), min_size=workers, max_size=workers))
    weights = np.array(data.draw(st.lists(WEIGHTS, min_size=workers, max_size=workers)), np.float32)
    constant = merge.rounding_constant(sum(counts))
    sums = []
    for _ in range(3):
        order = data.draw(st.permutations(range(workers)))
        cut = data.draw(st.integers(0, workers))
        left, right = np.zeros(1), np.zeros(1)
        for place, worker in enumerate(order):
            side = left if place < cut else right
            assert merge.add_rounded(side, weights[worker : worker + 1], counts[worker], constant, merge.LIMIT)
        sums.append(float((left + right)[0]))
    assert len(set(sums)) == 1
    exact = math.fsum(float(w) * n for w, n in zip(weights, counts, strict=True))
    assert abs(sums[0] - exact) / sum(counts) <= 2.0**-44 * workers  # half a unit a term, 2^-q / sum(n) <= 2^-44 each


@given(st.lists(WEIGHTS, min_size=1, max_size=50), st.integers(1, 10**6), st.integers(1, 100))
def test_native_and_numpy_add_the_same_bits(weights: list[float], count: int, others: int) -> None:
    vector = np.array(weights, np.float32)
    constant = merge.rounding_constant(count * others)
    by_numpy, by_native = np.full(len(vector), 0.5), np.full(len(vector), 0.5)
    assert merge.add_rounded(by_numpy, vector, count, constant, merge.LIMIT)
    assert native.add_rounded(by_native, vector, count, constant, merge.LIMIT)
    assert np.array_equal(by_numpy, by_native)


@pytest.mark.parametrize("add", [merge.add_rounded, native.add_rounded])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 256.0, -256.0, 1e30])
def test_what_is_no_weight_is_noticed(add, value: float) -> None:  # type: ignore[no-untyped-def]
    weights = np.zeros(33, np.float32)
    assert add(np.zeros(33), weights, 1, merge.rounding_constant(1), merge.LIMIT)
    weights[17] = value
    with np.errstate(invalid="ignore"):
        assert not add(np.zeros(33), weights, 1, merge.rounding_constant(1), merge.LIMIT)


def test_the_mean_weighs_workers_by_their_exemplars() -> None:
    total, master = np.zeros(2), np.zeros(2, np.float32)
    constant = merge.rounding_constant(150)
    merge.add_rounded(total, np.array([1, -2], np.float32), 100, constant, merge.LIMIT)
    merge.add_rounded(total, np.array([4, 1], np.float32), 50, constant, merge.LIMIT)
    merge.move_master(master, None, total, 150, 0.0)
    assert master.tolist() == [2.0, -1.0]


def test_block_momentum_by_hand() -> None:
    master, velocity = np.array([1.0], np.float32), np.array([0.25], np.float32)
    merge.move_master(master, velocity, np.array([2.0 * 10]), 10, 0.5)
    gain = 2.0 - 1.0
    assert velocity[0] == 0.5 * 0.25 + gain
    assert master[0] == 1.0 + gain + 0.5 * velocity[0]


def test_momentum_dies_away_to_nought_not_to_denormal_numbers() -> None:
    master, velocity = np.array([0.5], np.float32), np.array([1e-3], np.float32)
    for _ in range(1000):
        merge.move_master(master, velocity, master.astype(np.float64), 1, 0.9)
    assert velocity[0] == 0
