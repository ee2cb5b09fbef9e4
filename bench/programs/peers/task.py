"""What every peer is given, and what it must come to: the paper's network, MNIST, SGD exemplar by exemplar.

Order of exemplars, initial weights, worker batches and rounds are mpinn's own, so that a peer's weights can be held
against the reference kernel's.
"""

import argparse
import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.harness.measure import times_to_accuracy
from bench.programs import program
from mpinn import datasets
from mpinn.config import LEARNING_RATE, Options
from mpinn.kernels.reference import Reference
from mpinn.model.network import Network
from mpinn.parallel.schedule import Schedule, epoch_order
from mpinn.system.errors import UsageError

SETTINGS = Options()
WORKER_BATCH = int(SETTINGS.worker_batch)
NETWORK = Network()
TOLERANCE = 1e-4  # of a weight after one round: float32, in whatever order a peer adds
KINK = 1e-2  # of the weights of one hidden unit, whose net input may come out on the other side of ELU's kink

digits = functools.cache(datasets.load)


class Epoch(NamedTuple):
    """What came of one pass over the exemplars."""

    seconds: float  # of training alone
    train_accuracy: float  # percent
    test_accuracy: float  # percent


@dataclass(frozen=True)
class Task:
    """How much is learned, and by how many workers."""

    exemplars: int  # of an epoch
    epochs: int
    workers: int
    seed: int

    @property
    def schedule(self) -> Schedule:
        """The rounds of an epoch."""
        return Schedule(self.exemplars, self.workers, WORKER_BATCH)

    def order(self, epoch: int) -> np.ndarray:
        """Return the exemplars of an epoch (from 1) in their order, (exemplars,) int32: the first of mpinn's epoch."""
        return epoch_order(self.seed, epoch, len(digits().train_labels))[: self.exemplars]

    def batches(self, epoch: int, workers: range) -> np.ndarray:
        """Return the worker batches of some workers, (rounds, len(workers), worker batch) int32, -1 where short."""
        return self.schedule.slices(self.order(epoch), workers)

    def first_round(self) -> "Task":
        """Return the task that ends after the first round: with one worker, after the first worker batch."""
        return replace(self, exemplars=min(self.exemplars, self.workers * WORKER_BATCH), epochs=1)


def parser(name: str, description: str | None, workers: str | None = None) -> argparse.ArgumentParser:
    """Return a peer's command line; `workers` is the option that says how many there are."""
    made = program.parser(f"peers.{name}", description)
    full = len(digits().train_labels)
    made.add_argument(
        "--exemplars", type=program.positive, default=full, metavar="N", help="of an epoch; its times are scaled to all"
    )
    made.add_argument("--epochs", type=program.positive, default=1, metavar="N", help="passes over the exemplars")
    if workers:
        made.add_argument(f"--{workers}", type=program.positive, default=1, metavar="N", help=f"{workers} that learn")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and order")
    return made


def task_of(asked: argparse.Namespace, workers: int) -> Task:
    """Return the task that the options describe. Raises UsageError."""
    full = len(digits().train_labels)
    if asked.exemplars > full:
        raise UsageError(f"--exemplars {asked.exemplars}: MNIST has {full}")
    if asked.seed < 0:
        raise UsageError(f"--seed {asked.seed}: expected 0 or more")
    return Task(asked.exemplars, asked.epochs, workers, asked.seed)


def epoch(seconds: float, weights: np.ndarray) -> Epoch:
    """Return an epoch after which the weights were `weights`, (parameters,) float32."""
    mnist = digits()
    found = [
        100 * float(np.mean(NETWORK.predict(weights, images).argmax(axis=1) == labels))
        for images, labels in ((mnist.train_images, mnist.train_labels), (mnist.test_images, mnist.test_labels))
    ]
    return Epoch(seconds, *found)


def reference_weights(task: Task) -> np.ndarray:
    """Return the master weights after the first round, (parameters,) float64, as the reference kernel learns them."""
    mnist, first = digits(), task.first_round()
    reference = Reference(NETWORK, LEARNING_RATE, SETTINGS.l1, SETTINGS.l2)
    total = np.zeros(NETWORK.parameters)
    for batch in first.batches(1, range(task.workers))[0]:
        weights = NETWORK.initial_weights(task.seed)
        exemplars = batch[batch >= 0]
        reference.learn(weights, mnist.train_images, mnist.train_labels, exemplars, weights)
        total += len(exemplars) * weights.astype(np.float64)
    return total / first.exemplars


def same_as_reference(task: Task, weights: np.ndarray) -> dict[str, Any]:
    """Return the check that a peer learned the same: its master weights after the first round.

    Where a hidden unit's net input is 0 but for rounding, the order of a sum decides which of two derivatives it has
    (alpha is not 1), and its weights part. Of one unit that is allowed, up to KINK.
    """
    off = np.abs(weights - reference_weights(task))
    apart, crossed = float(off.max()), ""
    if not apart <= TOLERANCE:  # nor where it is no number
        w1, w2 = NETWORK.views(off)
        units = np.maximum(w1.max(axis=0), w2[:-1].max(axis=1))
        odd = int(units.argmax())
        if units[odd] <= KINK:
            apart = float(np.append(np.delete(units, odd), w2[-1]).max())
            crossed = f", those of hidden unit {odd}, as at ELU's kink, {units[odd]:.1e} (at most {KINK:g})"
    detail = f"after the first round weights are {apart:.1e} from the reference kernel's (at most {TOLERANCE:g})"
    return program.check("first round", apart <= TOLERANCE, detail + crossed)


def report(
    path: Path | None,
    task: Task,
    epochs: Sequence[Epoch],
    check: Mapping[str, Any],
    environment: Mapping[str, Any],
    workers: str | None = None,
) -> None:
    """Write what was measured, `workers` being the name of that metric, and print it in a line. Raises MpinnError.

    Accuracies are reported only for epochs over the whole training set.
    """
    full = len(digits().train_labels)
    seconds = [one.seconds for one in epochs]
    series: dict[str, list[float]] = {
        "exemplar_microseconds": [1e6 * one / task.exemplars for one in seconds],
        "epoch_seconds": [one * full / task.exemplars for one in seconds],
    }
    units = {"exemplar_microseconds": "us", "epoch_seconds": "s"}
    if workers:
        series |= {"round_milliseconds": [1e3 * one / task.schedule.rounds for one in seconds], workers: [task.workers]}
        units |= {"round_milliseconds": "ms", workers: "1"}
    metrics = {name: statistics.median(values) for name, values in series.items()}
    if task.exemplars == full:
        rows = [
            {"epoch": number, "train_seconds": one.seconds, **one._asdict()} for number, one in enumerate(epochs, 1)
        ]
        reached = times_to_accuracy(rows)
        accuracies = ("train_accuracy", "test_accuracy")
        metrics |= {name: rows[-1][name] for name in accuracies} | reached
        units |= dict.fromkeys(accuracies, "%")
        units |= {name: "s" if name.endswith("seconds") else "epochs" for name in reached}
        series |= {name: [row[name] for row in rows] for name in ("train_seconds", *accuracies)}
    program.write(
        path,
        metrics,
        units,
        sum(seconds),
        checks=[check],
        series=series,
        environment=environment,
    )
    print(
        f"{metrics['exemplar_microseconds']:.1f} microseconds an exemplar, {metrics['epoch_seconds']:.2f} s an epoch "
        f"of {full:,}; test set {epochs[-1].test_accuracy:.2f} % after {len(epochs)} x {task.exemplars:,}; "
        f"{check['detail']}"
    )
