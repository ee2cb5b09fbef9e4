"""How the ranks' workers become one master: through shared memory within a node, or by Allreduce of whole vectors.

Sums are exact (`merging.formats`), so the two give the same bits; they differ in what is moved, and how often it is
read. Under --overlap (`merging.overlap`) a round's sums are under way while the next round is learned.
"""

import contextlib
from abc import ABC, abstractmethod
from time import perf_counter
from typing import NamedTuple

import numpy as np

from mpinn.merging import overlap
from mpinn.merging.formats import Format, Merger
from mpinn.merging.master import Master
from mpinn.merging.term import Term
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.notes import NOTES, ROW, Notes, Told, read_notes, together
from mpinn.parallel.reduction import Reduction, Round
from mpinn.parallel.schedule import Counts
from mpinn.parallel.shared_memory import shared_memory_free
from mpinn.parallel.stop_requests import Requests
from mpinn.parallel.timeline import Kind, Timeline
from mpinn.parallel.travelling import Travelling
from mpinn.parallel.world import World
from mpinn.system.errors import UsageError

MOST = 2**27  # bytes of workers' terms that a node holds at once
LINE = 64  # bytes of a cache line: no two ranks write to one


class Merging(NamedTuple):
    """How a round is merged, through whatever."""

    rule: str  # of merging.rules
    merger: Merger
    format: Format
    learned: np.ndarray | None  # (parameters,) bool: which weights workers learn apart (`travelling`); None: all
    overlap: bool  # whether a merge is under way while the next round is learned
    gradients: bool  # whether workers give a direction, instead of weights
    compares: bool  # whether the rule has to know that the loss has risen since the round before


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


class Exchange(ABC):
    """Holds the master, and moves it once a round. Between rounds all ranks have the same master, bit for bit."""

    name: str  # as --exchange takes it
    medium: str  # what ranks merge through, in words

    def __init__(
        self, world: World, how: Merging, master: Master, timeline: Timeline, part: slice = slice(None)
    ) -> None:
        """part: of the weights, those whose sums this rank sends."""
        self.world, self.how, self.master, self.timeline = world, how, master, timeline
        self.merger, self.format = how.merger, how.format
        learned = None if how.learned is None else how.learned[part]
        self.travelling = None if learned is None or learned.all() else Travelling(learned, NOTES, self.format.dtype)
        self.workers_everywhere = True  # on every rank or node that sends sums
        self.reduction: Reduction | None = None  # of the round whose merge is under way
        self.ahead = np.empty(len(master.weights) if how.overlap else 0, np.float32)
        self.begun: np.ndarray | None = None  # from which what the worker that started last gives is a step
        self.notes = Notes()

    @abstractmethod
    def reassign(self, assignment: list[range]) -> None:
        """From the next round on the ranks have these workers. Every rank calls it, with no merge under way."""

    @abstractmethod
    def term(self, worker: int) -> np.ndarray:
        """Return where a worker of this rank has its term, (parameters,)."""

    @abstractmethod
    def merge(self, counts: Counts, requests: Requests, numbers: np.ndarray) -> Merged:
        """Move the master, once all workers of the round have stored.

        requests: of this rank; numbers (k,) float64, of the rule that moves the master.

        Where a weight is not a number or beyond the limit, the requests returned say `diverged`, and the master is
        useless. To overlap, the master is moved by the round before, of which what is returned tells, and this one's
        merge gets under way.
        """

    @abstractmethod
    def settle(self) -> Merged:
        """Wait for the merge that is under way, and move the master by it."""

    def start(self, worker: int) -> np.ndarray:
        """Return the weights with which a worker of this rank begins the round, (parameters,) float32."""
        start = self.master.weights
        if self.reduction:
            alone = self.format.share(self.reduction.round.exponent, int(self.reduction.round.counts.workers[worker]))
            overlap.go_on(self.merger, self.ahead, self.master, self.term(worker), alone)
            start = self.ahead
        self.begun = None if self.how.gradients else start
        return start

    def place(self, worker: int, counts: Counts) -> Term:
        """Return the term that is made of what the worker that started last learns, in a round of so many exemplars."""
        count, exponent = int(counts.workers[worker]), self.master.exponent
        return self.format.term(self.term(worker), self.begun, exponent, count, counts.all)

    def stored(self, worker: int, counts: Counts, term: Term, loss: int) -> None:
        """A worker has written its term; loss: of its exemplars, in `losses.UNIT`."""
        self.notes.take(*term.found, loss, self.master.exponent)

    def progress(self) -> None:
        """Let MPI go on with the merge that is under way."""
        if self.reduction:
            self.reduction.progress()

    def forget(self) -> None:
        """What workers have stored will not be merged: the rounds will be done again. Every rank calls it."""
        if self.reduction:
            with contextlib.suppress(MPI.Exception):  # of a rank that was lost
                self.reduction.wait()
        self.reduction = None
        self.notes.clear()

    def known(self, sums: np.ndarray, terms: np.ndarray, counts: Counts) -> Travelling | None:
        """Write to `sums` what need not travel, and return what must; None: all of it. terms (workers here, n)."""
        alike = int(counts.workers[0]) * len(counts.workers) == counts.all
        if self.travelling is None or not (alike and self.workers_everywhere):
            return None
        self.travelling.fill(sums, terms[0], len(counts.workers))
        return self.travelling

    def move(self, weights: np.ndarray, moments: np.ndarray, done: Reduction, told: Told) -> None:
        """Move a part of the master by the sums of its terms."""
        share = self.format.share(done.round.exponent, done.round.counts.all)
        self.merger.move(self.how.rule, weights, moments, done.sums[:-NOTES], share, self.numbers(done.round, told))

    def numbers(self, round_: Round, told: Told) -> np.ndarray:
        """Return what the rule has to know to move the master."""
        if self.how.compares:
            round_.numbers[-1] = 0 < self.master.loss < told.loss
        return round_.numbers

    def moved(self, told: Told, waited: float) -> Merged:
        """The master has moved by a round of which all ranks have told this."""
        self.master.exponent, self.master.loss = told.exponent, told.loss
        return Merged(told.requests, told.clipped, told.loss, waited)


class AllreduceExchange(Exchange):
    """Every rank sums its workers' terms in its own memory; one Allreduce of the whole vector adds up the ranks'.

    The plain form: nodes may differ, and more workers take no more memory, but to overlap.
    """

    name = "allreduce"
    medium = "Allreduce"

    def __init__(self, world: World, how: Merging, master: Master, assignment: list[range], timeline: Timeline) -> None:
        super().__init__(world, how, master.copy(), timeline)
        self.sums = np.zeros(len(master.weights) + NOTES, how.format.dtype)  # of terms, then of notes
        self.others = self.sums.copy() if how.overlap else self.sums  # of the round before
        self.reassign(assignment)

    def reassign(self, assignment: list[range]) -> None:
        self.workers = assignment[self.world.rank]
        self.workers_everywhere = all(assignment)
        rows = len(self.workers) if self.how.overlap else 1
        self.terms = np.empty((rows, len(self.master.weights)), self.format.dtype)

    def forget(self) -> None:
        super().forget()
        self.sums[:] = self.others[:] = 0

    def term(self, worker: int) -> np.ndarray:
        return self.terms[worker - self.workers.start if self.how.overlap else 0]

    def stored(self, worker: int, counts: Counts, term: Term, loss: int) -> None:
        super().stored(worker, counts, term, loss)
        self.merger.add(self.sums[:-NOTES], self.term(worker)[None], counts.workers[worker : worker + 1])

    def merge(self, counts: Counts, requests: Requests, numbers: np.ndarray) -> Merged:
        exponent = self.master.exponent
        earlier = self.settle()
        self.notes.hand_over(requests).write(self.sums[-NOTES:])
        travelling = self.known(self.sums, self.terms, counts)
        round_ = Round(counts, exponent, numbers)
        self.reduction = Reduction(
            self.world.comm, self.world.nodes, self.sums, round_, self.how.overlap, travelling, self.timeline
        )
        self.sums, self.others = self.others, self.sums
        return earlier if self.how.overlap else self.settle()

    def settle(self) -> Merged:
        done, self.reduction = self.reduction, None
        if done is None:
            return Merged()
        waited = done.wait()
        told = read_notes(done.sums[-NOTES:])
        self.move(self.master.weights, self.master.moments, done, told)
        done.sums[:] = 0
        return self.moved(told, waited)


class SharedMemoryExchange(Exchange):
    """Every worker's term lies in memory that the ranks of its node share, and so does the master.

    Each rank has a slice of the weights: there it adds up all of the node's workers, and moves the master. Where there
    are several nodes, the ranks of a slice add up their sums by Allreduce in between; nodes that have more ranks than
    the smallest leave some of them without a slice. Two barriers a round: all have learned, all have moved. (A
    barrier's messages order what was written before it and read after it.)
    """

    name = "shared-memory"
    medium = "memory that ranks share"

    def __init__(self, world: World, how: Merging, master: Master, assignment: list[range], timeline: Timeline) -> None:
        memory = world.memory
        weights = memory.array(master.weights.shape, np.float32)
        moments = memory.array(master.moments.shape, np.float32)
        shared = Master(weights, moments, master.momentum, master.exponent)
        line = LINE // np.dtype(how.format.dtype).itemsize
        lines = -(-len(weights) // line)
        mine = [min(world.node.rank + i, world.slices) for i in (0, 1)]
        first, last = (min(line * (lines * place // world.slices), len(weights)) for place in mine)
        self.slice = slice(first, last)
        self.has_slice = world.node.rank < world.slices
        super().__init__(world, how, shared, timeline, self.slice)
        self.board = memory.array((world.node.size, ROW), np.int64)  # what the node's ranks tell
        self.told = memory.array((2, ROW), np.int64)  # and all ranks, two rounds in turn
        self.turn = 0
        # Without sums of their own, workers' terms are added up and the master moved in one pass.
        self.at_once = world.nodes == 1 and not how.overlap
        self.sums = np.zeros(last - first + NOTES, how.format.dtype)  # of terms, then of notes
        # One worker's weights are the next master's; where no other rank reads that meanwhile, they go there at once.
        self.in_place = how.format.dtype == np.float32 and how.rule == "mean" and world.size == 1
        if world.node.rank == 0:
            self.master.become(master)
        self.weights, self.moments = weights[self.slice], moments[:, self.slice]  # that this rank moves
        self.reassign(assignment)

    def reassign(self, assignment: list[range]) -> None:
        self.workers = np.array([w for rank in self.world.node_ranks for w in assignment[rank]], int)  # of this node
        self.workers_everywhere = self.world.nodes == 1 or self.world.comm.allreduce(len(self.workers) > 0, MPI.LAND)
        size = (len(self.workers), len(self.master.weights))
        terms = self.master.weights[None] if self.in_place else self.world.memory.array(size, self.format.dtype)
        self.terms = dict(zip(self.workers.tolist(), terms, strict=True))
        self.of_slice = terms[:, self.slice]  # (workers of this node, weights that this rank adds up)

    def term(self, worker: int) -> np.ndarray:
        return self.terms[worker]

    def merge(self, counts: Counts, requests: Requests, numbers: np.ndarray) -> Merged:
        round_ = Round(counts, self.master.exponent, numbers)  # of the terms that are there now
        self.board[self.world.node.rank] = self.notes.hand_over(requests).row
        waited = self.barrier()
        told = together(self.board.tolist())
        if self.at_once:
            self.add_and_move(round_, told)
            return self.moved(told, waited + self.barrier())
        if self.how.overlap:
            done = self.reduction
            waited += self.land(done)
            self.reduction = self.send(round_, told)
        else:
            done = self.send(round_, told)
            waited += self.land(done)
        return self.landed(waited) if done else Merged(waited=waited + self.barrier())

    def settle(self) -> Merged:
        done, self.reduction = self.reduction, None
        return self.landed(self.land(done)) if done else Merged()

    def barrier(self) -> float:
        """Wait for the ranks of the node; return for how many seconds."""
        start = perf_counter()
        self.world.node.Barrier()
        waited = perf_counter() - start
        if self.timeline.active:
            self.timeline.note(Kind.WAITING, start, start + waited)
        return waited

    def add_and_move(self, round_: Round, told: Told) -> None:
        """Add up the terms of this rank's slice, and move the master there. All workers are of this node."""
        if self.in_place:
            return
        counts, share = round_.counts.workers, self.format.share(round_.exponent, round_.counts.all)
        numbers = self.numbers(round_, told)
        self.merger.merge(self.how.rule, self.weights, self.moments, self.of_slice, counts, share, numbers)

    def send(self, round_: Round, told: Told) -> Reduction:
        """Add up the terms of this rank's slice, and hand the sums over to the ranks of other nodes, if there are.

        told: by the node's ranks.
        """
        comm, travelling = None, None
        if self.has_slice:
            self.sums[:-NOTES] = 0
            told.write(self.sums[-NOTES:])
            self.merger.add(self.sums[:-NOTES], self.of_slice, round_.counts.workers[self.workers])
        if self.has_slice and self.world.nodes > 1:
            comm, travelling = self.world.across, self.known(self.sums, self.of_slice, round_.counts)
        return Reduction(comm, self.world.nodes, self.sums, round_, self.how.overlap, travelling, self.timeline)

    def land(self, done: Reduction | None) -> float:
        """Move this rank's slice of the master; return for how many seconds it waited for sums."""
        if done is None:
            return 0.0
        waited = done.wait()
        if self.has_slice:
            told = read_notes(done.sums[-NOTES:])
            self.move(self.weights, self.moments, done, told)
            if self.world.node.rank == 0:
                self.told[self.turn] = told.row
        return waited

    def landed(self, waited: float) -> Merged:
        """Wait for the ranks of the node, which have moved their slices; return what that merge told."""
        waited += self.barrier()
        told = together([self.told[self.turn].tolist()])
        self.turn = 1 - self.turn  # a rank may land the next merge before another has read of this one
        return self.moved(told, waited)


def choose(
    name: str, world: World, how: Merging, master: Master, assignment: list[range], timeline: Timeline
) -> Exchange:
    """Return the exchange `name`; 'auto' takes shared memory where there is room.

    The exchange begins with a copy of the master, which is equal on all ranks. Raises UsageError, on every rank, where
    shared memory is asked for and cannot be had.
    """
    problem = ""
    if name != "allreduce":
        mine = shared_memory_problem(world, how.format, master, assignment)
        problem = next(filter(None, world.comm.allgather(mine)), "")
    if name == "shared-memory" and problem:
        raise UsageError(f"--exchange shared-memory: {problem}; take --exchange allreduce").on_every_rank()
    chosen = AllreduceExchange if name == "allreduce" or problem else SharedMemoryExchange
    return chosen(world, how, master, assignment, timeline)


def shared_memory_problem(world: World, form: Format, master: Master, assignment: list[range]) -> str:
    """Return why the ranks of this node cannot merge through memory that they share, or an empty string."""
    if world.fault_tolerant:
        return "ranks may be lost, and a window with them"
    workers = sum(len(assignment[rank]) for rank in world.node_ranks)
    size = len(master.weights) * (workers * np.dtype(form.dtype).itemsize + 4 + 4 * len(master.moments))
    if size > MOST or (world.node.size > 1 and size > shared_memory_free()):
        return f"{world.host}: no room for {size >> 20} MB of workers' terms in shared memory"
    return ""
