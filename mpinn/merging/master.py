"""The master: what every rank holds, bit for bit the same between two rounds, and what a merge moves."""

from dataclasses import dataclass

import numpy as np

from mpinn.merging.rules import RULES


@dataclass
class Master:
    """Master weights, what the rule that moves them remembers, and its momentum."""

    weights: np.ndarray  # (parameters,) float32
    moments: np.ndarray  # (moments of the rule, parameters) float32
    momentum: float  # 0 for the plain mean

    @classmethod
    def at_rest(cls, weights: np.ndarray, rule: str, momentum: float) -> "Master":
        """Return a master with these weights that remembers nothing yet."""
        return cls(weights, np.zeros((len(RULES[rule].moments), len(weights)), np.float32), momentum)

    def copy(self) -> "Master":
        return Master(self.weights.copy(), self.moments.copy(), self.momentum)

    def become(self, other: "Master") -> None:
        """Take over another master's values, in place: other ranks may share the arrays."""
        self.weights[:], self.moments[:], self.momentum = other.weights, other.moments, other.momentum

    @property
    def bytes(self) -> list[memoryview]:
        """All of its numbers, for checksums."""
        return [self.weights.data, np.ascontiguousarray(self.moments).data]
