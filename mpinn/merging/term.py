"""A worker's term of a round's sum: where it goes, and how it is made of what the worker learned."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Term:
    """What its array's type is says what it is: `merging.formats`.

    A kernel that is given one instead of an array for what is learned makes the term at once, part by part.
    """

    array: np.ndarray  # (parameters,) int16 or int32: steps; float32: weights; float64: weights times exemplars
    start: np.ndarray | None = None  # (parameters,) float32, from which it is a step; None: what is learned is one
    factor: float = 1.0  # of steps, below 2^22 with `most`; exemplars
    most: int = 0  # of steps, in magnitude
    constant: float = 0.0  # that rounds, added and taken off
    adds: bool = False  # to what the array holds; not of float32
    found: tuple[int, int] = (0, 0)  # `sums.largest` of weights and of steps, once it is written
