"""How long a suite will take, roughly: from the speed of this host's kernel, timed on the spot."""

from itertools import pairwise
from math import ceil, prod
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bench.harness.suite import Point
from mpinn import kernels
from mpinn.config import Options
from mpinn.model.network import Network

EXEMPLARS = 60_000  # of MNIST
WEIGHTS = 79_510
LIT = 150  # pixels of an exemplar of MNIST
START = 1.5  # seconds to start a run, where the kernel takes USUAL
USUAL = 4.0  # microseconds an exemplar, by which suites state the times of programs
MERGE = 12  # exemplars that could be learned in the time that a worker's part in a merge takes
EVALUATION = 0.3  # of the time of an epoch's training on one rank
TRIES = 5
UNKNOWN = 10.0  # seconds of a program whose suite says nothing


def kernel_microseconds(tries: int = TRIES) -> float:
    """Return the time that this host's kernel takes to learn an exemplar, on noise with as many lit pixels as MNIST.

    The median of so many worker batches.
    """
    network = Network()
    random = np.random.default_rng(0)
    images = np.where(random.random((100, 784)) < LIT / 784, 128, 0).astype(np.uint8)
    labels = random.integers(0, 10, 100).astype(np.int32)
    learner = kernels.choose("auto", network, 0.8, 1e-7, 1e-7).learner
    weights, order = network.initial_weights(0), np.arange(100, dtype=np.int32)
    spent = []
    for _ in range(tries):
        start = perf_counter()
        learner.learn(weights, images, labels, order, weights)
        spent.append(perf_counter() - start)
    return 1e6 * median(spent) / len(order)


def training(ranks: int, workers: int, options: dict[str, Any], epochs: int, cores: int, microseconds: float) -> float:
    """Return the seconds that a training run takes."""
    layers = options.get("layers") or [784, 100, 10]
    weights = sum(prod(pair) for pair in pairwise(layers))
    batch = options.get("worker_batch", Options().worker_batch)
    rounds = ceil(EXEMPLARS / (workers * batch))
    learned = EXEMPLARS * (1 + EVALUATION / options.get("evaluate_every", 1)) + MERGE * rounds * max(workers, ranks)
    epoch = 1e-6 * microseconds * weights / WEIGHTS * learned / min(ranks, cores)
    return start(ranks, cores, microseconds) + epochs * epoch


def start(ranks: int, cores: int, microseconds: float) -> float:
    """Return the seconds until the ranks have begun to learn."""
    return START * microseconds / USUAL * max(1, ranks / cores / 2)


def seconds(point: Point, cores: int, microseconds: float) -> float:
    """Return the seconds that one run of a point takes; cores of all hosts."""
    if point.program == "train":
        epochs = point.options.get("epochs", Options().epochs)
        found = training(point.ranks, point.workers or 1, point.options, epochs, cores, microseconds)
    else:
        found = (UNKNOWN if point.seconds is None else point.seconds) * microseconds / USUAL
    return max(found, point.minimum_seconds) if point.lengthen else found


def oracle_seconds(point: Point, epochs: int, microseconds: float) -> float:
    """Return the seconds that the serial oracle of a point takes."""
    return training(1, point.workers or 1, point.options, epochs, 1, microseconds)


def told(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
