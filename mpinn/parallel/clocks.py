"""The clocks of hosts, as `time.perf_counter` reads them, held against that of rank 0's host, the reference.

A host's offset is measured by messages that rank 0 sends and has answered, at the start of a run and at its end, and
taken to change evenly in between. No message takes no time; so an offset is known within half of the fastest answer.
"""

from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

ANSWERS = 20


class Reading(NamedTuple):
    """How far a clock was ahead of the reference; in seconds."""

    at: float  # by the clock itself
    offset: float
    uncertainty: float


class Clock(NamedTuple):
    """A host's clock."""

    start: Reading
    end: Reading | None  # None where none could be made

    @property
    def drift(self) -> float:
        """By how many seconds a second it moves ahead of the reference; 0 where that is not known."""
        if self.end is None or self.end.at <= self.start.at:
            return 0.0
        return (self.end.offset - self.start.offset) / (self.end.at - self.start.at)

    @property
    def uncertainty(self) -> float:
        """The larger of its readings', seconds."""
        return max(reading.uncertainty for reading in (self.start, self.end) if reading)

    def reference(self, times: np.ndarray) -> np.ndarray:
        """Return what the reference showed when this clock showed these times, float64 seconds."""
        return times - (self.start.offset + self.drift * (times - self.start.at))


REFERENCE = Clock(Reading(0.0, 0.0, 0.0), Reading(0.0, 0.0, 0.0))


def measure(leaders: Any, rank: int) -> dict[int, Reading]:
    """Return, on the first of the leaders, a reading of each other's clock by its number; {} on the others.

    leaders: a communicator of one rank a host, every one of which calls it; rank: the number of this one.
    """
    numbers = leaders.gather(rank)
    if numbers is None:
        answer(leaders)
        return {}
    return {numbers[other]: ask(leaders, other) for other in range(1, leaders.size)}


def answer(leaders: Any) -> None:
    """Tell the first of the leaders the time, whenever it asks."""
    time = np.zeros(1)
    for _ in range(ANSWERS):
        leaders.Recv(time, 0)
        time[0] = perf_counter()
        leaders.Send(time, 0)


def ask(leaders: Any, other: int) -> Reading:
    """Ask a rank for the time; return the reading of the fastest answer."""
    time, found = np.zeros(1), []
    for _ in range(ANSWERS):
        asked = perf_counter()
        leaders.Send(time, other)
        leaders.Recv(time, other)
        answered = perf_counter()
        middle = (asked + answered) / 2
        found.append(Reading(float(time[0]), float(time[0]) - middle, (answered - asked) / 2))
    return min(found, key=lambda reading: reading.uncertainty)
