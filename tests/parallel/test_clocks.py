"""Clocks that are ahead, behind, or go faster, held against a reference."""

import numpy as np
import pytest

from mpinn.parallel import clocks
from mpinn.parallel.clocks import REFERENCE, Clock, Reading

TIMES = np.array([100.0, 150.0, 300.0])  # by the reference


@pytest.mark.parametrize("offset, drift", [(0.0, 0.0), (-7.5, 0.0), (3.0, 1e-5), (1e6, -2e-4)])
def test_a_clock_is_converted_as_it_goes(offset: float, drift: float) -> None:
    """Between the readings, before them and after."""

    def shown(reference: np.ndarray) -> np.ndarray:
        return reference + offset + drift * reference

    start, end = (
        Reading(float(at), float(at) - when, 1e-5) for when in (120.0, 250.0) for at in [shown(np.array(when))]
    )
    clock = Clock(start, end)
    assert clock.reference(shown(TIMES)) == pytest.approx(TIMES, abs=1e-6)
    assert clock.drift == pytest.approx(drift, rel=1e-3, abs=1e-12)


def test_without_a_reading_at_the_end_the_starts_offset_stands() -> None:
    clock = Clock(Reading(10.0, 2.0, 3e-6), None)
    assert clock.drift == 0 and clock.uncertainty == 3e-6
    assert clock.reference(TIMES).tolist() == [98.0, 148.0, 298.0]


def test_the_reference_is_itself_and_of_two_readings_the_worse_counts() -> None:
    assert REFERENCE.reference(TIMES).tolist() == TIMES.tolist() and REFERENCE.uncertainty == 0
    assert Clock(Reading(0, 0, 1e-6), Reading(1, 0, 4e-6)).uncertainty == 4e-6


class Line:
    """Two leaders in one process: the other answers by a clock that is `ahead`, and its answers take long, but one."""

    size = 2

    def __init__(self, ahead: float) -> None:
        self.now, self.ahead, self.asked = 0.0, ahead, 0

    def clock(self) -> float:
        return self.now

    def gather(self, rank: int) -> list[int]:
        return [rank, 7]

    def Send(self, buffer: np.ndarray, to: int) -> None:  # noqa: N802 - as MPI has it
        self.asked += 1
        self.long = 0.25 if self.asked == 5 else 1.0
        self.now += self.long

    def Recv(self, buffer: np.ndarray, source: int) -> None:  # noqa: N802
        buffer[0] = self.now + self.ahead
        self.now += self.long * (1 if self.asked == 5 else 3)  # a slow answer is one-sided


def test_the_fastest_answer_counts_and_says_how_far_it_may_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(ahead=500.0)
    monkeypatch.setattr(clocks, "perf_counter", line.clock)
    ((number, reading),) = clocks.measure(line, 0).items()
    assert number == 7 and line.asked == clocks.ANSWERS
    assert reading.offset == pytest.approx(500.0) and reading.uncertainty == pytest.approx(0.25)
