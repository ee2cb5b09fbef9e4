"""Losses by name: what each makes of the output layer's values, given the target.

To add one, write its function and put it into the table. The reference kernel then trains with it; the native kernel
declines what it does not know, and `--kernel auto` takes the reference kernel instead and says so.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray


def quadratic(target: Array, phi: Array) -> Array:
    """(t - phi) phi (1 - phi): the paper's, with the diagonal of the softmax's Jacobian only."""
    return (target - phi) * phi * (1 - phi)


def cross_entropy(target: Array, phi: Array) -> Array:
    """T - phi, exact for a softmax (Bishop 2006, equation 4.109)."""
    return target - phi


# name -> delta(target, phi), minus the derivative of the loss by the output layer's net input; arrays (classes,)
LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "quadratic": quadratic,
    "cross-entropy": cross_entropy,
}
