"""Faults made on purpose, for tests and demonstrations: MPINN_FAULT=slow|flip:rank=R,round=K[,factor=F]."""

import os
import re
import time
from typing import NamedTuple

import numpy as np

from mpinn.errors import UsageError

FORM = re.compile(r"slow:rank=(\d+),round=(\d+),factor=(\d+(?:\.\d+)?)|flip:rank=(\d+),round=(\d+)")
TOP_OF_MANTISSA = np.uint32(1 << 22)


class Fault(NamedTuple):
    """What goes wrong on one rank; rounds are counted over the run, from 1."""

    rank: int = -1
    slow_from: int = 0  # from this round on the rank takes `factor` times as long to learn
    factor: float = 1.0
    flip_before: int = 0  # before this round one bit of the rank's master weights is flipped; 0: never

    def flip(self, rank: int, round_: int, master: np.ndarray) -> None:
        """Flip a bit of the master weights, (parameters,) float32, where this rank and round are meant."""
        if rank == self.rank and round_ == self.flip_before:
            master.view(np.uint32)[-1] ^= TOP_OF_MANTISSA

    def wait(self, rank: int, round_: int, seconds: float) -> float:
        """Make what took a rank so many seconds last longer, where this rank is slow; return how many times as long."""
        if rank != self.rank or round_ < self.slow_from:
            return 1.0
        time.sleep((self.factor - 1) * seconds)
        return self.factor


def asked_for() -> Fault:
    """Return the fault that the environment asks for; without one, that of a rank that is none. Raises UsageError."""
    text = os.environ.get("MPINN_FAULT")
    if text is None:
        return Fault()
    form = FORM.fullmatch(text)
    if form is None or (form[3] and float(form[3]) < 1):
        raise UsageError(
            f"MPINN_FAULT={text}: expected slow:rank=R,round=K,factor=F with F at least 1, or flip:rank=R,round=K"
        )
    if form[4]:
        return Fault(int(form[4]), flip_before=int(form[5]))
    return Fault(int(form[1]), slow_from=int(form[2]), factor=float(form[3]))
