"""Losses by name: what each makes of the output layer's values, given the target.

To add one, write its function and put it into the table. The reference kernel then trains with it; the native kernel
declines what it does not know, and `--kernel auto` takes the reference kernel instead and says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Loss(NamedTuple):
    """`delta(target, phi, slope)` is minus the derivative of the loss by the output layer's net input.

    Arrays (classes,); slope: the derivative of the layer's activation, of a softmax the diagonal of its Jacobian.
    """

    delta: Callable[[Array, Array, Array], Array]
    outputs: tuple[str, ...]  # activations of the output layer that it fits


def quadratic(target: Array, phi: Array, slope: Array) -> Array:
    """(t - phi) phi': with the softmax the paper's, which has the diagonal of its Jacobian only."""
    return (target - phi) * slope


def quadratic_exact(target: Array, phi: Array, slope: Array) -> Array:
    """Phi (e - sum(e phi)), e = t - phi: with all of the softmax's Jacobian, phi_i (1_ij - phi_j)."""
    error = target - phi
    return phi * (error - error @ phi)


def cross_entropy(target: Array, phi: Array, slope: Array) -> Array:
    """T - phi, exact for a softmax and, with one binary cross-entropy a class, for a sigmoid (Bishop 2006, 4.3)."""
    return target - phi


LOSSES: dict[str, Loss] = {
    "quadratic": Loss(quadratic, ("softmax", "sigmoid", "tanh", "identity")),
    "quadratic-exact": Loss(quadratic_exact, ("softmax",)),
    "cross-entropy": Loss(cross_entropy, ("softmax", "sigmoid")),
}
