"""Dropout: hidden units that one exemplar does without, drawn anew for every exemplar and epoch.

Which ones follows from the seed, the epoch, the exemplar, the layer and the unit alone, by SplitMix64 (Steele, Lea and
Flood 2014, OOPSLA): so it is the same on any rank, and after a resume. What a kept unit gives is made larger, so that
the mean is as without (Srivastava et al. 2014, JMLR 15); with SELU, *alpha dropout* (Klambauer et al. 2017,
arXiv:1706.02515), a dropped unit gives what SELU gives far below 0, and mean and variance stay.
"""

import math
from typing import NamedTuple

import numpy as np

from mpinn.model.activations import SELU_ALPHA, SELU_SCALE

GOLDEN = 0x9E3779B97F4A7C15
WORD = 2**64 - 1
STEPS = 2**24  # of a probability


class Drop(NamedTuple):
    """What a layer's units give: scale * phi + shift where they are kept, and `dropped` where they are not."""

    scale: float
    shift: float
    dropped: float

    @classmethod
    def of(cls, activation: str, rate: float) -> "Drop":
        """Return that of a layer; rate: the share of its units that is dropped."""
        kept = 1 - rate
        if activation != "selu":
            return cls(1 / kept, 0.0, 0.0)
        low = -SELU_SCALE * SELU_ALPHA
        scale = 1 / math.sqrt(kept + low * low * kept * rate)
        shift = -scale * rate * low
        return cls(scale, shift, scale * low + shift)


def mixed(z: int) -> int:
    """Return SplitMix64's output function of a state."""
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & WORD
    return z ^ z >> 31


def state_of(seed: int, epoch: int, exemplar: int, layer: int) -> int:
    """Return where the draws for a layer of an exemplar begin."""
    state = 0
    for part in (seed, epoch, exemplar, layer):
        state = mixed((state + part + GOLDEN) & WORD)
    return state


def kept(state: int, units: int, rate: float) -> np.ndarray:
    """Return which units are kept, (units,) bool."""
    bits = np.array([mixed((state + GOLDEN * (unit + 1)) & WORD) >> 40 for unit in range(units)])
    found: np.ndarray = bits >= round(rate * STEPS)
    return found
