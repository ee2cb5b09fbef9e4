"""Faults made on purpose, for tests and demonstrations: MPINN_FAULT=kill|stop|flip|slow:rank=R,round=K[,factor=F]."""

import os
import re
import signal
import time
from typing import NamedTuple

import numpy as np

from mpinn.system.errors import UsageError

FORM = re.compile(r"(?:(slow)|kill|stop|flip):rank=(\d+),round=(\d+)(?(1),factor=(\d+(?:\.\d+)?))")
TOP_OF_MANTISSA = np.uint32(1 << 22)


class Fault(NamedTuple):
    """What goes wrong on one rank; rounds are counted over the run, from 1."""

    kind: str = ""
    rank: int = -1
    round: int = 0
    factor: float = 1.0

    def strike(self, rank: int, round_: int, master: np.ndarray) -> "Fault":
        """Before a round, where this rank is meant: kill or stop it, or flip a bit of its master weights.

        master (parameters,) float32. Return the fault that is left: none strikes twice, but for slowness.
        """
        if rank != self.rank or round_ != self.round or self.kind == "slow":
            return self
        if self.kind == "flip":
            master.view(np.uint32)[-1] ^= TOP_OF_MANTISSA
        elif self.kind in ("kill", "stop"):
            os.kill(os.getpid(), signal.SIGKILL if self.kind == "kill" else signal.SIGSTOP)
        return Fault()

    def wait(self, rank: int, round_: int, seconds: float) -> float:
        """Make what took a rank so many seconds last longer, where this rank is slow; return how many times as long."""
        if self.kind != "slow" or rank != self.rank or round_ < self.round:
            return 1.0
        time.sleep((self.factor - 1) * seconds)
        return self.factor


def from_environment() -> Fault:
    """Return the fault that the environment asks for; without one, that of a rank that is none. Raises UsageError."""
    text = os.environ.get("MPINN_FAULT")
    if text is None:
        return Fault()
    form = FORM.fullmatch(text)
    factor = float(form[4] or 1) if form else 0
    if form is None or factor < 1:
        raise UsageError(
            f"MPINN_FAULT={text}: expected slow:rank=R,round=K,factor=F with F at least 1, or kill, stop or "
            "flip:rank=R,round=K"
        )
    return Fault(text.partition(":")[0], int(form[2]), int(form[3]), factor)
