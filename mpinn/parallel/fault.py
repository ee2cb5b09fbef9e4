"""Faults made on purpose, for tests and demonstrations: MPINN_FAULT=slow:rank=R,round=K,factor=F."""

import os
import re
import time
from typing import NamedTuple

from mpinn.errors import UsageError

FORM = re.compile(r"slow:rank=(\d+),round=(\d+),factor=(\d+(?:\.\d+)?)")


class Slow(NamedTuple):
    """A rank that takes `factor` times as long to learn, from round `round` of the run (from 1) on."""

    rank: int
    round: int
    factor: float

    def wait(self, rank: int, round_: int, seconds: float) -> float:
        """Make what took a rank so many seconds last longer, where this rank is slow; return how many times as long."""
        if rank != self.rank or round_ < self.round:
            return 1.0
        time.sleep((self.factor - 1) * seconds)
        return self.factor


def asked_for() -> Slow:
    """Return the fault that the environment asks for; without one, a slow rank that is no rank. Raises UsageError."""
    text = os.environ.get("MPINN_FAULT")
    if text is None:
        return Slow(-1, 1, 1.0)
    form = FORM.fullmatch(text)
    if form is None or float(form[3]) < 1:
        raise UsageError(f"MPINN_FAULT={text}: expected slow:rank=R,round=K,factor=F with F at least 1")
    return Slow(int(form[1]), int(form[2]), float(form[3]))
