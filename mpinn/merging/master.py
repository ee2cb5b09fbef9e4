"""The master: what every rank holds, bit for bit the same between two rounds, and what a merge moves."""

from dataclasses import dataclass

import numpy as np

from mpinn.merging.rules import RULES

FIRST = 0  # exponent of the first round's steps


@dataclass
class Master:
    """Master weights, what the rule that moves them remembers, its momentum, and what the round before has told."""

    weights: np.ndarray  # (parameters,) float32
    moments: np.ndarray  # (moments of the rule, parameters) float32
    momentum: float  # of block momentum, else 0
    exponent: int = (
        FIRST  # e, where workers' steps of the round before were smaller than 2^e: the unit of whole numbers
    )
    loss: int = 0  # of the round before, all its exemplars together, in `losses.UNIT`; 0: not known

    @classmethod
    def at_rest(cls, weights: np.ndarray, rule: str, momentum: float) -> "Master":
        """Return a master with these weights that remembers nothing yet."""
        return cls(weights, np.zeros((len(RULES[rule].moments), len(weights)), np.float32), momentum)

    def copy(self) -> "Master":
        return Master(self.weights.copy(), self.moments.copy(), self.momentum, self.exponent, self.loss)

    def become(self, other: "Master") -> None:
        """Take over another master's values, in place: other ranks may share the arrays."""
        self.weights[:], self.moments[:] = other.weights, other.moments
        self.momentum, self.exponent, self.loss = other.momentum, other.exponent, other.loss

    @property
    def bytes(self) -> list[memoryview]:
        """All of its numbers, for checksums."""
        return [
            self.weights.data,
            np.ascontiguousarray(self.moments).data,
            np.array([self.exponent, self.loss], "<i8").data,
        ]
