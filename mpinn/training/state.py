"""How far a run is and what has come of it: only data. Snapshots save it, and the result is made from it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpinn.config import Settings
from mpinn.merging.master import Master


@dataclass
class RunState:
    """The state of a run after `round` rounds of epoch `epoch`: whoever has it can go on as if nothing had happened."""

    epoch: int  # from 1: the epoch to go on with
    round: int  # rounds of it already done
    master: Master
    good: np.ndarray | None  # (parameters,) float32, the weights that a divergence goes back to; None: it ends the run
    good_epoch: int = 1  # the epoch to go on with from there
    epochs: list[dict[str, Any]] = field(default_factory=list)  # the result's `epochs`
    partial: dict[str, Any] | None = None  # of the epoch under way: what its rounds took so far (parallel.phases)
    loss: int | None = 0  # of its rounds so far, all exemplars together, in `losses.UNIT`; None: not known
    divergences: list[dict[str, Any]] = field(default_factory=list)  # the result's
    failures: list[dict[str, Any]] = field(default_factory=list)  # the result's
    seconds: float = 0.0  # wall time of the run until this process began, or until the state was saved
    status: str = "running"  # the result's
    error: str | None = None

    @classmethod
    def beginning(cls, settings: Settings) -> "RunState":
        """Return the state before the first round."""
        weights = settings.network.initial_weights(settings.seed)
        good = weights.copy() if settings.rule == "block-momentum" else None
        return cls(1, 0, Master.at_rest(weights, settings.rule, settings.block_momentum or 0.0), good)
