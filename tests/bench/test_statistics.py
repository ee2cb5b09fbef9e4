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


def test_what_varies_is_unstable() -> None:
    random = np.random.default_rng(1)
    assert not statistics.ratio(*(random.normal(1, 0.02, 9) for _ in range(2))).unstable
    assert statistics.ratio(np.array([1.0, 2.0, 1.5]), np.array([1.0, 1.0, 1.0])).unstable


def test_the_chance_that_all_of_one_side_are_above_the_other() -> None:
    """Of C(2n, n) ways to split the values, two are as far apart."""
    for n in (3, 5, 7):
        low, high = np.arange(n, dtype=float), 10 + np.arange(n)
        assert statistics.chance(low, high) == statistics.chance(high, low) == pytest.approx(2 / math.comb(2 * n, n))
    assert statistics.chance(np.ones(5), np.ones(5)) == 1


def test_the_chance_of_a_known_example() -> None:
    """Ranks 1, 2, 4 of 6: of the 20 splits those with a sum of at most 7 or at least 14 are 1+2+3, 1+2+4 and theirs."""
    assert statistics.chance(np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0, 6.0])) == pytest.approx(4 / 20)


def test_equal_values_share_a_rank() -> None:
    """1 1 against 1 2: ranks 2 2 2 4; of the 6 splits all are as far apart as 2 + 2 is from 2 + 4."""
    assert statistics.chance(np.array([1.0, 1.0]), np.array([1.0, 2.0])) == 1


def test_many_values_are_split_at_random_and_nearly_as_exactly() -> None:
    a, b = np.arange(12.0), np.arange(12.0) + 5.5
    assert math.comb(24, 12) > statistics.SPLITS
    found = statistics.chance(a, b)
    assert found == statistics.chance(a, b) and 0.001 < found < 0.005  # by U's normal approximation 0.003
    assert statistics.chance(a, a + 100) == pytest.approx(1 / statistics.SPLITS)


def test_runs_of_the_same_differ_in_fewer_than_one_of_twenty_comparisons() -> None:
    """200 comparisons of nine points, with noise as of real runs: skewed, and now and then one twice as slow."""
    random = np.random.default_rng(7)

    def run() -> list[np.ndarray]:
        noise = 1 + 0.03 * random.gamma(2, 1, (9, 7))
        return list(noise * np.where(random.random((9, 7)) < 0.05, 2, 1))

    shown = sum(
        min(statistics.holm([statistics.chance(a, b) for a, b in zip(run(), run(), strict=True)])) < 0.05
        for _ in range(200)
    )
    assert 0 < shown < 10


def test_chances_are_corrected_for_how_many_they_are() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_a_correction_lowers_no_chance_and_keeps_their_order(chances: list[float]) -> None:
    corrected = statistics.holm(chances)
    assert all(before <= after <= 1 for before, after in zip(chances, corrected, strict=True))
    order = sorted(range(len(chances)), key=chances.__getitem__)
    assert [corrected[one] for one in order] == sorted(corrected)


def test_how_many_repeats_it_takes_to_differ() -> None:
    for points in (1, 9, 100):
        n = statistics.repeats_to_differ(points, 0.05)
        assert 2 * points / math.comb(2 * n, n) < 0.05 and (n == 3 or 2 * points / math.comb(2 * n - 2, n - 1) >= 0.05)
    assert statistics.repeats_to_differ(1, 0.05) == 4 and statistics.repeats_to_differ(9, 0.05) == 6


def chance_of_a_median_up_to(rank: int, values: int) -> float:
    """Return the probability that the median of as many values drawn from 1, 2, ... `values` is at most `rank`."""
    part = rank / values
    draws = range(values // 2 + 1, values + 1)  # so many of them at most `rank`
    return sum(math.comb(values, k) * part**k * (1 - part) ** (values - k) for k in draws)


def test_one_median_in_forty_lies_below_a_95_percent_interval_and_one_above() -> None:
    low, high = statistics.ratio(np.arange(1.0, 1000), np.ones(3))[1:3]
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
def test_of_two_repeats_there_are_the_most_extreme_ratios_and_no_interval(one: list[float], other: list[float]) -> None:
    ratio = statistics.ratio(np.array(one), np.array(other))
    assert (ratio.low, ratio.high) == (1 / 16, 3 / 2) and not ratio.known
    assert statistics.ratio(np.ones(3), np.ones(3)).known


@pytest.mark.parametrize("scale", [0.1, 1, 10])
def test_an_interval_wider_than_a_tenth_of_the_ratio_is_unstable(scale: float) -> None:
    assert not Ratio(scale, 0.96 * scale, 1.05 * scale).unstable
    assert Ratio(scale, 0.94 * scale, 1.05 * scale).unstable


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
