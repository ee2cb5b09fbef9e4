"""Sums of the workers' terms, with notes behind them (`parallel.notes`), which ranks add up."""

from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from mpinn.parallel import mpi_library
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.schedule import Counts
from mpinn.parallel.timeline import Kind, Timeline
from mpinn.parallel.travelling import Travelling

LEAST_PIECE = 2**13  # bytes of a message in a ring: shorter ones are bound by how many there are


class Round(NamedTuple):
    """What a merge has to know of its round."""

    counts: Counts
    exponent: int  # of its terms
    numbers: np.ndarray  # (k,) float64, of the rule that moves the master


def add_up(comm: Any, numbers: np.ndarray, hosts: int) -> None:
    """Make `numbers`, in place, the sum of all ranks'. Every rank of `comm` calls it; they are on so many hosts.

    Between hosts long ones go round in a ring, as Open MPI's Iallreduce sends them: no fewer bytes than in what it
    chooses for Allreduce, but that often leaves the links idle in between.
    """
    if hosts > 1 and mpi_library.has_ring() and numbers.nbytes >= LEAST_PIECE * comm.size:
        comm.Iallreduce(MPI.IN_PLACE, numbers).Wait()
    else:
        comm.Allreduce(MPI.IN_PLACE, numbers)


class Reduction:
    """Sums of a round that ranks add up: when they are wanted or, to overlap, while the ranks learn."""

    def __init__(
        self,
        comm: Any,
        hosts: int,
        sums: np.ndarray,
        round_: Round,
        overlap: bool,
        travelling: Travelling | None,
        timeline: Timeline,
    ) -> None:
        """comm: those that add up, None for a rank that has no part in it; travelling: None where all sums travel."""
        self.comm, self.hosts, self.sums, self.round, self.timeline = comm, hosts, sums, round_, timeline
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
                add_up(self.comm, self.sent, self.hosts)
            else:
                self.request.Wait()
                self.arrive()
            if self.travelling:
                self.travelling.unpack(self.sums)
        finally:  # where a rank was lost, too
            if self.timeline.active:
                self.timeline.note(Kind.WAITING, start, perf_counter())
        return perf_counter() - start
