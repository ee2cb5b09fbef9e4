"""Activation functions by name: each is a function and its derivative.

To add one, write the two and put them into the table. The reference kernel then knows it; the native kernel
declines what it does not know, and `--kernel auto` takes the reference kernel instead and says so. To change one
that `kernels/c/functions.h` knows, change it there too: the tests of kernels compare the two.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray

LEAK = 0.01  # slope of the leaky ReLU below zero
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017: mean 0, variance 1 stay so
GELU_SCALE, GELU_CUBE = 0.7978845608028654, 0.044715  # the first is the square root of 2 / pi


class Activation(NamedTuple):
    """`function(x, alpha)` gives phi; `derivative(x, phi, alpha)` gives d phi / d x. Both work element by element."""

    function: Callable[[Array, float], Array]
    derivative: Callable[[Array, Array, float], Array]


def elu(x: Array, alpha: float) -> Array:
    """ELU (Clevert, Unterthiner, Hochreiter 2016): x if x > 0, else alpha (e^x - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_derivative(x: Array, phi: Array, alpha: float) -> Array:
    """1 if x > 0, else phi + alpha; at x = 0 this is alpha, as in the final version of Clevert et al."""
    return np.where(x > 0, 1.0, phi + alpha)


def selu(x: Array, alpha: float) -> Array:
    """SELU (Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515): ELU with the two constants of theirs."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_derivative(x: Array, phi: Array, alpha: float) -> Array:
    return np.where(x > 0, SELU_SCALE, phi + SELU_SCALE * SELU_ALPHA)


def gelu(x: Array, alpha: float) -> Array:
    """GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415), by the tanh that they approximate it with."""
    return 0.5 * x * (1 + np.tanh(GELU_SCALE * x * (1 + GELU_CUBE * x * x)))


def gelu_derivative(x: Array, phi: Array, alpha: float) -> Array:
    t = np.tanh(GELU_SCALE * x * (1 + GELU_CUBE * x * x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBE * x * x)


def sigmoid(x: Array, alpha: float) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def softmax(x: Array, alpha: float) -> Array:
    """e^z / sum(e^z) along the last axis, over z - max(z) so that nothing overflows."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def logistic_derivative(x: Array, phi: Array, alpha: float) -> Array:
    """Phi (1 - phi): the sigmoid's derivative, and the diagonal of the softmax's Jacobian."""
    return phi * (1 - phi)


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda x, alpha: x, lambda x, phi, alpha: np.ones_like(x)),
    "elu": Activation(elu, elu_derivative),
    "relu": Activation(lambda x, alpha: np.maximum(x, 0), lambda x, phi, alpha: np.where(x > 0, 1.0, 0.0)),
    "leaky-relu": Activation(
        lambda x, alpha: np.where(x > 0, x, LEAK * x), lambda x, phi, alpha: np.where(x > 0, 1.0, LEAK)
    ),
    "sigmoid": Activation(sigmoid, logistic_derivative),
    "tanh": Activation(lambda x, alpha: np.tanh(x), lambda x, phi, alpha: 1 - phi * phi),
    "softmax": Activation(softmax, logistic_derivative),
    "selu": Activation(selu, selu_derivative),
    "gelu": Activation(gelu, gelu_derivative),
}
