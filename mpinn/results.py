"""The result file: what was run, where, and what came of it. docs/result.md explains every field."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mpinn.checkpoint import write_atomically

SCHEMA_VERSION = 1
PHASES = ("think", "train", "merge", "wait")


def without_nan(value: Any) -> Any:
    """Return the value with every float that JSON cannot say (NaN, infinity) as None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write(path: Path, result: dict[str, Any]) -> None:
    """Write the result as JSON, atomically. Raises MpinnError."""
    write_atomically(path, (json.dumps(without_nan(result), indent=1, allow_nan=False) + "\n").encode())


def spread(phases: np.ndarray) -> dict[str, dict[str, float]]:
    """Return (ranks, 4) seconds as {phase: {min, mean, max}} over the ranks."""
    return {
        name: {"min": float(column.min()), "mean": float(column.mean()), "max": float(column.max())}
        for name, column in zip(PHASES, phases.T, strict=True)
    }


def add_parts(earlier: dict[str, Any] | None, part: dict[str, Any]) -> dict[str, Any]:
    """Return two parts of one epoch, {train_seconds, phases}, as one: a snapshot or a resume lay between them."""
    if earlier is None:
        return part
    return {
        "train_seconds": earlier["train_seconds"] + part["train_seconds"],
        "phases": {
            name: {key: earlier["phases"][name][key] + value for key, value in spread.items()}
            for name, spread in part["phases"].items()
        },
    }


def target_of(config: dict[str, Any], epochs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return when the target was reached: epochs and seconds of training up to there, None where it was not."""
    if config["target_accuracy"] is None:
        return None
    seconds = 0.0
    reached: dict[str, Any] = {"epochs": None, "seconds": None}
    for row in epochs:
        seconds += row["train_seconds"]
        accuracy = row[f"{config['target_set']}_accuracy"]
        if accuracy is not None and accuracy >= config["target_accuracy"]:
            reached = {"epochs": row["epoch"], "seconds": seconds}
            break
    return {"set": config["target_set"], "accuracy": config["target_accuracy"], **reached}
