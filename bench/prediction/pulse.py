"""The pulse: how fast a core is at the moment, as the time in which the kernel alone learns an exemplar on it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench.harness.estimate import kernel_microseconds

BEATS = 40  # worker batches: some 15 milliseconds


def pulse() -> float:
    """Return the microseconds in which this process learns an exemplar now."""
    return kernel_microseconds(BEATS)


def of_each_core() -> list[float]:
    """Return the pulse of each core that this process may use, one after the other."""
    found = []
    for core in sorted(os.sched_getaffinity(0)):
        with only_on(core):
            found.append(pulse())
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
