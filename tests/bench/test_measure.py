"""What a run comes to: of results made by hand, whose figures are known."""

from typing import Any

import pytest

from bench.harness import measure


def row(epoch: int, seconds: float, evaluate: float = 1.0, **accuracies: float | None) -> dict[str, Any]:
    """Return an epoch's row; a tenth of its seconds is a merge, and one of them was waited for."""
    phases = {"think": 0.4 * seconds, "train": 0.5 * seconds - 1, "merge": 0.1 * seconds, "wait": 1.0}
    return {
        "epoch": epoch,
        "train_seconds": seconds,
        "evaluate_seconds": evaluate,
        "phases": {name: {"min": 0.0, "mean": mean, "max": 2 * mean} for name, mean in phases.items()},
        "learn": {"min": 0.0, "mean": 0.9 * seconds - 1, "max": 0.9 * seconds},
        "train_accuracy": None,
        "test_accuracy": None,
        **accuracies,
    }


def result(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "epochs": list(rows),
        "environment": {"ranks": 4, "oversubscribed": False},
        "data": {"train": 6000},
        "rounds_per_epoch": 10,
        "start": {"python": 0.5},
        "memory": {"pss_mib_mean": 30.0},
        "total_seconds": 600.0,
    }


EPOCHS = result(row(1, 100, 7), row(2, 10, 3), row(3, 20, 2), row(4, 60, 1))


def test_the_first_epochs_do_not_count_for_speed_and_one_slow_epoch_does_not_either() -> None:
    found = measure.of_training(EPOCHS, 1)
    metrics = found["metrics"]
    assert metrics["epoch_seconds"] == 20 and metrics["exemplars_per_second"] == 300
    assert metrics["round_milliseconds"] == 2000 and metrics["exemplar_microseconds"] == pytest.approx(20 / 6e-3)
    assert found["seconds"] == 90 and found["series"]["train_seconds"] == [100, 10, 20, 60]
    assert metrics["evaluate_seconds"] == 2.5
    assert metrics["start_seconds"] == 600 - 190 - 13 and metrics["start_python_seconds"] == 0.5
    assert metrics["memory_mib"] == 30
    shares = [metrics[f"{name}_percent"] for name in ("think", "train", "merge", "wait")]
    assert shares == pytest.approx([40, 100 * 42 / 90, 10, 100 * 3 / 90])


def test_efficiencies_are_of_the_epochs_that_count() -> None:
    metrics = measure.of_training(EPOCHS, 1)["metrics"]
    found = [metrics[f"{name}_efficiency"] for name in ("parallel", "balance", "serialisation", "transfer")]
    assert found == pytest.approx([78 / 90, 78 / 81, 1, 0.9])
    assert metrics["learned_microseconds"] == pytest.approx(1e6 * 4 * 78 / 3 / 6000)


@pytest.mark.parametrize("about", [{"ranks": 4, "oversubscribed": True}, {}])
def test_where_ranks_share_cores_or_may_there_are_no_efficiencies(about: dict[str, Any]) -> None:
    metrics = measure.of_training(EPOCHS | {"environment": about}, 1)["metrics"]
    assert not any("efficiency" in name or name.startswith("learned") for name in metrics)


def test_without_a_warm_up_every_epoch_counts() -> None:
    found = measure.of_training(EPOCHS, 0)
    assert found["metrics"]["epoch_seconds"] == 40 and found["seconds"] == 190
    assert found["metrics"]["wait_percent"] == pytest.approx(100 * 4 / 190)


def test_every_metric_has_its_unit() -> None:
    found = measure.of_training(result(row(1, 1, train_accuracy=95.0), row(2, 1, train_accuracy=99.0)), 1)
    assert found["units"].keys() == found["metrics"].keys()
    units = {"epoch_seconds": "s", "round_milliseconds": "ms", "exemplar_microseconds": "us", "memory_mib": "MiB"}
    units |= {"exemplars_per_second": "1/s", "train_accuracy": "%", "wait_percent": "%", "start_python_seconds": "s"}
    units |= {"train_90_epochs": "epochs", "train_99_seconds": "s"}
    assert {name: found["units"][name] for name in units} == units


def test_time_to_accuracy_leaves_out_no_epoch_and_no_level_reached_exactly() -> None:
    rows = row(1, 100, test_accuracy=90.0), row(2, 10), row(3, 20, test_accuracy=94.9), row(4, 60, test_accuracy=97.0)
    found = measure.of_training(result(*rows), 1)["metrics"]
    reached = {name: value for name, value in found.items() if name.startswith("test_9")}
    assert reached == {
        "test_90_epochs": 1,
        "test_90_seconds": 100,
        "test_95_epochs": 4,
        "test_95_seconds": 190,
        "test_97_epochs": 4,
        "test_97_seconds": 190,
    }


def test_the_power_of_hosts_is_added_where_each_is_measured() -> None:
    assert measure.power([{"joules": 30.0, "seconds": 10.0}, {"joules": 50.0, "seconds": 10.0}]) == 8
    for nothing in (None, 0.0):  # no meter, or one that stands still
        assert measure.power([{"joules": 30.0, "seconds": 10.0}, {"joules": nothing, "seconds": 10.0}]) is None
