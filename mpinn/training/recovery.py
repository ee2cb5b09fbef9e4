"""What a run does about a fault: a rank was lost, a rank has other weights than most, training diverged.

A round is a pure function of the master, and every rank has it: so whoever is left can do it again. The functions here
take the state of the run and return the state to go on with, or raise an error where there is none; they change
nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mpinn.config import Settings
from mpinn.merging import law
from mpinn.merging.master import Master
from mpinn.parallel import phases
from mpinn.system.errors import MpinnError
from mpinn.system.words import counted
from mpinn.training.snapshots import Snapshot
from mpinn.training.state import RunState

Member = tuple[int, str]  # a rank, by its number at the start, and its host


def failure(cause: str, member: Member | None, state: RunState, seconds_lost: float) -> dict[str, Any]:
    """Return an entry of the result's `failures`; member: the rank that failed."""
    rank, host = member or (None, None)
    return {
        "when": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "cause": cause,
        "rank": rank,
        "host": host,
        "epoch": state.epoch,
        "round": state.round,
        "seconds_lost": seconds_lost,
    }


def after_restart(state: RunState, lost_since: float) -> RunState:
    """Return the state of a job that was started again, the restart among its failures.

    lost_since: seconds since 1970; what was done after it is done again.
    """
    lost = max(0.0, time.time() - lost_since)
    return replace(state, failures=[*state.failures, failure("restarted", None, state, lost)])


def after_loss(state: RunState, epoch: int, round_: int, loss: int | None, seconds: float | None) -> RunState:
    """Return the state at the last round that all remaining ranks have done.

    loss: of that epoch up to there; seconds: that the rounds under way have taken, None between rounds. The phases of a
    lost rank are lost. (One rank may have evaluated an epoch that another has not: then its row is removed.)
    """
    if state.epoch > epoch:
        *rows, last = state.epochs
        return replace(state, epoch=epoch, round=round_, loss=loss, epochs=rows, partial=phases.part_of(last))
    partial = state.partial
    if seconds is not None:
        partial = phases.add(partial, phases.part(seconds, np.zeros((1, len(phases.PHASES))), clipped=0))
    return replace(state, epoch=epoch, round=round_, loss=loss, partial=partial)


def too_few(ranks: int, settings: Settings) -> MpinnError:
    """Return the error, on every rank, for fewer ranks than --min-ranks."""
    return MpinnError(
        f"{counted(ranks, 'rank')} left, fewer than --min-ranks {settings.min_ranks}; "
        "--resume goes on with more, where snapshots are saved"
    ).on_every_rank()


def after_odd_replicas(
    state: RunState, settings: Settings, fingerprint: str, saved: Snapshot | None, odd: Sequence[Member], seconds: float
) -> RunState:
    """Return the state of the last snapshot, because ranks have other weights than most.

    saved: that snapshot, if there is one; seconds: wall time of the run. Raises MpinnError, on every rank, without a
    snapshot of this run.
    """
    if saved is None or not is_earlier(saved, state, settings, fingerprint):
        raise MpinnError(
            f"{odd_replicas(state, odd)}: faulty memory? With --checkpoint DIR the run would go back to its last "
            "snapshot"
        ).on_every_rank()
    lost = seconds - saved.state.seconds
    failures = [*state.failures, *(failure("other weights", member, state, lost) for member in odd)]
    return replace(saved.state, failures=failures, seconds=state.seconds)


def odd_replicas(state: RunState, odd: Sequence[Member]) -> str:
    """Return in words which ranks have other weights, and where it was seen."""
    names = ", ".join(f"rank {rank} on {host}" for rank, host in odd)
    return f"{names}: other master weights than most ranks at epoch {state.epoch}, round {state.round}"


def is_earlier(saved: Snapshot, state: RunState, settings: Settings, fingerprint: str) -> bool:
    """Return whether a snapshot is of this run, or of one that is the same: its directory may have others."""
    same = (saved.settings, saved.data) == (settings.determines_weights, fingerprint)
    return same and (saved.state.epoch, saved.state.round) <= (state.epoch, state.round)


def after_divergence(state: RunState, settings: Settings, round_: int, seen: str) -> RunState:
    """Return the state at the last good master weights, or from there at the first, with less momentum.

    round_: from 1, where `seen` was seen. Seconds since then count for the epoch that is gone back to. Raises
    MpinnError, on every rank, where there is no momentum to lower.
    """
    momentum = state.master.momentum
    if state.good is None or momentum == 0:
        cure = "--block-momentum, --worker-batch or --learning-rate"
        if settings.block_momentum is None:
            cure = "--learning-rate"
        raise MpinnError(
            f"training diverged at epoch {state.epoch}, round {round_}: {seen}; lower {cure}"
        ).on_every_rank()
    good, epoch = state.good, state.good_epoch
    if state.divergences and state.divergences[-1]["back_to_epoch"] == epoch:  # it was not as good as it looked
        good, epoch = settings.network.initial_weights(settings.seed), 1
    partial = state.partial
    for row in reversed(state.epochs):
        if row["epoch"] >= epoch:
            partial = phases.add(partial, phases.part_of(row))
    lower = law.of(settings.overlap).lowered(momentum, settings.workers, settings.worker_batch)
    answer = {"epoch": state.epoch, "round": round_, "seen": seen, "back_to_epoch": epoch, "block_momentum": lower}
    return replace(
        state,
        epoch=epoch,
        round=0,
        loss=0,
        master=Master.at_rest(good, settings.rule, lower),
        good=good,
        good_epoch=epoch,
        epochs=[row for row in state.epochs if row["epoch"] < epoch],
        partial=partial,
        divergences=[*state.divergences, answer],
    )


def collapsed(state: RunState, accuracy: float) -> bool:
    """Return whether an accuracy on the training set is less than half of the best so far, and momentum to blame."""
    earlier = [row["train_accuracy"] for row in state.epochs if row["train_accuracy"] is not None]
    return state.master.momentum > 0 and accuracy < max(earlier, default=0) / 2
