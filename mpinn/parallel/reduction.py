"""What ranks add up in a merge: the workers' terms, and notes of a few numbers behind them."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from mpinn.merging import formats
from mpinn.merging.formats import EXPONENTS, FIRST_EXPONENT
from mpinn.merging.master import Master
from mpinn.parallel import mpi_library
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.schedule import Counts
from mpinn.parallel.stop_requests import SLOTS, Requests
from mpinn.parallel.timeline import Kind, Timeline
from mpinn.parallel.travelling import Travelling

DIGITS = 8  # of a loss: its sum over ranks is one of digits, which are small enough for the sums of every format
DIGIT = 7  # bits: what 255 ranks add up still fits into an int16
LARGEST_DIGIT = 2**DIGIT - 1
MOST_LOSS = 2 ** (DIGIT * DIGITS) - 1
NOTES = SLOTS + EXPONENTS + DIGITS  # numbers that are added up beside the terms: see `Notes`
LEAST_PIECE = 2**13  # bytes of a message in a ring: shorter ones are bound by how many there are


class Round(NamedTuple):
    """What a merge has to know of its round."""

    counts: Counts
    exponent: int  # of its terms
    numbers: np.ndarray  # (k,) float64, of the rule that moves the master


class Merged(NamedTuple):
    """What a merge returned."""

    requests: Requests = Requests()  # of all ranks
    clipped: int = 0  # workers whose steps were cut
    loss: int = 0  # of all workers' exemplars, in `losses.UNIT`
    waited: float = 0.0  # seconds that this rank was in collectives

    def also(self, other: "Merged") -> "Merged":
        """Return what two merges returned as one."""
        requests = self.requests.also(other.requests)
        return Merged(requests, self.clipped + other.clipped, self.loss + other.loss, self.waited + other.waited)


class Notes:
    """What a rank tells all others in a round: its requests, the sizes of its workers' steps, its loss."""

    def __init__(self) -> None:
        self.numbers = np.zeros(NOTES, np.int64)
        self.loss = 0

    def take(self, weight: int, step: int, loss: int) -> None:
        """Note a worker's `sums.largest` of weights and of steps, and its exemplars' loss in `losses.UNIT`."""
        if formats.diverged(weight):
            self.numbers[0] += 1
        self.numbers[SLOTS + formats.exponent_of(step) - FIRST_EXPONENT] += 1
        self.loss += loss

    def hand_over(self, requests: np.ndarray, to: np.ndarray) -> None:
        """Write the notes of the round, with this rank's requests, (SLOTS,), to an array (NOTES,), and begin anew."""
        self.numbers[:SLOTS] += requests
        self.numbers[-DIGITS:] = digits_of(self.loss)
        to[:] = self.numbers
        self.clear()

    def clear(self) -> None:
        self.numbers[:] = 0
        self.loss = 0


def digits_of(loss: int) -> list[int]:
    """Return the digits of a loss, the lowest first; one that has more is counted as the largest that has not."""
    loss, found = min(loss, MOST_LOSS), []
    for _ in range(DIGITS):
        found.append(loss & LARGEST_DIGIT)
        loss >>= DIGIT
    return found


def loss_of(digits: Sequence[int]) -> int:
    """Return the loss that a sum of ranks' digits stands for."""
    loss = 0
    for digit in reversed(digits):
        loss = (loss << DIGIT) + digit
    return loss


def loss_in(notes: np.ndarray) -> int:
    """Return the loss that is noted in a sum of ranks' notes, (NOTES,)."""
    return loss_of(notes[-DIGITS:].astype(np.int64).tolist())


def read_notes(total: np.ndarray, exponent: int, master: Master) -> tuple[Requests, int, int]:
    """Return the requests of all ranks, the workers whose steps were cut, and the loss; set what the next round needs.

    total (NOTES,): the sum of all ranks' notes; exponent: of the round's terms.
    """
    numbers = total.astype(np.int64).tolist()
    master.exponent, master.loss = formats.exponent_after(total[SLOTS:-DIGITS]), loss_of(numbers[-DIGITS:])
    return Requests(*numbers[:SLOTS]), formats.clipped(numbers[SLOTS:-DIGITS], exponent), master.loss


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
