"""The pulse: how fast a core is at the moment, as the time in which the kernel alone learns an exemplar on it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import numpy as np

from mpinn import kernels
from mpinn.datasets import Dataset
from mpinn.model.network import Network

BEAT, BEATS = 200, 60  # exemplars of a batch, and batches: some 50 milliseconds


def pulse(data: Dataset) -> float:
    """Return the microseconds in which this process learns an exemplar now: the median of some batches."""
    network = Network()
    learner = kernels.choose("auto", network, 0.8, 1e-7, 1e-7).learner
    weights, spent = network.initial_weights(0), []
    for batch in np.arange(BEATS * BEAT, dtype=np.int32).reshape(BEATS, BEAT):
        start = perf_counter()
        learner.learn(weights, data.train_images, data.train_labels, batch, weights)
        spent.append(perf_counter() - start)
    return 1e6 * median(spent) / BEAT


def of_each_core(data: Dataset) -> list[float]:
    """Return the pulse of each core that this process may use, one after the other."""
    found = []
    for core in sorted(os.sched_getaffinity(0)):
        with only_on(core):
            found.append(pulse(data))
    return found


@contextmanager
def only_on(core: int) -> Iterator[None]:
    """Within it, this process and what it starts run on one core."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)
