"""The rules that move the master, given the sum of the workers' terms of a round.

To add a rule, write its `move` and put it into the table. Snapshots, recovery and the comparison of replicas then know
it, with the vectors that it remembers; the native kernel declines a rule that it does not know. The rules named after
optimizers are those of `merging.optimizers`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from mpinn.merging import block_momentum, optimizers
from mpinn.merging.optimizers import OPTIMIZERS


class Rule(NamedTuple):
    """move(weights, moments, total, share, numbers) moves the master and what the rule remembers, both in place.

    weights (parameters,) float32; moments (len(moments), parameters) float32; total (parameters,) of a format's type;
    the mean is share * total, for whole numbers beyond the master; numbers: what the rule has to know, (k,) float64.
    """

    move: Callable[[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray], None]
    moments: tuple[str, ...]  # names of the vectors that it remembers from one merge to the next


def mean_of(weights: np.ndarray, total: np.ndarray, share: float) -> np.ndarray:
    """Return the mean of the workers' weights, (parameters,) float64."""
    mean: np.ndarray = share * total.astype(np.float64)
    if np.issubdtype(total.dtype, np.integer):
        mean += weights
    return mean


def move_to_mean(
    weights: np.ndarray, moments: np.ndarray, total: np.ndarray, share: float, numbers: np.ndarray
) -> None:
    """Make the mean the master weights. It remembers nothing, and has no numbers."""
    weights[:] = mean_of(weights, total, share)


def move_by_momentum(
    weights: np.ndarray, moments: np.ndarray, total: np.ndarray, share: float, numbers: np.ndarray
) -> None:
    """Block momentum; its number is mu."""
    block_momentum.move(weights, moments, mean_of(weights, total, share), numbers[0])


def optimize(
    name: str, weights: np.ndarray, moments: np.ndarray, total: np.ndarray, share: float, numbers: np.ndarray
) -> None:
    """Move by an optimizer; numbers: 1 where the terms are weights, from which the master's are taken away to have a
    direction, else 0; a1 and a2 of the elastic net; those of the optimizer.
    """
    direction = share * total.astype(np.float64)
    if numbers[0]:
        direction -= weights
    c = numbers.astype(np.float32)
    optimizers.move(name, weights, moments, direction.astype(np.float32), c[1], c[2], c[3:])


RULES: dict[str, Rule] = {
    "mean": Rule(move_to_mean, ()),
    "block-momentum": Rule(move_by_momentum, ("velocity",)),
    **{name: Rule(partial(optimize, name), one.moments) for name, one in OPTIMIZERS.items()},
}
