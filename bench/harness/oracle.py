"""The serial oracle: the same training, all workers on one rank, without mpirun and without faults.

What a parallel run learned must equal it bit for bit. The oracle's own kernel is held against the reference kernel.
"""

import functools
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import result_file
from bench.harness.result_file import Oracle
from bench.harness.suite import Point
from mpinn import config, datasets, kernels
from mpinn.config import WEIGHTS, Options, Settings
from mpinn.kernels.kernel import NUMERICS
from mpinn.parallel.schedule import epoch_order
from mpinn.system.errors import MpinnError
from mpinn.training import golden
from mpinn.training.goals import MISSED

KERNEL_BATCH = 100  # exemplars after which the kernel is compared: later, rounding errors have grown
KERNEL_TOLERANCE = 1e-5  # of a weight
ACCURACY_TOLERANCE = 1.0  # percentage points, between processors whose kernels differ
NOT_THE_ORACLES = ("target_accuracy", "target_set", "time_limit", "balance", "evaluate_every")


exemplars = functools.cache(datasets.load)


def epochs_of(point: Point) -> int:
    """Return how many epochs of a point are compared."""
    trained = point.options.get("epochs", Options().epochs)
    return min(trained, point.oracle_epochs or trained)


def place(directory: Path, point: Point, seed: int) -> Path:
    """Return where the oracle of a point is kept: one file for all points that must learn the same."""
    same = {key: value for key, value in point.options.items() if key in (*WEIGHTS, "data", "test_data", "kernel")}
    same |= {"workers": point.workers, "seed": seed}
    name = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:16]
    return directory / "oracle" / f"{name}.json"


def command(point: Point, seed: int, epochs: int, result: Path) -> list[str]:
    """Return the oracle's command line."""
    options = {key: value for key, value in point.options.items() if key not in NOT_THE_ORACLES}
    options |= {"workers": point.workers, "seed": seed, "epochs": epochs, "result": str(result)}
    return [sys.executable, "-m", "mpinn.train", "--quiet", *config.words(options)]


def kept(path: Path, epochs: int) -> dict[str, Any] | None:
    """Return the oracle's result where it is kept and has enough epochs."""
    found = result_file.load(path, Oracle)
    return found if found and found["status"] in ("completed", "dead") and len(found["epochs"]) >= epochs else None


def settings_of(point: Point, seed: int) -> Settings | None:
    """Return what the oracle works with; None where a measurement decides it, or it is not the embedded data's."""
    given: dict[str, Any] = {"workers": point.workers, "seed": seed}
    for key, value in point.options.items():
        if key in WEIGHTS:
            given[key] = tuple(value) if isinstance(value, list) else value
    options = Options(**given)
    if {"data", "test_data"} & set(point.options) or isinstance(options.worker_batch, str):
        return None
    data = exemplars()
    return config.resolve(options, options.worker_batch, data.pixels, data.classes, len(data.train_labels), 1)


def golden_one(point: Point, seed: int, epochs: int) -> dict[str, Any] | None:
    """Return the result of an oracle that every machine would come to, where it is known (`mpinn.training.golden`)."""
    settings = settings_of(point, seed) if point.options.get("kernel") != "reference" else None
    rows = golden.find(settings.determines_weights, exemplars().fingerprint) if settings else []
    if settings is None or len(rows) < epochs:
        return None
    return {
        "config": vars(settings),
        "environment": {"numerics": NUMERICS},
        "epochs": [{"epoch": number, **row._asdict()} for number, row in enumerate(rows, start=1)],
    }


def known(directory: Path, point: Point, seed: int, epochs: int) -> bool:
    """Return whether an oracle need not be run."""
    return kept(place(directory, point, seed), epochs) is not None or golden_one(point, seed, epochs) is not None


def ask(directory: Path, point: Point, seed: int, epochs: int) -> dict[str, Any]:
    """Return the result of the oracle of a point, with `kernel_error`; run it unless it is known. Raises MpinnError."""
    path = place(directory, point, seed)
    found = kept(path, epochs)
    if found is None and (known := golden_one(point, seed, epochs)):
        return known | {"kernel_error": kernel_error(known["config"])}
    if found is None:
        path.parent.mkdir(exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if key != "MPINN_FAULT"}
        line = command(point, seed, epochs, path)
        ran = subprocess.run(line, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if ran.returncode not in (0, MISSED):
            said = ran.stderr.strip().splitlines()
            raise MpinnError(f"{point.name}: the serial oracle failed: {said[-1] if said else ran.returncode}")
        found = result_file.load(path)
        if not found:
            raise MpinnError(f"{path}: the serial oracle left no result; the same command goes on from here")
        found["kernel_error"] = kernel_error(found["config"])
        path.write_text(json.dumps(found))
    return found


def kernel_error(settings: dict[str, Any]) -> float:
    """Return how far the kernel of a result's `config` is from the reference kernel after a worker batch."""
    about = config.as_settings(settings)
    digits = exemplars(about.data, about.test_data)
    network = about.network
    batch = epoch_order(about.seed, 1, len(digits.train_labels))[: min(about.worker_batch, KERNEL_BATCH)]
    learned = []
    for name in (about.kernel, "reference"):
        weights = network.initial_weights(about.seed)
        rates = (about.learning_rate, about.l1, about.l2)
        of_layers, momentum = about.layer_rates, about.worker_momentum
        learner = kernels.choose(name, network, *rates, layer_rates=of_layers, momentum=momentum).learner
        if about.gradients:  # with an optimizer's rate single exemplars' steps may be chaotic
            learner.gradient(weights.copy(), digits.train_images, digits.train_labels, batch, weights)
        else:
            learner.learn(weights, digits.train_images, digits.train_labels, batch, weights)
        learned.append(weights)
    return float(np.abs(learned[0] - learned[1]).max())


def faults(point: Point, result: dict[str, Any], oracle: dict[str, Any]) -> list[str]:
    """Return what is wrong with a result: weights or accuracies that the oracle does not read, or a wrong kernel."""
    found = []
    if oracle["kernel_error"] > KERNEL_TOLERANCE:
        found.append(
            f"the kernel's weights are {oracle['kernel_error']:.1e} from the reference's after one worker batch "
            f"(at most {KERNEL_TOLERANCE:g}): build it again with pip install"
        )
    kinds = {about.get("numerics") or about["kernel_id"] for about in (result["environment"], oracle["environment"])}
    same_bits = len(kinds) == 1 and result["environment"]["same_kernel_everywhere"]
    for mine, right in zip(result["epochs"][: epochs_of(point)], oracle["epochs"], strict=False):
        if same_bits and mine["weights_sha256"] != right["weights_sha256"]:
            found.append(f"the weights after epoch {mine['epoch']} are not the serial oracle's: the result is wrong")
            break
        for name in ("train_accuracy", "test_accuracy"):
            apart = abs(mine[name] - right[name]) if mine[name] is not None and right[name] is not None else 0.0
            if apart > (0 if same_bits else ACCURACY_TOLERANCE):
                found.append(
                    f"{name} after epoch {mine['epoch']} is {mine[name]:.2f}, the serial oracle's {right[name]:.2f}"
                )
    for check in point.checks:
        if check.epoch <= len(result["epochs"]):
            value = result["epochs"][check.epoch - 1][check.metric]
            if value is None or not check.least <= value <= check.most:
                found.append(
                    f"{check.metric} after epoch {check.epoch} is {value}, not {check.least:g} to {check.most:g}"
                )
    return found


def distinct(directory: Path, points: list[Point]) -> list[tuple[Point, int, int]]:
    """Return (point, seed, epochs) of the oracles of the points, each once, with the most epochs that one needs."""
    needed: dict[Path, tuple[Point, int, int]] = {}
    for point in points:
        for seed in sorted({point.seed(repeat) for repeat in range(point.repeats)}):
            path = place(directory, point, seed)
            epochs = max(epochs_of(point), needed[path][2] if path in needed else 0)
            needed[path] = (point, seed, epochs)
    return list(needed.values())
