"""The observers that write files: a snapshot when one is due or wanted, the result after every epoch and at the end."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpinn.parallel.round import Team
from mpinn.parallel.timeline import Kind
from mpinn.system import files
from mpinn.system.locks import Lock
from mpinn.training.events import (
    EpochEnded,
    Event,
    Observer,
    RunEnded,
    RunFailed,
    Saved,
    SignalCaught,
    SnapshotWanted,
)
from mpinn.training.snapshots import Snapshot, Store
from mpinn.training.state import RunState

log = logging.getLogger("mpinn")


class SnapshotWriter:
    """Saves the state of a run."""

    def __init__(self, team: Team, store: Store, snapshot_of: Callable[[RunState], Snapshot], tell: Observer) -> None:
        """tell: gets the event that a snapshot is saved."""
        self.team, self.store, self.snapshot_of, self.tell = team, store, snapshot_of, tell

    def __call__(self, event: Event) -> None:
        """Save where an event asks for it. Raises MpinnError or ReplicaError, on every rank."""
        match event:
            case EpochEnded(state=state, save=True) | SnapshotWanted(state=state):
                with self.team.timeline.span(Kind.SAVING):
                    self.team.compare_replicas()  # no snapshot is of a wrong rank's weights
                    self.team.world.on_root(lambda: self.write(state))
            case SignalCaught(state=state) if self.team.world.root:
                self.write(state)
            case RunEnded() | RunFailed():
                self.store.lock.release()

    def write(self, state: RunState) -> None:
        path = self.store.save(self.snapshot_of(state))
        log.info("snapshot %s: epoch %d, round %d", path, state.epoch, state.round)
        self.tell(Saved(path, state))


class ResultWriter:
    """Writes the result file."""

    def __init__(
        self, team: Team, path: Path, lock: Lock | None, result_of: Callable[[RunState], dict[str, Any]]
    ) -> None:
        """lock: held on rank 0 until the result is at its end."""
        self.team, self.path, self.lock, self.result_of = team, path, lock, result_of

    def __call__(self, event: Event) -> None:
        """Write where an epoch or the run has ended. Raises MpinnError, on every rank."""
        match event:
            case EpochEnded(state=state) | RunEnded(state=state) | RunFailed(state=state):
                with self.team.timeline.span(Kind.SAVING):
                    self.team.world.on_root(lambda: files.write_json(self.path, self.result_of(state)))
        if isinstance(event, RunEnded | RunFailed) and self.lock:
            self.lock.release()
