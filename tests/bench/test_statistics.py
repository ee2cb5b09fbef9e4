"""Statistics: laws that they keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import statistics

times = st.lists(st.floats(min_value=0.01, max_value=100), min_size=1, max_size=12).map(np.array)


@given(times)
def test_a_spread_is_ordered_and_within_the_values(values: np.ndarray) -> None:
    low, middle, high, repeats = statistics.spread(values)
    assert values.min() == low <= middle <= high == values.max() and repeats == len(values)


@given(times, times)
def test_an_interval_holds_the_ratio_and_lies_within_the_most_extreme(a: np.ndarray, b: np.ndarray) -> None:
    ratio = statistics.ratio(a, b)
    assert a.min() / b.max() * 0.999 <= ratio.low <= ratio.value * 1.001
    assert ratio.value * 0.999 <= ratio.high <= a.max() / b.min() * 1.001


@given(times, st.floats(min_value=0.1, max_value=10))
def test_scaling_both_sides_changes_nothing_and_one_side_scales(a: np.ndarray, factor: float) -> None:
    assert statistics.ratio(a * factor, a).value == pytest.approx(factor)
    assert statistics.ratio(a * factor, a * factor) == pytest.approx(statistics.ratio(a, a))


def test_equal_things_do_not_differ_and_different_ones_do() -> None:
    random = np.random.default_rng(1)
    same = [random.normal(1, 0.02, 9) for _ in range(40)]
    shown = sum(statistics.ratio(a, b).significant for a, b in zip(same[::2], same[1::2], strict=True))
    assert shown <= 6  # of 20; 95 in 100 intervals should hold 1, and small samples make them too narrow
    assert statistics.ratio(same[0] * 1.2, same[1]).significant
    assert not statistics.ratio(same[0], same[1]).unstable
    assert statistics.ratio(np.array([1.0, 2.0, 1.5]), np.array([1.0, 1.0, 1.0])).unstable


@given(st.floats(min_value=0, max_value=1), st.floats(min_value=0.1, max_value=100))
def test_amdahls_serial_fraction_is_found_again(fraction: float, single: float) -> None:
    ranks = np.array([1.0, 2, 4, 8])
    seconds = single * (fraction + (1 - fraction) / ranks)
    assert statistics.serial_fraction(ranks, seconds) == pytest.approx(fraction, abs=1e-9)


def test_without_one_rank_or_more_there_is_no_serial_fraction() -> None:
    assert statistics.serial_fraction(np.array([2.0, 4]), np.array([1.0, 0.5])) is None
    assert statistics.serial_fraction(np.array([1.0]), np.array([1.0])) is None
