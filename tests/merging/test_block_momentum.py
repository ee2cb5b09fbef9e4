"""Block momentum: its formula."""

import numpy as np

from mpinn.merging import sums


def test_the_formula_by_hand() -> None:
    weights, moments = np.array([1.0], np.float32), np.array([[0.25]], np.float32)
    sums.move("block-momentum", weights, moments, np.array([2.0 * 10]), 1 / 10, np.array([0.5]))
    gain = 2.0 - 1.0
    assert moments[0, 0] == 0.5 * 0.25 + gain
    assert weights[0] == 1.0 + gain + 0.5 * moments[0, 0]


def test_momentum_dies_away_to_nought_not_to_denormal_numbers() -> None:
    weights, moments = np.array([0.5], np.float32), np.array([[1e-3]], np.float32)
    for _ in range(1000):
        sums.move("block-momentum", weights, moments, weights.astype(np.float64), 1.0, np.array([0.9]))
    assert moments[0, 0] == 0
