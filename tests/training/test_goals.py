"""When a run is at its end."""

import re
from typing import Any

import pytest

from mpinn import config
from mpinn.config import Options, Settings
from mpinn.training import goals
from mpinn.training.state import RunState


def settings(**given: Any) -> Settings:
    return config.resolve(Options(**given), 100, 784, 10, 60000, 1)


def row(epoch: int, train: float | None, test: float | None) -> dict[str, Any]:
    return {"epoch": epoch, "train_accuracy": train, "test_accuracy": test, "train_seconds": 2.0}


@pytest.mark.parametrize(
    "chosen, accuracy, epochs", [("train", 90, 2), ("test", 90, 3), ("train", 95, 3), ("test", 95, None)]
)
def test_a_target_is_reached_at_its_first_epoch(chosen: str, accuracy: float, epochs: int | None) -> None:
    rows = [row(1, 80, 80), row(2, 90, None), row(3, 96, 94)]
    said = goals.target_of(settings(target_set=chosen, target_accuracy=float(accuracy)), rows)
    assert said == {"set": chosen, "accuracy": accuracy, "epochs": epochs, "seconds": epochs and 2.0 * epochs}


def test_no_target_is_null() -> None:
    assert goals.target_of(settings(), [row(1, 99, 99)]) is None


@pytest.mark.parametrize("target, status", [(None, "completed"), (80.0, "target"), (99.0, "target-missed")])
def test_the_status_says_what_became_of_a_target(target: float | None, status: str) -> None:
    asked = settings(epochs=1, target_accuracy=target)
    state = RunState.beginning(asked)
    state.epochs = [row(1, 80, 80)]
    assert goals.outcome(asked, state, 11.2) == status


@pytest.mark.parametrize(
    "given, epochs, why",
    [
        ({"epochs": 3}, 2, ""),
        ({"epochs": 2}, 2, "nothing is left to do: 2 epochs done; take a larger --epochs"),
        ({"epochs": 9, "target_accuracy": 80.0}, 1, "1 epoch done, and the target reached; take a larger --target"),
        ({"epochs": 9, "target_accuracy": 99.0}, 1, ""),
    ],
)
def test_a_run_that_is_at_its_end_says_what_would_change_that(given: dict[str, Any], epochs: int, why: str) -> None:
    asked = settings(**given)
    state = RunState.beginning(asked)
    state.epoch, state.epochs = epochs + 1, [row(epoch, 80, 80) for epoch in range(1, epochs + 1)]
    said = goals.nothing_left(asked, state)
    assert goals.finished(asked, state) is bool(why) and why in said and bool(said) is bool(why)


A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ([], ""),
        ([(50.0, 10, A, 0, 1.0)], ""),
        ([(50.0, 10, A, 0, 1.0), (50.0, 10, B, 0, 1.0)], ""),
        ([(9.7, 1, A, 0, 1.0)], "same class"),
        ([(9.7, 1, A, 0, 1.0), (12.0, 2, B, 0, 0.9)], ""),
        ([(50.0, 10, A, 0, 1.0), (50.0, 10, A, 0, 1.0)], "no weight has changed"),
        ([(50.0, 10, A, 0, 1.0), (50.0, 10, A, 0, 1.0), (50.0, 10, B, 0, 1.0)], ""),
        ([(100.0, 10, A, 0, 1.0), (100.0, 10, A, 0, 1.0)], ""),  # nothing is left to learn
        ([(None, None, A, None, 1.0), (None, None, A, None, 1.0)], ""),  # not evaluated
        ([(50.0, 10, A, 100, 1.0)], "units of a hidden layer are saturated"),
        ([(50.0, 10, A, 99, 1.0)], ""),
        ([(11.2, 2, A, 0, 1.0)], ""),  # it may still fall
        ([(11.2, 2, A, 0, 1.0), (11.2, 2, B, 0, 0.9991)], "loss stands still, .* commonest class .11.20%"),
        ([(11.2, 2, A, 0, 1.0), (11.3, 2, B, 0, 1.0)], ""),  # better than naming one class
        ([(11.2, 2, A, 0, 1.0), (11.2, 2, B, 0, 0.998)], ""),
        ([(11.2, 2, A, 0, None), (11.2, 2, B, 0, 1.0)], ""),  # of a snapshot that did not know it
        ([(11.2, 2, A, 0, 1.0), (11.2, 2, B, 0, None)], ""),
    ],
)
def test_what_shows_that_nothing_is_learned(epochs: list[tuple[Any, ...]], said: str) -> None:
    keys = ("train_accuracy", "classes_named", "weights_sha256", "saturated_percent", "loss")
    found = goals.dead([dict(zip(keys, one, strict=True)) for one in epochs], 11.2)
    assert re.search(said, found) and bool(found) is bool(said)
