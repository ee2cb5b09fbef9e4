"""The seconds of phases, over ranks and over parts of an epoch."""

import numpy as np

from mpinn.parallel import phases


def test_spread_is_over_ranks() -> None:
    spread = phases.part(7.0, np.array([[1.0, 2, 3, 4], [3.0, 2, 1, 0]]), 0)["phases"]
    assert spread["think"] == {"min": 1, "mean": 2, "max": 3}
    assert spread["wait"] == {"min": 0, "mean": 2, "max": 4}


def test_parts_of_an_epoch_are_added() -> None:
    part = phases.part(1.0, np.ones((2, 4)), 3)
    whole = phases.add(phases.add(None, part), part)
    assert whole["train_seconds"] == 2 and whole["phases"]["merge"] == {"min": 2, "mean": 2, "max": 2}
    assert phases.part_of({"epoch": 1, **whole, "evaluate_seconds": 3.0}) == whole
