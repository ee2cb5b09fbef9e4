"""Where the time of ranks goes: the phases of a round, in seconds, what those of an epoch come to, and efficiencies.

The efficiencies are those of the POP project (Wagner et al. 2017, arXiv:1710.04105; pop-coe.eu), in which the useful
work of a rank is what it learns.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

PHASES = ("think", "train", "merge", "wait")


class RoundMerged(NamedTuple):
    """An event: the round's workers have learned and handed their steps over, and the master has moved."""

    epoch: int  # from 1
    round: int  # from 1
    settled: bool  # whether no merge is left under way: a run can go on from here
    clipped: int  # workers whose steps were cut
    loss: int  # of their exemplars, in `losses.UNIT`
    think: float  # seconds of this rank
    train: float
    waited: float  # in collectives


def spread(seconds: np.ndarray) -> dict[str, float]:
    """Return what ranks took, (ranks,) seconds, as {min, mean, max}."""
    return {"min": float(seconds.min()), "mean": float(seconds.mean()), "max": float(seconds.max())}


def part(seconds: float, phases: np.ndarray, clipped: int) -> dict[str, Any]:
    """Return a stretch of an epoch's rounds, which took so many seconds, as a result shows it.

    phases (ranks, len(PHASES)) seconds: {train_seconds, phases: {phase: {min, mean, max} over the ranks}, learn: {min,
    mean, max} of thinking and training together, clipped}. clipped: worker batches whose steps the merge cut.
    """
    return {
        "train_seconds": seconds,
        "phases": {name: spread(column) for name, column in zip(PHASES, phases.T, strict=True)},
        "learn": spread(phases[:, :2].sum(axis=1)),
        "clipped": clipped,
    }


def part_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the part that an epoch's row in a result holds."""
    return {key: row[key] for key in ("train_seconds", "phases", "learn", "clipped")}


def add(earlier: dict[str, Any] | None, later: dict[str, Any]) -> dict[str, Any]:
    """Return two parts of one epoch as one: an interruption lay between them."""
    if earlier is None:
        return later
    return {
        "train_seconds": earlier["train_seconds"] + later["train_seconds"],
        "clipped": earlier["clipped"] + later["clipped"],
        "phases": {name: both(earlier["phases"][name], spent) for name, spent in later["phases"].items()},
        "learn": earlier["learn"] and both(earlier["learn"], later["learn"]),
    }


def both(earlier: dict[str, float], later: dict[str, float]) -> dict[str, float]:
    """Return two spreads as that of both stretches."""
    return {key: earlier[key] + value for key, value in later.items()}


class Efficiency(NamedTuple):
    """Which share of the time of its rounds a rank learns, and why not more: `parallel` is the three others' product.

    `balance` below 1: some ranks have more to learn than others. `serialisation` below 1: each waits for another in
    turn. `transfer` below 1: merging takes time, or rounds were done again after a loss.
    """

    parallel: float
    balance: float  # what ranks learn on average / what the one learns that learns longest
    serialisation: float  # that one / learning and waiting
    transfer: float  # learning and waiting / all


def efficiency(parts: Iterable[dict[str, Any]]) -> Efficiency | None:
    """Return the efficiencies of stretches of epochs; None where nothing was learned, or nothing noted of it."""
    known = [one for one in parts if one["phases"] and one["learn"]]
    total = sum(one["train_seconds"] for one in known)
    mean, longest = (sum(one["learn"][key] for one in known) for key in ("mean", "max"))
    if not min(total, mean) > 0:
        return None
    apart = max(longest, mean + sum(one["phases"]["wait"]["mean"] for one in known))  # some wait before the rounds
    return Efficiency(mean / total, mean / longest, longest / apart, apart / total)
