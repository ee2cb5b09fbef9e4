"""What repeated measurements say: spread, the interval of a ratio, a serial fraction."""

from typing import NamedTuple

import numpy as np

RESAMPLES = 4000
CONFIDENCE = 95.0  # percent
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

    @property
    def unstable(self) -> bool:
        return self.high - self.low > UNSTABLE * self.value

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out that the two are equal."""
        return not self.low <= 1 <= self.high


def spread(values: np.ndarray) -> Spread:
    """Return minimum, median and maximum of at least one value."""
    return Spread(float(values.min()), float(np.median(values)), float(values.max()), len(values))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> Ratio:
    """Return the ratio of the medians with its percentile bootstrap interval (Efron 1979), each side resampled.

    With fewer than three values on a side the interval is that of the most extreme ratios seen. Values above 0.
    """
    value = float(np.median(numerator) / np.median(denominator))
    if min(len(numerator), len(denominator)) < 3:
        return Ratio(value, float(numerator.min() / denominator.max()), float(numerator.max() / denominator.min()))
    random = np.random.default_rng(0)
    medians = [
        np.median(side[random.integers(0, len(side), (RESAMPLES, len(side)))], axis=1)
        for side in (numerator, denominator)
    ]
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(medians[0] / medians[1], [tail, 100 - tail])
    return Ratio(value, float(low), float(high))


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
