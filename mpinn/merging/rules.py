"""The rules that move the master by the mean of the workers' weights.

To add a rule, write its `move` and put it into the table. The option --merge, snapshots, recovery and the comparison of
replicas then know it, with the vectors that it remembers; the native kernel declines a rule that it does not know.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mpinn.merging import block_momentum


class Rule(NamedTuple):
    """move(weights, moments, mean, momentum) moves the master and what the rule remembers, both in place.

    weights (parameters,) float32; moments (len(moments), parameters) float32; mean (parameters,) float64.
    """

    move: Callable[[np.ndarray, np.ndarray, np.ndarray, float], None]
    moments: tuple[str, ...]  # names of the vectors that it remembers from one merge to the next


def move_to_mean(weights: np.ndarray, moments: np.ndarray, mean: np.ndarray, momentum: float) -> None:
    """Make the mean the master weights. It remembers nothing, and has no momentum."""
    weights[:] = mean


RULES: dict[str, Rule] = {
    "mean": Rule(move_to_mean, ()),
    "block-momentum": Rule(block_momentum.move, ("velocity",)),
}
