"""What a run does when something went wrong: a rank was lost, a rank has other weights than most, weights ran away.

A round is a pure function of the master weights, and every rank has them: so whoever is left can do it again.
"""

import dataclasses
import time
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mpinn import checkpoint, law, results
from mpinn.beats import Launcher
from mpinn.checkpoint import Snapshot
from mpinn.config import Config
from mpinn.errors import MpinnError
from mpinn.parallel.round import ReplicaError
from mpinn.parallel.world import Member
from mpinn.screen import counted

if TYPE_CHECKING:
    from mpinn.run import Run


def everywhere(text: str) -> MpinnError:
    """Return an error that every rank raises."""
    error = MpinnError(text)
    error.everywhere = True
    return error


def failure(cause: str, member: Member | None, state: Snapshot, seconds_lost: float) -> dict[str, Any]:
    """Return an entry of the result's `failures`."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "cause": cause,
        "rank": member.rank if member else None,
        "host": member.host if member else None,
        "epoch": state.epoch,
        "round": state.round,
        "seconds_lost": seconds_lost,
    }


def note_restart(state: Snapshot, launcher: Launcher | None) -> None:
    """Count it among the failures if the launcher had to start the job again."""
    if launcher and launcher.lost_since:
        lost = max(0.0, time.time() - launcher.lost_since)
        state.history["failures"].append(failure("restarted", None, state, lost))


def possible(run: "Run", problem: Exception) -> bool:
    """Return whether the run can go on after an exception."""
    return isinstance(problem, ReplicaError) or run.world.is_loss(problem)


def recover(run: "Run", problem: Exception) -> None:
    """Bring the run to where it can go on, on every rank. Raises MpinnError where that cannot be."""
    if isinstance(problem, ReplicaError):
        go_back_to_a_snapshot(run, problem)
    else:
        go_on_without_the_lost(run)


def go_on_without_the_lost(run: "Run") -> None:
    """Go on with the ranks that are left, from the last round that is done. Raises MpinnError: too few.

    All ranks have done the same rounds; one may have evaluated an epoch that another has not.
    """
    noticed = perf_counter()
    state, before = run.snapshot, run.members
    epoch, round_ = min(regroup(run))
    if state.epoch > epoch:
        row = run.epochs.pop()
        state.history["partial"] = {key: row[key] for key in ("train_seconds", "phases")}
    elif run.rounds_since is not None:
        nothing = np.zeros((1, len(results.PHASES)))  # the lost rank's phases are lost
        spent = {"train_seconds": perf_counter() - run.rounds_since, "phases": results.spread(nothing)}
        state.history["partial"] = results.add_parts(state.history["partial"], spent)
    state.epoch, state.round = epoch, round_
    run.members = run.world.members
    run.screen.end_epoch()
    run.screen.quiet = run.config.quiet or not run.world.root
    for member in before:
        if member not in run.members:
            state.history["failures"].append(failure("lost", member, state, perf_counter() - noticed))
            run.screen.say(
                f"rank {member.rank} on {member.host} was lost; {counted(run.world.size, 'rank')} go on from epoch "
                f"{epoch}, round {round_}"
            )
    if run.world.size < run.config.min_ranks:
        run.save()
        raise everywhere(
            f"{counted(run.world.size, 'rank')} left, fewer than --min-ranks {run.config.min_ranks}; "
            "--resume goes on with more, where snapshots are saved"
        )


def regroup(run: "Run") -> list[tuple[int, int]]:
    """Join the ranks that are left; return the epoch and round to which each of them has come."""
    while True:
        try:
            run.world.shrink()
            run.team.regroup()
            if run.watch:
                run.watch.join()
            return run.world.comm.allgather((run.snapshot.epoch, run.snapshot.round))
        except Exception as error:
            if not run.world.is_loss(error):  # else one more was lost meanwhile
                raise


def go_back_to_a_snapshot(run: "Run", error: ReplicaError) -> None:
    """Go on from the last snapshot, because ranks have other weights than most. Raises MpinnError without one."""
    state = run.snapshot
    said = f"{error}: other master weights than most ranks at epoch {state.epoch}, round {state.round}"
    saved = run.world.on_root(lambda: checkpoint.load(run.store.directory) if run.store else None)
    if saved is None or not earlier(saved, state):
        raise everywhere(f"{said}: faulty memory? With --checkpoint DIR the run would go back to its last snapshot")
    lost = run.seconds() - saved.history["seconds"]
    failures = [*state.history["failures"], *(failure("other weights", odd, state, lost) for odd in error.odd)]
    run.team.go_back(saved.weights, saved.velocity, momentum_of(saved))
    history = {**saved.history, "failures": failures, "seconds": state.history["seconds"]}
    run.snapshot = dataclasses.replace(saved, weights=run.team.master, velocity=run.team.velocity, history=history)
    run.screen.end_epoch()
    run.screen.say(f"{said}; back to epoch {saved.epoch}, round {saved.round}")


def earlier(saved: Snapshot, state: Snapshot) -> bool:
    """Return whether a snapshot is of this run, or of one that is the same: its directory may have others."""
    same = (saved.settings, saved.data) == (state.settings, state.data)
    return same and (saved.epoch, saved.round) <= (state.epoch, state.round)


def momentum_of(state: Snapshot) -> float:
    """Return the block momentum to go on with: that of the settings, or what the last divergence left of it."""
    answers = state.history["divergences"]
    return answers[-1]["block_momentum"] if answers else state.settings["block_momentum"] or 0.0


def divergence(settings: Config, epoch: int, round_: int, seen: str) -> MpinnError:
    """Return the error for a run that diverged; the round counts from 1."""
    cure = "--learning-rate" if settings.merge == "mean" else "--block-momentum, --worker-batch or --learning-rate"
    return everywhere(f"training diverged at epoch {epoch}, round {round_}: {seen}; lower {cure}")


def answer_divergence(run: "Run", round_: int, seen: str) -> None:
    """Go back to the last good master weights, or from there to the first, with less momentum.

    Raises MpinnError where that is no way out. The seconds since then count for the epoch that is gone back to.
    """
    state, momentum = run.snapshot, momentum_of(run.snapshot)
    divergences = state.history["divergences"]
    if state.good is None or momentum == 0:
        raise divergence(run.config, state.epoch, round_, seen)
    run.world.agree()  # no rank reads any more what the others will write; all go back, or none
    if divergences and divergences[-1]["back_to_epoch"] == state.good_epoch:  # it was not as good as it looked
        state.good[:], state.good_epoch = state.network.initial_weights(run.config.seed), 1
    while run.epochs and run.epochs[-1]["epoch"] >= state.good_epoch:
        row = run.epochs.pop()
        spent = {key: row[key] for key in ("train_seconds", "phases")}
        state.history["partial"] = results.add_parts(state.history["partial"], spent)
    lower = law.lower(momentum, run.schedule.workers, run.schedule.worker_batch)
    divergences.append(
        {
            "epoch": state.epoch,
            "round": round_,
            "seen": seen,
            "back_to_epoch": state.good_epoch,
            "block_momentum": lower,
        }
    )
    run.screen.end_epoch()
    run.screen.say(
        f"diverged at epoch {state.epoch}, round {round_} ({seen}): back to the start of epoch {state.good_epoch}, "
        f"from there on with block momentum {lower:.4g}"
    )
    state.epoch, state.round = state.good_epoch, 0
    run.team.go_back(state.good, None, lower)


def collapsed(state: Snapshot, accuracy: float) -> bool:
    """Return whether an accuracy on the training set is less than half of the best so far, and momentum to blame."""
    earlier = [row["train_accuracy"] for row in state.history["epochs"] if row["train_accuracy"] is not None]
    return momentum_of(state) > 0 and accuracy < max(earlier, default=0) / 2
