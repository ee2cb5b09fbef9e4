"""The seconds of phases, over ranks and over parts of an epoch."""

import numpy as np
import pytest

from mpinn.parallel import phases


def test_spread_is_over_ranks() -> None:
    spread = phases.part(7.0, np.array([[1.0, 2, 3, 4], [3.0, 2, 1, 0]]), 0)["phases"]
    assert spread["think"] == {"min": 1, "mean": 2, "max": 3}
    assert spread["wait"] == {"min": 0, "mean": 2, "max": 4}


def test_learning_is_spread_over_ranks_as_a_whole() -> None:
    learn = phases.part(7.0, np.array([[1.0, 2, 3, 4], [3.0, 1, 1, 0]]), 0)["learn"]
    assert learn == {"min": 3, "mean": 3.5, "max": 4}  # not 5, the longest thinking and the longest training


def test_parts_of_an_epoch_are_added() -> None:
    part = phases.part(1.0, np.ones((2, 4)), 3)
    whole = phases.add(phases.add(None, part), part)
    assert whole["train_seconds"] == 2 and whole["phases"]["merge"] == {"min": 2, "mean": 2, "max": 2}
    assert phases.part_of({"epoch": 1, **whole, "evaluate_seconds": 3.0}) == whole


def test_efficiency_of_ranks_of_which_one_has_more_to_do() -> None:
    # Two ranks learn 4 and 2 of 6 seconds; one waits for the other, and both merge.
    part = phases.part(6.0, np.array([[3.0, 1, 1.5, 0.5], [1.0, 1, 1.5, 2.5]]), 0)
    found = phases.efficiency([part, part])
    assert found is not None
    assert found == pytest.approx((3 / 6, 3 / 4, 4 / 4.5, 4.5 / 6))
    assert found.parallel == pytest.approx(found.balance * found.serialisation * found.transfer)


@pytest.mark.parametrize(
    ("row", "low"),
    [
        ([[5.0, 4, 1, 0], [1, 1, 1, 7]], "balance"),
        ([[2.0, 2, 1, 5], [2, 2, 1, 5]], "serialisation"),
        ([[2.0, 2, 6, 0], [2, 2, 6, 0]], "transfer"),
    ],
)
def test_efficiency_names_what_is_wrong(row: list[list[float]], low: str) -> None:
    found = phases.efficiency([phases.part(10.0, np.array(row), 0)])
    assert found is not None
    named = found._asdict()
    named.pop("parallel")
    assert min(named, key=named.__getitem__) == low and named[low] < 0.7
    assert all(value > 0.85 for name, value in named.items() if name != low)


def test_time_that_is_in_no_phase_is_lost_by_transfer() -> None:
    found = phases.efficiency([phases.part(8.0, np.array([[2.0, 2, 0, 0]]), 0)])  # rounds that were done again, say
    assert found == (0.5, 1, 1, 0.5)


def test_efficiency_is_not_known_of_nothing_or_of_parts_that_an_older_mpinn_saved() -> None:
    old = phases.part(8.0, np.array([[2.0, 2, 0, 0]]), 0) | {"learn": None}
    assert phases.efficiency([]) is None and phases.efficiency([old]) is None
    assert phases.efficiency([phases.part(0.0, np.zeros((2, 4)), 0)]) is None
