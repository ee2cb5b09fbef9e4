"""The exact mean does not depend on grouping; block momentum is its formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.kernels import native_merge

WEIGHTS = st.floats(-8191, 8191, width=32)


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
            assert merge.add_rounded(
                side, weights[worker : worker + 1, None], np.array(counts[worker : worker + 1]), constant
            )
        sums.append(float((left + right)[0]))
    assert len(set(sums)) == 1
    exact = math.fsum(float(w) * n for w, n in zip(weights, counts, strict=True))
    assert (
        abs(sums[0] - exact) / sum(counts) <= 2.0**-38 * workers
    )  # a term is off by a unit at most, 2^-q / sum(n) < 2^-38


@given(
    st.integers(1, 3000),
    st.lists(st.integers(0, 10**5), min_size=1, max_size=6).filter(any),
    st.none() | st.floats(0, 0.99),
    st.integers(0, 2**32 - 1),
)
def test_native_and_numpy_give_the_same_bits(size: int, counts: list[int], momentum: float | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.uniform(-2, 2, (len(counts), size)).astype(np.float32) ** 5
    numbers = np.array(counts)
    constant = merge.rounding_constant(sum(counts))
    sums = [np.full(size, 0.5), np.full(size, 0.5)]
    masters = [rng.uniform(-1, 1, size).astype(np.float32)] * 2
    moved = []
    for module, total, master in zip((merge, native_merge), sums, masters, strict=True):
        velocity = None if momentum is None else np.linspace(-1e-3, 1e-3, size, dtype=np.float32)
        by_steps, at_once = master.copy(), master.copy()
        velocity_at_once = None if velocity is None else velocity.copy()
        assert module.add_rounded(total, vectors, numbers, constant, merge.LIMIT)
        start = total.copy()
        total -= 0.5
        module.move_master(by_steps, velocity, total.copy(), sum(counts), momentum or 0.0)
        assert module.merge_workers(at_once, velocity_at_once, vectors, numbers, momentum or 0.0, constant, merge.LIMIT)
        assert np.array_equal(by_steps, at_once)
        moved.append((start, at_once, b"" if velocity_at_once is None else velocity_at_once.tobytes()))
    assert np.array_equal(moved[0][0], moved[1][0])
    assert np.array_equal(moved[0][1], moved[1][1])
    assert moved[0][2] == moved[1][2]


@pytest.mark.parametrize("add", [merge.add_rounded, native_merge.add_rounded])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 8192.0, -8192.0, 1e30])
def test_what_is_no_weight_is_noticed(add, value: float) -> None:  # type: ignore[no-untyped-def]
    weights = np.zeros((2, 33), np.float32)
    assert add(np.zeros(33), weights, np.array([1, 1]), merge.rounding_constant(2), merge.LIMIT)
    weights[1, 17] = value
    with np.errstate(invalid="ignore"):
        assert not add(np.zeros(33), weights, np.array([1, 1]), merge.rounding_constant(2), merge.LIMIT)
    assert add(np.zeros(33), weights, np.array([1, 0]), merge.rounding_constant(2), merge.LIMIT)  # not looked at


def test_the_mean_weighs_workers_by_their_exemplars() -> None:
    master, vectors = np.zeros(2, np.float32), np.array([[1, -2], [4, 1]], np.float32)
    assert merge.merge_workers(master, None, vectors, np.array([100, 50]), 0.0, merge.rounding_constant(150))
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
