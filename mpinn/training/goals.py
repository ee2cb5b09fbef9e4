"""When a run is at its end: its epochs are done, or the accuracy that it trains for is reached; and what came of it."""

import math
from typing import Any

from mpinn.config import Settings
from mpinn.merging.optimizers import OPTIMIZERS
from mpinn.system.words import counted
from mpinn.training.state import RunState

STILL = 0.999  # of the loss of the epoch before: what has not become less
MISSED = 4  # exit status of a run with one of these outcomes
MISSING = ("target-missed", "dead")


def target_of(settings: Settings, epochs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return when the target was reached: epochs and seconds of training up to there, None where it was not."""
    if settings.target_accuracy is None:
        return None
    seconds = 0.0
    reached: dict[str, Any] = {"epochs": None, "seconds": None}
    for row in epochs:
        seconds += row["train_seconds"]
        accuracy = row[f"{settings.target_set}_accuracy"]
        if accuracy is not None and accuracy >= settings.target_accuracy:
            reached = {"epochs": row["epoch"], "seconds": seconds}
            break
    return {"set": settings.target_set, "accuracy": settings.target_accuracy, **reached}


def target_reached(settings: Settings, state: RunState) -> bool:
    target = target_of(settings, state.epochs)
    return target is not None and target["epochs"] is not None


def outcome(settings: Settings, state: RunState, commonest: float) -> str:
    """Return the status of a run that nothing has stopped; commonest: as for `dead`."""
    if settings.target_accuracy is not None:
        return "target" if target_reached(settings, state) else "target-missed"
    return "dead" if dead(state.epochs, commonest) else "completed"


def dead(epochs: list[dict[str, Any]], commonest: float) -> str:
    """Return what shows, after epochs as they stand in the result, that nothing is learned; else an empty text.

    commonest: percent of the training set that are of its commonest class.
    """
    last, earlier = epochs[-1] if epochs else {}, epochs[-2] if len(epochs) > 1 else {}
    if last.get("classes_named") == 1:
        return "all exemplars are given the same class"
    if last.get("saturated_percent") == 100:
        return "all units of a hidden layer are saturated"
    accuracy = last.get("train_accuracy")
    if accuracy is None or accuracy == 100 or not earlier:
        return ""
    if last["weights_sha256"] == earlier["weights_sha256"]:
        return "no weight has changed in this epoch"
    if accuracy <= commonest and (last["loss"] or 0.0) > STILL * (earlier["loss"] or math.inf):
        return f"the loss stands still, and the accuracy is that of naming the commonest class ({commonest:.2f}%)"
    return ""


def cure(settings: Settings) -> str:
    """Return what to change where training is dead."""
    rate = f"--learning-rate (now {settings.learning_rate:g})"
    if settings.rule in OPTIMIZERS and not settings.gradients:
        rate += f" or --merge-rate ({settings.master_rate:g})"
    return f"lower {rate}; where accuracy was never better and the rate is small, raise it"


def finished(settings: Settings, state: RunState) -> bool:
    return state.epoch > settings.epochs or target_reached(settings, state)


def nothing_left(settings: Settings, state: RunState) -> str:
    """Return why a run has nothing to do, and what would change that, or an empty string."""
    done = f"nothing is left to do: {counted(len(state.epochs), 'epoch')} done"
    if target_reached(settings, state):
        return f"{done}, and the target reached; take a larger --target-accuracy to go on"
    if finished(settings, state):
        return f"{done}; take a larger --epochs to go on"
    return ""
