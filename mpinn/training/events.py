"""What happens in training, as a run tells it to its observers: the screen, the snapshots, the result file, a log.

To add an event, write it here, put it into `Event`, and tell it where it happens. Every rank tells the same events in
the same order to observers of its own; one that only rank 0 needs does nothing elsewhere. Rounds count from 1.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mpinn.parallel.phases import Efficiency, RoundMerged
from mpinn.training.state import RunState

log = logging.getLogger("mpinn")


class RunBegan(NamedTuple):
    state: RunState
    nothing_left: str  # why there is nothing to do, or an empty string


class EpochBegan(NamedTuple):
    epoch: int
    rounds: int  # of an epoch


class RoundsEnded(NamedTuple):
    """The epoch's rounds are done, or a request, a divergence or a loss has interrupted them."""

    epoch: int
    round: int  # the last that is done


class Evaluated(NamedTuple):
    epoch: int
    train_accuracy: float  # percent
    test_accuracy: float


class EpochEnded(NamedTuple):
    state: RunState
    row: dict[str, Any]  # of the result's `epochs`
    exemplars: int  # that an epoch learns
    dead: str  # what shows that training is dead, or an empty string
    save: bool  # whether a snapshot is due


class SnapshotWanted(NamedTuple):
    """A signal, a time limit or a failure asks for a snapshot of the state as it is."""

    state: RunState


class SignalCaught(NamedTuple):
    """A signal to end came during the evaluation. Told at once, on the rank that caught it alone."""

    state: RunState


class Saved(NamedTuple):
    """Rank 0 has written a snapshot. Told on rank 0 alone."""

    path: Path
    state: RunState


class WentBack(NamedTuple):
    """The run goes on from an earlier state."""

    state: RunState
    why: str  # in words


class RankLost(NamedTuple):
    rank: int  # by its number at the start
    host: str
    ranks: int  # that are left
    state: RunState  # that they go on from


class RunEnded(NamedTuple):
    """Training has come to its end, or was stopped: `state.status` says how."""

    state: RunState
    seconds: float  # of wall time of the run
    signalled: bool  # whether a signal ended it
    efficiency: Efficiency | None  # on rank 0, of several ranks that have a core each


class RunFailed(NamedTuple):
    state: RunState


Event = (
    RunBegan
    | EpochBegan
    | RoundMerged
    | RoundsEnded
    | Evaluated
    | EpochEnded
    | SnapshotWanted
    | SignalCaught
    | Saved
    | WentBack
    | RankLost
    | RunEnded
    | RunFailed
)
Observer = Callable[[Event], None]


def log_event(event: Event) -> None:
    """The observer behind --log-level debug: log every event, of a state only how far it is."""
    said = [
        f"{name} epoch {value.epoch}, round {value.round}" if isinstance(value, RunState) else f"{name} {value}"
        for name, value in event._asdict().items()
    ]
    log.debug("%s: %s", type(event).__name__, ", ".join(said))
