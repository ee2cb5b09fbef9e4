"""The pulse: how fast a core is at the moment, as the time in which the kernel alone learns an exemplar on it."""

import os

from bench.harness.estimate import kernel_microseconds

BEATS = 40  # worker batches: some 15 milliseconds


def pulse() -> float:
    """Return the microseconds in which this process learns an exemplar now."""
    return kernel_microseconds(BEATS)


def of_each_core() -> list[float]:
    """Return the pulse of each core that this process may use, one after the other."""
    cores, found = os.sched_getaffinity(0), []
    try:
        for core in sorted(cores):
            os.sched_setaffinity(0, {core})
            found.append(pulse())
    finally:
        os.sched_setaffinity(0, cores)
    return found
