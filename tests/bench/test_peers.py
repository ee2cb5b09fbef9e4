"""Peers learn the same as the reference kernel, on a few hundred exemplars; one that is not installed says so."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness.measure import program_words
from bench.harness.suite import load, points
from bench.programs.peers.task import (
    KINK,
    NETWORK,
    SETTINGS,
    TOLERANCE,
    Task,
    digits,
    epoch,
    reference_weights,
    same_as_reference,
)
from bench.publish import verify
from mpinn import kernels
from mpinn.config import LEARNING_RATE
from mpinn.hosts.library import DETECTED, find
from mpinn.parallel.schedule import epoch_order

INSTALLED = {
    "torch_eager": importlib.util.find_spec("torch") is not None,
    "torch_optimizers": importlib.util.find_spec("torch") is not None,
    "sklearn_mlp": importlib.util.find_spec("sklearn") is not None,
    "go": shutil.which("go") is not None,
}


def run(name: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", f"bench.programs.peers.{name}", *options]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment or None, check=False)


def measured(name: str, folder: Path, *options: str) -> dict[str, Any] | None:
    """Return what a peer wrote; where it is not installed, assert that it says so, and return None."""
    path = folder / "result.json"
    ran = run(name, *options, "--result", str(path))
    if not INSTALLED[name]:
        assert_not_here(ran)
        assert not path.exists()
        return None
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(path.read_text())
    assert result["checks"] and all(check["passed"] for check in result["checks"]), result["checks"]
    assert result["metrics"].keys() == result["units"].keys()
    assert result["seconds"] > 0
    return result


def assert_not_here(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 3
    (line,) = ran.stderr.splitlines()
    assert line.startswith("mpinn: error: ")
    assert "install" in line


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("torch_eager", ["--exemplars", "200", "--in-place"]),
        ("torch_eager", ["--exemplars", "150", "--ranks", "2"]),  # the second rank's worker batch is short
        ("torch_optimizers", ["--exemplars", "1000", "--optimizer", "nadam"]),
        ("torch_optimizers", ["--exemplars", "700", "--layers", "784", "30", "20", "10"]),
        ("go", ["--exemplars", "400"]),
        ("go", ["--exemplars", "200", "--dense", "--workers", "2"]),
        ("go", ["--exemplars", "450", "--workers", "8", "--seed", "3", "--epochs", "2"]),  # workers without exemplars
        ("sklearn_mlp", ["--exemplars", "400"]),
    ],
)
def test_a_peer_learns_the_same(name: str, options: list[str], tmp_path: Path) -> None:
    result = measured(name, tmp_path, *options)
    if result:
        exemplars = int(options[1])
        epochs = int(options[-1]) if "--epochs" in options else 1
        metrics = result["metrics"]
        assert metrics["epoch_seconds"] == pytest.approx(0.06 * metrics["exemplar_microseconds"])
        if epochs == 1:
            assert result["seconds"] == pytest.approx(1e-6 * exemplars * metrics["exemplar_microseconds"])
        if name in ("torch_eager", "go"):
            several = [int(options[i + 1]) for i, word in enumerate(options) if word in ("--ranks", "--workers")]
            assert metrics["ranks" if name == "torch_eager" else "workers"] == (several or [1])[0]
        assert metrics.keys() == verify.by_series(result).keys() and not list(verify.from_series(result))
        assert "train_accuracy" not in metrics  # of a part of the training set it would be compared with those of all


def test_an_epoch_of_go_reads_as_an_epoch_of_mpinn(tmp_path: Path) -> None:
    result = measured("go", tmp_path, "--workers", "2")
    if result:
        path = tmp_path / "ours.json"
        train = [
            sys.executable,
            "-m",
            "mpinn.train",
            "--quiet",
            "--workers",
            "2",
            "--epochs",
            "1",
            "--result",
            str(path),
        ]
        subprocess.run(train, check=True)
        (ours,) = json.loads(path.read_text())["epochs"]
        for name in ("train_accuracy", "test_accuracy"):
            assert result["series"][name] == [pytest.approx(ours[name], abs=0.5)]
            assert result["metrics"][name] == result["series"][name][0]
        assert result["metrics"].keys() <= verify.by_series(result).keys() and not list(verify.from_series(result))
        assert result["metrics"]["train_90_epochs"] == 1
        assert result["metrics"]["train_90_seconds"] == result["series"]["train_seconds"][0]


def test_without_go_the_peer_says_what_to_install(tmp_path: Path) -> None:
    assert_not_here(run("go", "--result", str(tmp_path / "result.json"), PATH=str(tmp_path)))


@pytest.mark.parametrize(
    "options",
    [
        ["--exemplars", "60001"],
        ["--exemplars", "0"],
        ["--workers", "-1"],
        ["--seed", "-1"],
        ["--epochs", "x"],
    ],
)
def test_what_cannot_be_asked_is_refused(options: list[str], tmp_path: Path) -> None:
    ran = run("go", *options, "--result", str(tmp_path / "result.json"))
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("mpinn: error: ") and options[0] in line


@pytest.mark.parametrize("name", INSTALLED)
def test_help_needs_no_peer(name: str) -> None:
    said = run(name, "--help").stdout
    assert "--exemplars" in said and "default" in said


@pytest.mark.parametrize(
    ("places", "off", "passed"),
    [
        ([], 0.0, True),
        ([(0, 400, 7)], 0.9 * TOLERANCE, True),
        ([(0, 400, 7), (1, 7, 3)], 0.9 * KINK, True),  # one hidden unit: what it adds up, and what it is added to
        ([(0, 400, 7)], 1.1 * KINK, False),
        ([(0, 400, 7), (0, 783, 8)], 1.1 * TOLERANCE, False),  # two
        ([(0, 784, 7), (1, 8, 0)], 1.1 * TOLERANCE, False),
        ([(1, 100, 3)], 1.1 * TOLERANCE, False),  # an output unit's bias is no hidden unit's
        ([(0, 400, 7)], np.nan, False),
        ([(1, 100, 0)], np.nan, False),
    ],
)
def test_one_hidden_unit_may_be_across_the_kink(places: list[tuple[int, int, int]], off: float, passed: bool) -> None:
    task = Task(exemplars=20, epochs=1, workers=1, seed=0)
    weights = reference_weights(task).astype(np.float32)
    for layer, row, column in places:
        NETWORK.views(weights)[layer][row, column] += off
    check = same_as_reference(task, weights)
    assert check["passed"] is passed
    if passed:
        assert ("hidden unit 7" in check["detail"]) is (off > TOLERANCE)


def test_reference_weights_are_the_exact_mean_of_the_workers() -> None:
    """A short round of three workers, 100, 100 and 50 exemplars, learned by the kernel that mpinn takes here."""
    task = Task(exemplars=250, epochs=4, workers=3, seed=1)
    mnist = digits()
    learner = kernels.choose("auto", NETWORK, LEARNING_RATE, SETTINGS.l1, SETTINGS.l2).learner
    order = epoch_order(1, 1, 60000)[:250]
    mean = np.zeros(NETWORK.parameters)
    for exemplars in (order[:100], order[100:200], order[200:]):
        weights = NETWORK.initial_weights(1)
        learner.learn(weights, mnist.train_images, mnist.train_labels, exemplars, weights)
        mean += weights.astype(np.float64) * len(exemplars) / 250
    assert np.abs(reference_weights(task) - mean).max() < 1e-5
    assert np.abs(NETWORK.initial_weights(1) - mean).max() > 1e-2  # the bound above means something


def test_accuracy_of_weights_that_know_nothing() -> None:
    """All outputs alike: class 0 is answered, which is 5,923 of 60,000 and 980 of 10,000."""
    assert epoch(1.0, np.zeros(NETWORK.parameters, np.float32)) == (
        1.0,
        pytest.approx(100 * 5923 / 60000),
        pytest.approx(9.8),
    )


def test_the_suites_have_a_point_of_every_peer() -> None:
    found = points(load("peers", []), find(DETECTED))
    programs = {point.program for point in [*found, *points(load("learning", []), find(DETECTED))]}
    assert programs == {"train", *(f"peers.{name}" for name in INSTALLED)}
    assert {point.workers for point in found if point.program == "train"} == {1, 2, 4}
    for name, option in (("go", "workers"), ("torch_eager", "ranks")):
        for point in found:
            if point.program == f"peers.{name}":
                count = point.name.partition(f"{option}=")[2]
                assert f"--{option} {count}" in " ".join(program_words(point, 0, Path("result.json")))
