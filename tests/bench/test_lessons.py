"""The measuring programs: each one really runs, small, and its own checks pass."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.programs import network, same
from bench.programs.lessons.gradients import GRADIENTS
from bench.programs.program import NotHereError
from bench.publish import verify
from mpinn.merging.optimizers import OPTIMIZERS
from tests.command.commands import errors, mpirun, run


def measured(folder: Path, module: str, *options: str, ranks: int = 0) -> dict[str, Any]:
    """Return what a program left: every metric has a unit, every check has passed, series come to their figures."""
    path = folder / "result.json"
    ran = run([*mpirun(ranks), sys.executable, "-m", f"bench.programs.{module}", *options, "--result", str(path)])
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    assert set(found["metrics"]) == set(found["units"]) and found["seconds"] > 0
    assert found["checks"] and all(check["passed"] for check in found["checks"]), found["checks"]
    assert list(verify.from_series(found)) == []
    return found


def test_the_native_kernel_beside_the_reference(tmp_path: Path) -> None:
    found = measured(tmp_path, "kernel_speed", "--turns", "2")
    assert found["metrics"]["reference_by_native"] > 5
    assert found["environment"]["kernel_id"].startswith("native-")


def test_what_other_ways_of_learning_cost(tmp_path: Path) -> None:
    metrics = measured(tmp_path, "learning_speed", "--turns", "2")["metrics"]
    assert 0.2 < metrics["gradient_by_steps"] < metrics["momentum_by_steps"] < 10
    assert all(metrics[f"{name}_step_microseconds"] > 0 for name in OPTIMIZERS)


@pytest.mark.parametrize("ranks", [1, 3])
def test_communication(tmp_path: Path, ranks: int) -> None:
    metrics = measured(tmp_path, "communication", "--calls", "5", ranks=ranks)["metrics"]
    for name in ("bcast_float32", "allreduce_int16", "iallreduce_int16", "allreduce_float64", "scatterv_epoch_int32"):
        assert metrics[f"{name}_microseconds"] > 0
    if ranks > 1:
        assert min(metrics[f"allreduce_float64_{count}_microseconds"] for count in (64, 262144)) > 0


def test_two_runs_of_the_same_code(tmp_path: Path) -> None:
    metrics = measured(tmp_path, "same", "--comparisons", "2", ranks=2)["metrics"]
    assert metrics["comparisons"] == 2 and metrics["differ_one_after_another_percent"] in (0, 50, 100)
    ran = run([sys.executable, "-m", "bench.programs.same", "--repeats", "4"])
    assert errors(ran.stderr) == ["mpinn: error: --repeats 4: runs of fewer than 5 can never differ"]


def test_runs_of_the_same_code_seldom_differ_in_turns_and_do_where_speed_wanders() -> None:
    spent = np.random.default_rng(1).uniform(0.9, 1.1, (400, 12, 3))
    turns, row = (range(0, 12, 2), range(1, 12, 2)), (range(6), range(6, 12))
    assert 0 < same.share(spent, *turns) < 7 and 0 < same.share(spent, *row) < 7
    wandering = spent * np.linspace(1, 2, 12)[:, None]
    assert same.share(wandering, *row) == 100 and same.share(wandering, *turns) < 7
    slower = spent.copy()
    slower[:, 1::2, 2] *= 1.3  # one point of B
    assert same.share(slower, *turns) == 100


def test_merges_between_hosts_need_several() -> None:
    ran = run([*mpirun(2), sys.executable, "-m", "bench.programs.network"])
    assert ran.returncode == NotHereError.status
    assert errors(ran.stderr) == ["mpinn: error: all ranks are on one host: give --hostfile with several"]


def test_the_interface_that_sent_most_is_counted() -> None:
    before = {"eth0": 1000, "docker0": 5, "gone": 7}
    assert network.most_sent(before, {"eth0": 1500, "docker0": 900, "new": 40}) == 895
    assert network.most_sent({}, {}) == 0
    assert "lo" not in network.sent() and all(count >= 0 for count in network.sent().values())


def test_objects_are_slower_than_arrays(tmp_path: Path) -> None:
    assert measured(tmp_path, "lessons.objects", "--batches", "1")["metrics"]["objects_by_arrays"] > 1


def test_saving_every_batch_is_slower_than_at_the_end(tmp_path: Path) -> None:
    metrics = measured(tmp_path, "lessons.saving", "--exemplars", "1000", "--turns", "1")["metrics"]
    assert metrics["every_batch_by_at_end"] > 1


def test_text_is_larger_than_binary(tmp_path: Path) -> None:
    metrics = measured(tmp_path, "lessons.formats", "--turns", "1")["metrics"]
    assert metrics["binary_bytes"] < metrics["json_bytes"] < metrics["xml_bytes"]


def test_layouts_compute_the_same(tmp_path: Path) -> None:
    assert len(measured(tmp_path, "lessons.layout", "--turns", "2", "--steps", "5")["metrics"]) == 6


@pytest.mark.parametrize("ranks", [1, 4])
def test_messages_of_all_kinds_teach_the_same(tmp_path: Path, ranks: int) -> None:
    metrics = measured(tmp_path, "lessons.messages", "--exemplars", "1200", ranks=ranks)["metrics"]
    assert metrics["pickled_epoch_seconds"] > 0 and metrics["allreduce_epoch_seconds"] > 0


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradients(tmp_path: Path, gradient: str) -> None:
    options = ("--gradient", gradient, "--workers", "2", "--exemplars", "3000", "--epochs", "2")
    found = measured(tmp_path, "lessons.gradients", *options)
    assert len(found["series"]["train_accuracy"]) == 2
    if gradient != "updated-weights":  # of which the check asserts that it is another
        assert found["metrics"]["train_accuracy"] > 30


def test_a_program_asked_wrongly_says_so_in_one_line() -> None:
    ran = run([sys.executable, "-m", "bench.programs.lessons.gradients", "--gradient", "left"])
    assert ran.returncode == 2 and len(errors(ran.stderr)) == 1


def test_without_a_file_a_program_prints_its_figures() -> None:
    ran = run([sys.executable, "-m", "bench.programs.lessons.layout", "--turns", "1", "--steps", "1"])
    assert ran.returncode == 0 and "float32_packed_microseconds" in ran.stdout
