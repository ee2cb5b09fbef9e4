"""The result: when a target was reached."""

from typing import Any

import pytest

from mpinn import config
from mpinn.config import Options, Settings
from mpinn.training import results


def settings(**given: Any) -> Settings:
    return config.resolve(Options(**given), 100, 784, 10, 60000, 1)


def row(epoch: int, train: float | None, test: float | None) -> dict[str, Any]:
    return {"epoch": epoch, "train_accuracy": train, "test_accuracy": test, "train_seconds": 2.0}


@pytest.mark.parametrize(
    "chosen, accuracy, epochs", [("train", 90, 2), ("test", 90, 3), ("train", 95, 3), ("test", 95, None)]
)
def test_a_target_is_reached_at_its_first_epoch(chosen: str, accuracy: float, epochs: int | None) -> None:
    rows = [row(1, 80, 80), row(2, 90, None), row(3, 96, 94)]
    said = results.target_of(settings(target_set=chosen, target_accuracy=float(accuracy)), rows)
    assert said == {"set": chosen, "accuracy": accuracy, "epochs": epochs, "seconds": epochs and 2.0 * epochs}


def test_no_target_is_null() -> None:
    assert results.target_of(settings(), [row(1, 99, 99)]) is None
