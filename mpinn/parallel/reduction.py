"""What ranks add up in a merge: the workers' terms, and notes of a few numbers behind them."""

from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from mpinn.merging import formats
from mpinn.merging.formats import EXPONENTS, FIRST_EXPONENT
from mpinn.merging.master import Master
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.schedule import Counts
from mpinn.parallel.stop_requests import SLOTS, Requests
from mpinn.parallel.timeline import Kind, Timeline
from mpinn.parallel.travelling import Travelling

NOTES = SLOTS + EXPONENTS  # numbers that are added up beside the terms: see `Notes`


class Round(NamedTuple):
    """What a merge has to know of its round."""

    counts: Counts
    exponent: int  # of its terms
    numbers: np.ndarray  # (k,) float64, of the rule that moves the master


class Merged(NamedTuple):
    """What a merge returned."""

    requests: Requests = Requests()  # of all ranks
    clipped: int = 0  # workers whose steps were cut
    waited: float = 0.0  # seconds that this rank was in collectives

    def also(self, other: "Merged") -> "Merged":
        """Return what two merges returned as one."""
        requests = self.requests.also(other.requests)
        return Merged(requests, self.clipped + other.clipped, self.waited + other.waited)


class Notes:
    """What a rank tells all others in a round: its requests, and how many of its workers' steps were how large."""

    def __init__(self) -> None:
        self.numbers = np.zeros(NOTES, np.int64)

    def take(self, weight: int, step: int) -> None:
        """Note a worker's `sums.largest` of weights and of steps."""
        if formats.diverged(weight):
            self.numbers[0] += 1
        self.numbers[SLOTS + formats.exponent_of(step) - FIRST_EXPONENT] += 1

    def clear(self) -> None:
        self.numbers[:] = 0


def read_notes(total: np.ndarray, exponent: int, master: Master) -> tuple[Requests, int]:
    """Return the requests of all ranks and the workers whose steps were cut; set the exponent for the next round.

    total (NOTES,): the sum of all ranks' notes; exponent: of the round's terms.
    """
    numbers = total.astype(np.int64).tolist()
    found = numbers[SLOTS:]
    master.exponent = formats.exponent_after(found)
    return Requests(*numbers[:SLOTS]), formats.clipped(found, exponent)


class Reduction:
    """Sums of a round that ranks add up by Allreduce: when they are wanted or, to overlap, while the ranks learn."""

    def __init__(
        self,
        comm: Any,
        sums: np.ndarray,
        round_: Round,
        overlap: bool,
        travelling: Travelling | None,
        timeline: Timeline,
    ) -> None:
        """comm: those that add up, None for a rank that has no part in it; travelling: None where all sums travel."""
        self.comm, self.sums, self.round, self.timeline = comm, sums, round_, timeline
        self.travelling = travelling
        self.sent = travelling.pack(sums) if travelling else sums
        self.request = comm.Iallreduce(MPI.IN_PLACE, self.sent) if comm is not None and overlap else None
        self.departure = timeline.depart() if self.request is not None else None

    def progress(self) -> None:
        """Let MPI go on with it."""
        if self.request is None:
            return
        start = perf_counter()
        if self.request.Test():
            self.arrive()
        self.timeline.progressed += perf_counter() - start

    def arrive(self) -> None:
        """Note, once, that it is complete."""
        if self.departure:
            self.timeline.arrive(self.departure)
            self.departure = None

    def wait(self) -> float:
        """Return once `sums` is of all ranks: after how many seconds."""
        if self.comm is None:
            return 0.0
        start = perf_counter()
        try:
            if self.request is None:
                self.comm.Allreduce(MPI.IN_PLACE, self.sent)
            else:
                self.request.Wait()
                self.arrive()
            if self.travelling:
                self.travelling.unpack(self.sums)
        finally:  # where a rank was lost, too
            if self.timeline.active:
                self.timeline.note(Kind.WAITING, start, perf_counter())
        return perf_counter() - start
