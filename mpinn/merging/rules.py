"""The rules that move the master by the mean of the workers' weights, and the whole of a merge in NumPy.

To add a rule, write its `move` and put it into the table. The option --merge, snapshots, recovery and the comparison of
replicas then know it, with the vectors that it remembers; the native kernel declines a rule that it does not know.

The functions are those of `mpinn.kernels.native_merge`, which gives the same bits.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mpinn.merging import block_momentum, mean
from mpinn.merging.mean import LIMIT, add_rounded

__all__ = ["RULES", "Rule", "add_rounded", "merge_workers", "move_master"]


class Rule(NamedTuple):
    """move(weights, moments, mean, momentum) moves the master and what the rule remembers, both in place.

    weights (parameters,) float32; moments (len(moments), parameters) float32; mean (parameters,) float64.
    """

    move: Callable[[np.ndarray, np.ndarray, np.ndarray, float], None]
    moments: tuple[str, ...]  # names of the vectors that it remembers from one merge to the next


RULES: dict[str, Rule] = {
    "mean": Rule(mean.move, ()),
    "block-momentum": Rule(block_momentum.move, ("velocity",)),
}


def move_master(
    rule: str, weights: np.ndarray, moments: np.ndarray, total: np.ndarray, exemplars: int, momentum: float
) -> None:
    """Move the master as the rule says, given total, (parameters,) float64: the sum of n_w W_w. It is used up."""
    RULES[rule].move(weights, moments, np.multiply(total, 1 / exemplars, out=total), momentum)


def merge_workers(
    rule: str,
    weights: np.ndarray,
    moments: np.ndarray,
    vectors: np.ndarray,
    counts: np.ndarray,
    momentum: float,
    constant: float,
    limit: float = LIMIT,
) -> bool:
    """Move the master by the workers' weights; return whether all of these are numbers below the limit.

    Arguments as those of `add_rounded` and `move_master`, of which it is made.
    """
    total = np.zeros(len(weights))
    good = add_rounded(total, vectors, counts, constant, limit)
    move_master(rule, weights, moments, total, int(counts.sum()), momentum)
    return good
