"""The result file: JSON that says no NaN, phases over ranks, and when a target was reached."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpinn.training import results


def test_nan_and_infinity_are_never_written(tmp_path: Path) -> None:
    results.write(tmp_path / "r.json", {"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": 1.5})
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text) == {"a": None, "b": [None, {"c": None}], "d": 1.5}
    assert "NaN" not in text and "Infinity" not in text


def test_spread_is_over_ranks() -> None:
    spread = results.spread(np.array([[1.0, 2, 3, 4], [3.0, 2, 1, 0]]))
    assert spread["think"] == {"min": 1, "mean": 2, "max": 3}
    assert spread["wait"] == {"min": 0, "mean": 2, "max": 4}


def test_parts_of_an_epoch_are_added() -> None:
    part = {"train_seconds": 1.0, "phases": results.spread(np.ones((2, 4)))}
    whole = results.add_parts(results.add_parts(None, part), part)
    assert whole["train_seconds"] == 2 and whole["phases"]["merge"] == {"min": 2, "mean": 2, "max": 2}


def row(epoch: int, train: float | None, test: float | None) -> dict[str, Any]:
    return {"epoch": epoch, "train_accuracy": train, "test_accuracy": test, "train_seconds": 2.0}


@pytest.mark.parametrize(
    "chosen, accuracy, epochs", [("train", 90, 2), ("test", 90, 3), ("train", 95, 3), ("test", 95, None)]
)
def test_a_target_is_reached_at_its_first_epoch(chosen: str, accuracy: float, epochs: int | None) -> None:
    rows = [row(1, 80, 80), row(2, 90, None), row(3, 96, 94)]
    said = results.target_of({"target_set": chosen, "target_accuracy": accuracy}, rows)
    assert said == {"set": chosen, "accuracy": accuracy, "epochs": epochs, "seconds": epochs and 2.0 * epochs}


def test_no_target_is_null() -> None:
    assert results.target_of({"target_set": "test", "target_accuracy": None}, [row(1, 99, 99)]) is None
