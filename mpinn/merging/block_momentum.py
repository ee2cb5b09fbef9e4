"""Block momentum (Chen and Huo, ICASSP 2016), with which many workers learn as well as one: see `merging.law`."""

import numpy as np

GRID = 2.0**40  # steps of the velocity in a unit


def move(weights: np.ndarray, moments: np.ndarray, mean: np.ndarray, momentum: float) -> None:
    """Move the master beyond the mean: with G = mean - master, V <- mu V + G and master <- master + G + mu V.

    (BMUF in Nesterov's form.) V, the only moment, is cut to multiples of 2^-40: where it dies away it becomes 0, and
    never a denormal number, which is slow. weights (parameters,), moments (1, parameters) float32; mean float64.
    """
    (velocity,) = moments
    moved = momentum * velocity.astype(np.float64)
    moved += mean
    moved -= weights
    velocity[:] = np.trunc(moved * GRID) / GRID
    weights[:] = mean + momentum * velocity.astype(np.float64)
