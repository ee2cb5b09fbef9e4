"""The layers, the one vector behind them, and the initial weights."""

import hashlib

import numpy as np
import pytest

from mpinn.model.network import Network, weights_sha256

PAPER = Network()


def test_views_are_the_vector_layer_by_layer_with_the_bias_row_last() -> None:
    vector = np.arange(PAPER.parameters, dtype=np.float32)
    first, second = PAPER.views(vector)
    assert first.shape == (785, 100) and second.shape == (101, 10)
    assert first[-1, 0] == 784 * 100 and second[0, 0] == 785 * 100
    first[0, 0] = -1
    assert vector[0] == -1


def test_divisors_count_the_bias_unit_except_in_the_output_layer() -> None:
    assert PAPER.divisors == [785, 101, 10]
    assert Network(bias=False).divisors == [784, 100, 10]
    assert Network(layer_normalisation=False).divisors == [1, 1, 1]


def test_initial_weights_fill_their_range_and_depend_on_the_seed_alone() -> None:
    weights = PAPER.initial_weights(0)
    assert weights.dtype == np.float32 and weights.shape == (79510,)
    assert -0.1 <= weights.min() < -0.0999 and 0.0999 < weights.max() <= 0.1
    assert abs(weights.mean()) < 0.001
    assert np.array_equal(weights, PAPER.initial_weights(0))
    assert not np.array_equal(weights, PAPER.initial_weights(1))


def test_initial_weights_stay_what_they_were() -> None:
    """Raw bits of PCG64: no version of NumPy may change them."""
    assert weights_sha256(PAPER.initial_weights(0)) == (
        "f8a4212bae5a7c5a7b5e62860e153abb55e65289f39658d63caf6c64e8e65ce7"
    )


def test_weights_sha256_is_of_little_endian_float32() -> None:
    weights = np.array([1.0, -2.5], np.float32)
    assert weights_sha256(weights) == hashlib.sha256(bytes.fromhex("0000803f000020c0")).hexdigest()
    assert weights_sha256(weights.astype(">f4")) == weights_sha256(weights)


def test_predict_by_hand() -> None:
    network = Network((1, 1, 2), alpha=0.5)
    w = np.array([0.2, -1.0, 0.3, -0.3, 0.5, 0.0], np.float32)  # 1 -> 1 with bias, then 1 -> 2 with bias
    x = 100 / 2
    net = (0.2 * x - 1) / 2
    z = np.array([0.3 * net + 0.5, -0.3 * net]) / 2
    expected = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    np.testing.assert_allclose(network.predict(w, np.array([[100]], np.uint8))[0], expected, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_counted(bias: bool) -> None:
    assert Network((784, 300, 100, 10), ("identity", "elu", "elu", "softmax"), bias=bias).parameters == (
        784 * 300 + 300 * 100 + 100 * 10 + bias * (300 + 100 + 10)
    )


def test_units_that_nothing_moves_are_counted_in_the_worst_hidden_layer() -> None:
    """Two of three units of the second hidden layer are so far below 0 that no image moves them; ReLU's slope is 0."""
    network = Network((4, 5, 3, 2), ("identity", "sigmoid", "relu", "softmax"), layer_normalisation=False)
    weights = np.zeros(network.parameters, np.float32)
    network.views(weights)[1][-1] = [-1, 1, -1]
    images = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert network.saturated_percent(weights, images) == pytest.approx(200 / 3)
    network.views(weights)[0][0, 1:] = 10  # of the first layer four units of five, where the first pixel is lit
    assert network.saturated_percent(weights, images[1:]) == pytest.approx(80)
    assert network.saturated_percent(weights, images) == pytest.approx(200 / 3)  # which it is not in the first image
    assert Network((4, 2), ("identity", "softmax")).saturated_percent(np.zeros(10, np.float32), images) == 0
