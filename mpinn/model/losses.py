"""Losses by name: what each is, and what it makes of the output layer's values, given the target.

To add one, write its functions and put it into the table. The reference kernel then trains with it; the native kernel
declines what it does not know, and `--kernel auto` takes the reference kernel instead and says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray

UNIT = 2.0**-24  # of the loss of an exemplar, where losses are summed up: whole numbers, the same sum in any order
MOST = 2.0**10  # that counts of the loss of an exemplar
LEAST = 2.0**-38  # probability of a class: that the kernel tells from 0


class Loss(NamedTuple):
    """`value(target, phi, softmax)` is the loss of an exemplar; softmax: whether phi are the shares of one.

    `delta(target, phi, slope)` is minus its derivative by the output layer's net input. Arrays (classes,); slope: the
    derivative of the layer's activation, of a softmax the diagonal of its Jacobian.
    """

    value: Callable[[Array, Array, bool], float]
    delta: Callable[[Array, Array, Array], Array]
    outputs: tuple[str, ...]  # activations of the output layer that it fits


def squares(target: Array, phi: Array, softmax: bool) -> float:
    """1/2 sum (t - phi)^2."""
    error = target - phi
    return float(0.5 * error @ error)


def surprise(target: Array, phi: Array, softmax: bool) -> float:
    """-log phi of the target's class and, without a softmax, -log(1 - phi) of the others."""
    of_target = -float(np.log(np.maximum(phi @ target, LEAST)))
    others = np.maximum(1 - phi[target == 0], LEAST)
    return of_target if softmax else of_target - float(np.log(others).sum())


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
    "quadratic": Loss(squares, quadratic, ("softmax", "sigmoid", "tanh", "identity")),
    "quadratic-exact": Loss(squares, quadratic_exact, ("softmax",)),
    "cross-entropy": Loss(surprise, cross_entropy, ("softmax", "sigmoid")),
}
