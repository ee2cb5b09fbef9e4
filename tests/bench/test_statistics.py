"""Statistics: laws that they keep."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.harness import statistics
from bench.harness.statistics import Ratio

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


def chance_of_a_median_up_to(rank: int, values: int) -> float:
    """Return the probability that the median of as many values drawn from 1, 2, ... `values` is at most `rank`."""
    part = rank / values
    draws = range(values // 2 + 1, values + 1)  # so many of them at most `rank`
    return sum(math.comb(values, k) * part**k * (1 - part) ** (values - k) for k in draws)


def test_one_median_in_forty_lies_below_a_95_percent_interval_and_one_above() -> None:
    low, high = statistics.ratio(np.arange(1.0, 1000), np.ones(3))[1:]
    below = chance_of_a_median_up_to(round(low) - 1, 999)
    above = 1 - chance_of_a_median_up_to(round(high), 999)
    assert below == pytest.approx(1 / 40, abs=0.005) and above == pytest.approx(1 / 40, abs=0.005)


def test_both_sides_are_resampled() -> None:
    values = np.array([1.0, 1.1, 1.2, 1.3, 1.4])
    ratios = (
        statistics.ratio(values, np.ones(5)),
        statistics.ratio(np.ones(5), values),
        statistics.ratio(values, values),
    )
    assert all(ratio.low < ratio.value < ratio.high for ratio in ratios)
    assert ratios[2].high - ratios[2].low > max(ratio.high - ratio.low for ratio in ratios[:2])


@pytest.mark.parametrize("one, other", [([1.0, 3.0], [2.0, 4.0, 8.0, 16.0]), ([1.0, 3.0, 2.0, 2.0], [2.0, 16.0])])
def test_of_two_repeats_the_interval_is_the_most_extreme_ratios(one: list[float], other: list[float]) -> None:
    ratio = statistics.ratio(np.array(one), np.array(other))
    assert (ratio.low, ratio.high) == (1 / 16, 3 / 2)


@pytest.mark.parametrize("scale", [0.1, 1, 10])
def test_an_interval_wider_than_a_tenth_of_the_ratio_is_unstable(scale: float) -> None:
    assert not Ratio(scale, 0.96 * scale, 1.05 * scale).unstable
    assert Ratio(scale, 0.94 * scale, 1.05 * scale).unstable


@pytest.mark.parametrize("low, high, shown", [(0.9, 1, False), (1, 1.1, False), (0.8, 0.9, True), (1.1, 1.2, True)])
def test_an_interval_that_has_1_shows_no_difference(low: float, high: float, shown: bool) -> None:
    assert Ratio((low + high) / 2, low, high).significant is shown


def test_one_odd_run_on_a_single_rank_does_not_move_the_serial_fraction() -> None:
    ranks, seconds = np.array([1.0, 1, 1, 2, 4]), np.array([10.0, 10.0, 3.0, 6.0, 4.0])
    assert statistics.serial_fraction(ranks, seconds) == pytest.approx(0.2)


@pytest.mark.parametrize("seconds, fraction", [([10.0, 4.0], 0.0), ([10.0, 12.0], 1.0)])
def test_a_serial_fraction_is_a_fraction(seconds: list[float], fraction: float) -> None:
    """Twice as fast and more, or slower than alone."""
    assert statistics.serial_fraction(np.array([1.0, 2.0]), np.array(seconds)) == fraction


@given(st.floats(min_value=0, max_value=1), st.floats(min_value=0.1, max_value=100))
def test_amdahls_serial_fraction_is_found_again(fraction: float, single: float) -> None:
    ranks = np.array([1.0, 2, 4, 8])
    seconds = single * (fraction + (1 - fraction) / ranks)
    assert statistics.serial_fraction(ranks, seconds) == pytest.approx(fraction, abs=1e-9)


def test_without_one_rank_or_more_there_is_no_serial_fraction() -> None:
    assert statistics.serial_fraction(np.array([2.0, 4]), np.array([1.0, 0.5])) is None
    assert statistics.serial_fraction(np.array([1.0]), np.array([1.0])) is None
