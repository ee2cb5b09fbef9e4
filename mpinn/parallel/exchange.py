"""How the ranks' workers become one master: through shared memory within a node, or by Allreduce of whole vectors.

Sums are exact (`merging.formats`), so the two give the same bits; they differ in what is moved, and how often it is
read.
"""

from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from mpinn.merging import formats
from mpinn.merging.formats import EXPONENTS, FIRST_EXPONENT, Format, Merger
from mpinn.merging.master import Master
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.schedule import Counts
from mpinn.parallel.shared_memory import shared_memory_free
from mpinn.parallel.stop_requests import SLOTS, Requests
from mpinn.parallel.world import World
from mpinn.system.errors import UsageError

MOST = 2**27  # bytes of workers' terms that a node holds at once
LINE = 64  # bytes of a cache line: no two ranks write to one
NOTES = SLOTS + EXPONENTS  # numbers that are added up beside the terms: see `Notes`


class Merged(NamedTuple):
    """What the merge of one round returned."""

    requests: Requests  # of all ranks
    clipped: int  # workers whose steps were cut
    waited: float  # seconds that this rank was in collectives


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


def read_notes(total: np.ndarray, master: Master) -> tuple[Requests, int]:
    """Return the requests of all ranks and the workers whose steps were cut; set the exponent for the next round.

    total (NOTES,): the sum of all ranks' notes.
    """
    numbers = total.astype(np.int64).tolist()
    found = numbers[SLOTS:]
    clipped = formats.clipped(found, master)
    master.exponent = formats.exponent_after(found)
    return Requests(*numbers[:SLOTS]), clipped


class Exchange(Protocol):
    """Holds the master, and moves it once a round. Between rounds all ranks have the same master, bit for bit."""

    name: str  # as --exchange takes it
    medium: str  # what ranks merge through, in words
    master: Master

    def reassign(self, assignment: list[range]) -> None:
        """From the next round on the ranks have these workers. Every rank calls it."""

    def buffer(self, worker: int) -> np.ndarray:
        """Return where a worker of this rank stores the weights that it learns, (parameters,) float32."""

    def stored(self, worker: int, counts: Counts) -> None:
        """The worker has stored its weights, in a round of so many exemplars."""

    def forget(self) -> None:
        """What this rank's workers stored in the round will not be merged: the round will be done again."""

    def merge(self, counts: Counts, requests: np.ndarray) -> Merged:
        """Move the master, once all workers of the round have stored; requests (SLOTS,) int64, of this rank.

        Where a weight is not a number or beyond the limit, the requests returned say `diverged`, and the master is
        useless.
        """


class AllreduceExchange:
    """Every rank sums its workers' terms in its own memory; one Allreduce of the whole vector adds up the ranks'.

    The plain form: nodes may differ, and more workers take no more memory.
    """

    name = "allreduce"
    medium = "Allreduce"

    def __init__(self, world: World, rule: str, merger: Merger, form: Format, master: Master) -> None:
        self.world, self.rule, self.merger, self.format = world, rule, merger, form
        self.master = master.copy()
        self.learned = np.empty(len(master.weights), np.float32)
        self.term = np.empty((1, len(master.weights)), form.dtype)
        self.sums = np.zeros(len(master.weights) + NOTES, form.dtype)  # of terms, then of notes
        self.notes = Notes()

    def reassign(self, assignment: list[range]) -> None:
        pass  # nothing here depends on it

    def forget(self) -> None:
        self.sums[:] = 0
        self.notes.clear()

    def buffer(self, worker: int) -> np.ndarray:
        return self.learned

    def stored(self, worker: int, counts: Counts) -> None:
        count = int(counts.workers[worker])
        self.notes.take(*self.format.store(self.term[0], self.learned, self.master, count, counts.all))
        self.merger.add(self.sums[:-NOTES], self.term, counts.workers[worker : worker + 1])

    def merge(self, counts: Counts, requests: np.ndarray) -> Merged:
        self.notes.numbers[:SLOTS] += requests
        self.sums[-NOTES:] = self.notes.numbers
        start = perf_counter()
        self.world.comm.Allreduce(MPI.IN_PLACE, self.sums)
        waited = perf_counter() - start
        master, share = self.master, self.format.share(self.master, counts.all)
        self.merger.move(self.rule, master.weights, master.moments, self.sums[:-NOTES], share, master.momentum)
        told = read_notes(self.sums[-NOTES:], master)
        self.forget()
        return Merged(*told, waited)


class SharedMemoryExchange:
    """Every worker's term lies in memory that the ranks of its node share, and so does the master.

    Each rank has a slice of the weights: there it adds up all of the node's workers, and moves the master. Where there
    are several nodes, the ranks of a slice add up their sums by Allreduce in between; nodes that have more ranks than
    the smallest leave some of them without a slice. Two barriers a round: all have learned, all have moved. (A
    barrier's messages order what was written before it and read after it.)
    """

    name = "shared-memory"
    medium = "memory that ranks share"

    def __init__(
        self, world: World, rule: str, merger: Merger, form: Format, master: Master, assignment: list[range]
    ) -> None:
        self.world, self.rule, self.merger, self.format = world, rule, merger, form
        memory = world.memory
        weights = memory.array(master.weights.shape, np.float32)
        moments = memory.array(master.moments.shape, np.float32)
        self.master = Master(weights, moments, master.momentum, master.exponent)
        self.board = memory.array((2, world.node.size, NOTES), np.int64)  # of ranks, two rounds in turn
        self.turn = 0
        self.notes = Notes()
        self.learned = np.empty(len(weights), np.float32)
        line = LINE // np.dtype(form.dtype).itemsize
        lines = -(-len(weights) // line)
        mine = [min(world.node.rank + i, world.slices) for i in (0, 1)]
        first, last = (line * (lines * place // world.slices) for place in mine)
        self.slice = slice(first, min(last, len(weights)))
        self.sums = np.zeros(self.slice.stop - first + NOTES, form.dtype)  # between nodes: of terms, then of notes
        self.told = memory.array((NOTES,), np.int64)  # between nodes: all ranks' notes
        # One worker's weights are the next master's; where no other rank reads that meanwhile, they go there at once.
        self.in_place = form.dtype == np.float32 and rule == "mean" and world.size == 1
        if world.node.rank == 0:
            self.master.become(master)
        self.reassign(assignment)

    def reassign(self, assignment: list[range]) -> None:
        self.workers = np.array([w for rank in self.world.node_ranks for w in assignment[rank]], int)  # of this node
        self.row = {int(worker): row for row, worker in enumerate(self.workers)}
        size = (len(self.workers), len(self.master.weights))
        self.terms = self.master.weights[None] if self.in_place else self.world.memory.array(size, self.format.dtype)

    def buffer(self, worker: int) -> np.ndarray:
        return self.terms[self.row[worker]] if self.format.dtype == np.float32 else self.learned

    def stored(self, worker: int, counts: Counts) -> None:
        count, term = int(counts.workers[worker]), self.terms[self.row[worker]]
        self.notes.take(*self.format.store(term, self.buffer(worker), self.master, count, counts.all))

    def forget(self) -> None:
        self.notes.clear()  # terms will be written over

    def merge(self, counts: Counts, requests: np.ndarray) -> Merged:
        board = self.board[self.turn]
        self.turn = 1 - self.turn  # a rank may be in the next round before another has read this one's
        self.notes.numbers[:SLOTS] += requests
        board[self.world.node.rank] = self.notes.numbers
        self.notes.clear()
        waited = self.barrier()
        if self.world.nodes == 1:
            self.move_slice(counts)
        elif self.world.node.rank < self.world.slices:
            waited += self.move_slice_between_nodes(counts, board)
        waited += self.barrier()
        notes = board.sum(axis=0) if self.world.nodes == 1 else self.told
        return Merged(*read_notes(notes, self.master), waited)

    def barrier(self) -> float:
        """Wait for the ranks of the node; return for how many seconds."""
        start = perf_counter()
        self.world.node.Barrier()
        return perf_counter() - start

    def move_slice(self, counts: Counts) -> None:
        """Move this rank's slice of the master, unless what was learned is there already."""
        mine, master = self.slice, self.master
        if not self.in_place and mine.start < mine.stop:
            self.merger.merge(
                self.rule,
                master.weights[mine],
                master.moments[:, mine],
                self.terms[:, mine],
                counts.workers[self.workers],
                self.format.share(master, counts.all),
                master.momentum,
            )

    def move_slice_between_nodes(self, counts: Counts, board: np.ndarray) -> float:
        """As `move_slice`, and tell the ranks of this node all nodes' notes; return the seconds in Allreduce."""
        mine, master = self.slice, self.master
        self.sums[:-NOTES] = 0
        self.sums[-NOTES:] = board.sum(axis=0)
        self.merger.add(self.sums[:-NOTES], self.terms[:, mine], counts.workers[self.workers])
        start = perf_counter()
        self.world.across.Allreduce(MPI.IN_PLACE, self.sums)
        spent = perf_counter() - start
        if self.world.node.rank == 0:
            self.told[:] = self.sums[-NOTES:]
        if mine.start < mine.stop:
            share = self.format.share(master, counts.all)
            arrays = (master.weights[mine], master.moments[:, mine], self.sums[:-NOTES])
            self.merger.move(self.rule, *arrays, share, master.momentum)
        return spent


def choose(
    name: str, world: World, rule: str, merger: Merger, form: Format, master: Master, assignment: list[range]
) -> AllreduceExchange | SharedMemoryExchange:
    """Return the exchange `name`; 'auto' takes shared memory where there is room.

    The exchange begins with a copy of the master, which is equal on all ranks. Raises UsageError, on every rank, where
    shared memory is asked for and cannot be had.
    """
    problem = ""
    if name != "allreduce":
        mine = shared_memory_problem(world, form, master, assignment)
        problem = next(filter(None, world.comm.allgather(mine)), "")
    if name == "shared-memory" and problem:
        raise UsageError(f"--exchange shared-memory: {problem}; take --exchange allreduce").on_every_rank()
    if name == "allreduce" or problem:
        return AllreduceExchange(world, rule, merger, form, master)
    return SharedMemoryExchange(world, rule, merger, form, master, assignment)


def shared_memory_problem(world: World, form: Format, master: Master, assignment: list[range]) -> str:
    """Return why the ranks of this node cannot merge through memory that they share, or an empty string."""
    if world.fault_tolerant:
        return "ranks may be lost, and a window with them"
    workers = sum(len(assignment[rank]) for rank in world.node_ranks)
    size = len(master.weights) * (workers * np.dtype(form.dtype).itemsize + 4 + 4 * len(master.moments))
    if size > MOST or (world.node.size > 1 and size > shared_memory_free()):
        return f"{world.host}: no room for {size >> 20} MB of workers' terms in shared memory"
    return ""
