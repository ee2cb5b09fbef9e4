"""Where the time of ranks goes: the phases of a round, in seconds, and what those of an epoch come to."""

from typing import Any, NamedTuple

import numpy as np

PHASES = ("think", "train", "merge", "wait")


class RoundLearned(NamedTuple):
    """An event: this rank's workers have learned their batches of a round."""

    epoch: int  # from 1
    round: int  # from 1
    think: float  # seconds of this rank
    train: float


class RoundMerged(NamedTuple):
    """An event: the round's workers have handed their steps over, and the master has moved."""

    epoch: int
    round: int
    settled: bool  # whether no merge is left under way: a run can go on from here
    clipped: int  # workers whose steps were cut
    waited: float  # seconds that this rank was in collectives


def part(seconds: float, phases: np.ndarray, clipped: int) -> dict[str, Any]:
    """Return a stretch of an epoch's rounds, which took so many seconds, as a result shows it.

    phases (ranks, len(PHASES)) seconds: {train_seconds, phases: {phase: {min, mean, max} over the ranks}, clipped}.
    clipped: worker batches whose steps the merge cut.
    """
    spread = {
        name: {"min": float(column.min()), "mean": float(column.mean()), "max": float(column.max())}
        for name, column in zip(PHASES, phases.T, strict=True)
    }
    return {"train_seconds": seconds, "phases": spread, "clipped": clipped}


def part_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the part that an epoch's row in a result holds."""
    return {key: row[key] for key in ("train_seconds", "phases", "clipped")}


def add(earlier: dict[str, Any] | None, later: dict[str, Any]) -> dict[str, Any]:
    """Return two parts of one epoch as one: an interruption lay between them."""
    if earlier is None:
        return later
    return {
        "train_seconds": earlier["train_seconds"] + later["train_seconds"],
        "clipped": earlier["clipped"] + later["clipped"],
        "phases": {
            name: {key: earlier["phases"][name][key] + value for key, value in spread.items()}
            for name, spread in later["phases"].items()
        },
    }
