"""Every activation's derivative against finite differences, and the values that the paper settles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.model.activations import ACTIVATIONS

STEP = 1e-6


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"softmax"}))
@given(x=st.floats(-20, 20).filter(lambda x: abs(x) > 10 * STEP), alpha=st.floats(0.1, 2))
def test_derivative_is_the_slope(name: str, x: float, alpha: float) -> None:
    function, derivative = ACTIVATIONS[name]
    slope = (function(np.array([x + STEP]), alpha) - function(np.array([x - STEP]), alpha)) / (2 * STEP)
    here = np.array([x])
    np.testing.assert_allclose(derivative(here, function(here, alpha), alpha), slope, atol=1e-6)


def test_softmax_derivative_is_the_diagonal_of_its_jacobian() -> None:
    function, derivative = ACTIVATIONS["softmax"]
    z = np.array([0.3, -1.0, 2.0])
    for i in range(3):
        step = STEP * np.eye(3)[i]
        slope = (function(z + step, 0) - function(z - step, 0))[i] / (2 * STEP)
        assert derivative(z, function(z, 0), 0)[i] == pytest.approx(slope)


def test_elu_derivative_at_zero_is_alpha() -> None:
    function, derivative = ACTIVATIONS["elu"]
    zero = np.zeros(1)
    assert derivative(zero, function(zero, 0.5), 0.5) == 0.5


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20))
def test_softmax_is_a_distribution_however_large_its_input(z: list[float]) -> None:
    phi = ACTIVATIONS["softmax"].function(np.array(z), 0)
    assert np.all(phi >= 0)
    assert phi.sum() == pytest.approx(1)
