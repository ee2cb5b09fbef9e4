"""What repeated measurements say: spread, the interval of a ratio, a serial fraction."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 4000
CONFIDENCE = 95.0  # percent
CHANCE = 0.05  # that as much is there by chance, below which two runs differ
LEAST = 3  # values that an interval needs
SPLITS = 20_000  # of two samples, beyond which some at random stand for all
UNSTABLE = 0.10  # width of an interval, relative to the ratio, from which a result is unstable


class Spread(NamedTuple):
    """Of repeated measurements."""

    min: float
    median: float
    max: float
    repeats: int


class Ratio(NamedTuple):
    """How many times as large one measured quantity is as another, and its bootstrap confidence interval."""

    value: float
    low: float
    high: float
    known: bool = True  # whether low and high are an interval, and not the most extreme ratios of too few values

    @property
    def width(self) -> float:
        """Of the interval, relative to the ratio."""
        return (self.high - self.low) / self.value

    @property
    def unstable(self) -> bool:
        return self.width > UNSTABLE


def spread(values: np.ndarray) -> Spread:
    """Return minimum, median and maximum of at least one value."""
    return Spread(float(values.min()), float(np.median(values)), float(values.max()), len(values))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> Ratio:
    """Return the ratio of the medians with its percentile bootstrap interval (Efron 1979), each side resampled.

    With fewer than LEAST values on a side there is no interval: low and high are the most extreme ratios seen.
    Values above 0.
    """
    value = float(np.median(numerator) / np.median(denominator))
    if min(len(numerator), len(denominator)) < LEAST:
        extremes = float(numerator.min() / denominator.max()), float(numerator.max() / denominator.min())
        return Ratio(value, *extremes, known=False)
    random = np.random.default_rng(0)
    medians = [
        np.median(side[random.integers(0, len(side), (RESAMPLES, len(side)))], axis=1)
        for side in (numerator, denominator)
    ]
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(medians[0] / medians[1], [tail, 100 - tail])
    return Ratio(value, float(low), float(high), known=True)


def serial_fraction(ranks: np.ndarray, seconds: np.ndarray) -> float | None:
    """Return s of Amdahl's law, T(n) = T(1) (s + (1 - s) / n), fitted by least squares of T(n) / T(1); in 0 to 1.

    ranks and seconds (points,), one of them with one rank. None without a point of more ranks.
    """
    single = seconds[ranks == 1]
    parallel = ranks > 1
    if not len(single) or not parallel.any():
        return None
    inverse = 1 / ranks[parallel]
    excess = seconds[parallel] / np.median(single) - inverse
    fitted = float((excess * (1 - inverse)).sum() / ((1 - inverse) ** 2).sum())
    return min(1.0, max(0.0, fitted))


def chance(a: np.ndarray, b: np.ndarray) -> float:
    """Return how likely samples of one and the same quantity differ as much as these: a permutation test of mean ranks.

    (Wilcoxon 1945; ties share a rank.) Exact where there are at most SPLITS ways to split the values in two such parts.
    """
    values = np.concatenate([a, b])
    order = np.sort(values)
    ranks = (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right") + 1) / 2
    if math.comb(len(values), len(a)) <= SPLITS:
        parts = np.array(list(itertools.combinations(range(len(values)), len(a))))
    else:
        random = np.random.default_rng(0)
        parts = random.permuted(np.tile(np.arange(len(values)), (SPLITS, 1)), axis=1)[:, : len(a)]
        parts[0] = np.arange(len(a))  # as they are
    apart = np.abs(ranks[parts].mean(axis=1) - ranks.mean())
    return float((apart >= abs(ranks[: len(a)].mean() - ranks.mean()) - 1e-9).mean())


def holm(chances: Sequence[float]) -> list[float]:
    """Return chances, corrected for how many they are (Holm 1979): one below 5 % is not there by chance alone."""
    corrected, most = [0.0] * len(chances), 0.0
    for place, number in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        most = max(most, min(1.0, (len(chances) - place) * chances[number]))
        corrected[number] = most
    return corrected


def repeats_to_differ(points: int, limit: float) -> int:
    """Return the fewest repeats on both sides with which one of so many points can differ, by `holm`'s chances."""
    return next(n for n in itertools.count(LEAST) if 2 * points / math.comb(2 * n, n) < limit)
