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
from mpinn.parallel.passing_on import PassingOn
from mpinn.parallel.reduction import Reduction, Round
from mpinn.parallel.schedule import Counts
from mpinn.parallel.shared_memory import shared_memory_free
from mpinn.parallel.stop_requests import Requests
from mpinn.parallel.timeline import Kind, Timeline
from mpinn.parallel.travelling import Travelling
from mpinn.parallel.world import World
from mpinn.system.errors import UsageError

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
        self.workers = range(0)  # of this rank
        self.workers_everywhere = True  # on every rank or node that sends sums
        self.own = np.empty(0)  # (parameters,) of the format: the sum of this rank's terms of the round
        self.empty = True  # whether none of this rank's workers has stored yet
        self.terms = np.empty((0, 0))  # (workers of this rank, parameters), to overlap: what each has given last
        self.reduction: Reduction | None = None  # of the round whose merge is under way
        self.ahead = np.empty(len(master.weights) if how.overlap else 0, np.float32)
        self.begun: np.ndarray | None = None  # from which what the worker that started last gives is a step
        self.notes = Notes()

    @abstractmethod
    def reassign(self, assignment: list[range]) -> None:
        """From the next round on the ranks have these workers. Every rank calls it, with no merge under way."""

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
        array = self.term(worker) if self.how.overlap else self.own
        term = self.format.term(array, self.begun, exponent, count, counts.all)
        term.adds = not (self.how.overlap or self.empty)
        return term

    def term(self, worker: int) -> np.ndarray:
        """Return where a worker of this rank has its term, to overlap, (parameters,)."""
        return self.terms[worker - self.workers.start]

    def stored(self, worker: int, counts: Counts, term: Term, loss: int) -> None:
        """A worker has written its term; loss: of its exemplars, in `losses.UNIT`."""
        self.notes.take(*term.found, loss, self.master.exponent)
        if self.how.overlap:
            if self.empty:
                self.own[:] = term.array
            else:
                self.merger.add(self.own, term.array[None], counts.workers[worker : worker + 1])
        self.empty = False

    def hand_over(self) -> None:
        """The round's terms are all there: the next that is stored begins another sum."""
        if self.empty:
            self.own[:] = 0
        self.empty = True

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
        self.empty = True
        self.notes.clear()

    def go_back(self, master: Master) -> None:
        """Go on from another master, the same on all ranks. All call it, once none reads the old one any more."""
        self.master.become(master)

    def known(self, sums: np.ndarray, here: int, counts: Counts) -> Travelling | None:
        """Write to `sums`, of so many workers here, what need not travel; return what must, or None: all of it."""
        alike = int(counts.workers[0]) * len(counts.workers) == counts.all
        if self.travelling is None or not (alike and self.workers_everywhere):
            return None
        self.travelling.fill(sums, here, len(counts.workers))
        return self.travelling

    def move(self, weights: np.ndarray, moments: np.ndarray, sums: np.ndarray, round_: Round, told: Told) -> None:
        """Move a part of the master by the sums of its terms."""
        if self.how.compares:
            round_.numbers[-1] = 0 < self.master.loss < told.loss
        share = self.format.share(round_.exponent, round_.counts.all)
        self.merger.move(self.how.rule, weights, moments, sums, share, round_.numbers)

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
        self.own = self.sums[:-NOTES]
        self.reassign(assignment)

    def reassign(self, assignment: list[range]) -> None:
        self.workers = assignment[self.world.rank]
        self.workers_everywhere = all(assignment)
        rows = len(self.workers) if self.how.overlap else 0
        self.terms = np.empty((rows, len(self.master.weights)), self.format.dtype)

    def merge(self, counts: Counts, requests: Requests, numbers: np.ndarray) -> Merged:
        exponent = self.master.exponent
        earlier = self.settle()
        self.hand_over()
        self.notes.hand_over(requests).write(self.sums[-NOTES:])
        travelling = self.known(self.sums[:-NOTES], len(self.workers), counts)
        round_ = Round(counts, exponent, numbers)
        self.reduction = Reduction(
            self.world.comm, self.world.nodes, self.sums, round_, self.how.overlap, travelling, self.timeline
        )
        self.sums, self.others = self.others, self.sums
        self.own = self.sums[:-NOTES]
        return earlier if self.how.overlap else self.settle()

    def settle(self) -> Merged:
        done, self.reduction = self.reduction, None
        if done is None:
            return Merged()
        waited = done.wait()
        told = read_notes(done.sums[-NOTES:])
        self.move(self.master.weights, self.master.moments, done.sums[:-NOTES], done.round, told)
        return self.moved(told, waited)


class SharedMemoryExchange(Exchange):
    """Every rank's sum of terms lies in memory that the ranks of its node share, and so does the master.

    Each rank has a slice of the weights: there it adds up the sums of the node's ranks, and moves the master. Where
    there are several nodes, the ranks of a slice add up their sums by Allreduce in between; nodes that have more ranks
    than the smallest leave some of them without a slice. Two barriers a round: all have learned, all have moved. (A
    barrier's messages order what was written before it and read after it.)

    Where that is faster, what others will read is made in a rank's own memory, and passed on (`parallel.passing_on`).
    """

    name = "shared-memory"
    medium = "memory that ranks share"

    def __init__(self, world: World, how: Merging, master: Master, assignment: list[range], timeline: Timeline) -> None:
        memory, size = world.memory, len(master.weights)
        weights = memory.array(master.weights.shape, np.float32)
        moments = memory.array(master.moments.shape, np.float32)
        shared = Master(weights, moments, master.momentum, master.exponent)
        line = LINE // np.dtype(how.format.dtype).itemsize
        lines = -(-size // line)
        mine = [min(world.node.rank + i, world.slices) for i in (0, 1)]
        first, last = (min(line * (lines * place // world.slices), size) for place in mine)
        self.slice = slice(first, last)
        self.has_slice = world.node.rank < world.slices
        super().__init__(world, how, shared, timeline, self.slice)
        self.board = memory.array((world.node.size, ROW), np.int64)  # what the node's ranks tell
        self.told = memory.array((2, ROW), np.int64)  # and all ranks, two rounds in turn
        self.turn = 0
        # One worker's weights are the next master's; where no other rank reads that meanwhile, they go there at once.
        self.in_place = how.format.dtype == np.float32 and how.rule == "mean" and world.size == 1
        self.sums = np.zeros(last - first + NOTES, how.format.dtype)  # of a slice's terms, then of notes
        self.of_ranks = memory.array((world.node.size, line * lines), how.format.dtype)
        self.own = weights if self.in_place else self.of_ranks[world.node.rank, :size]
        self.weights = weights[self.slice]  # that this rank moves
        self.others = np.ones(world.node.size, int)  # ranks of the node
        self.others[world.node.rank] = 0
        self.passing_on = PassingOn()
        self.private = np.empty_like(self.own), np.empty_like(self.weights)  # for what is passed on
        self.moments = moments[:, self.slice]
        if world.node.rank == 0:
            self.master.become(master)
        self.reassign(assignment)

    def reassign(self, assignment: list[range]) -> None:
        self.workers = assignment[self.world.rank]
        self.workers_here = sum(len(assignment[rank]) for rank in self.world.node_ranks)
        self.workers_everywhere = self.world.nodes == 1 or self.world.comm.allreduce(self.workers_here > 0, MPI.LAND)
        rows = len(self.workers) if self.how.overlap else 0
        self.terms = np.empty((rows, len(self.master.weights)), self.format.dtype)
        self.world.node.Barrier()

    def go_back(self, master: Master) -> None:
        super().go_back(master)
        self.weights[:] = master.weights[self.slice]

    def write_past_caches(self, past: bool) -> None:
        """From now on make sums and master in this rank's own memory, and pass them on; or where others read them."""
        if past:
            self.own, self.weights = self.private
            self.weights[:] = self.master.weights[self.slice]
        else:
            self.own = self.of_ranks[self.world.node.rank, : len(self.own)]
            self.weights = self.master.weights[self.slice]

    def merge(self, counts: Counts, requests: Requests, numbers: np.ndarray) -> Merged:
        merged = self.merge_round(Round(counts, self.master.exponent, numbers), requests)
        if self.world.node.size > 1:
            before = self.passing_on.past
            if self.passing_on.next_round() != before:
                self.write_past_caches(not before)
        return merged

    def merge_round(self, round_: Round, requests: Requests) -> Merged:
        """Move the master; round_: of the terms that are there now."""
        self.hand_over()
        self.board[self.world.node.rank] = self.notes.hand_over(requests).row
        waited = self.barrier()
        told = together(self.board.tolist())
        if self.world.nodes == 1 and not self.how.overlap:
            if not self.in_place:
                self.move_slice(self.summed(), round_, told)
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

    def hand_over(self) -> None:
        """Pass on what ranks with other slices add up."""
        super().hand_over()
        if self.passing_on.past:
            self.passing_on.begin()
            row, first, last = self.of_ranks[self.world.node.rank], self.slice.start, self.slice.stop
            self.merger.pass_on(row[:first], self.own[:first])
            self.merger.pass_on(row[last : len(self.own)], self.own[last:])
            self.passing_on.end()

    def summed(self) -> np.ndarray:
        """Return the sums of this rank's slice over all ranks of the node, in memory that is used again."""
        sums = self.own[self.slice]
        if self.world.node.size > 1:
            self.merger.add(sums, self.of_ranks[:, self.slice], self.others)
        return sums

    def move_slice(self, sums: np.ndarray, round_: Round, told: Told) -> None:
        """Move this rank's slice of the master."""
        self.passing_on.begin()
        self.move(self.weights, self.moments, sums, round_, told)
        if self.passing_on.past:
            self.merger.pass_on(self.master.weights[self.slice], self.weights)
        self.passing_on.end()

    def send(self, round_: Round, told: Told) -> Reduction:
        """Add up the terms of this rank's slice, and hand the sums over to the ranks of other nodes, if there are.

        told: by the node's ranks.
        """
        comm, travelling = None, None
        if self.has_slice:
            self.sums[:-NOTES] = self.summed()
            told.write(self.sums[-NOTES:])
        if self.has_slice and self.world.nodes > 1:
            comm, travelling = self.world.across, self.known(self.sums, self.workers_here, round_.counts)
        return Reduction(comm, self.world.nodes, self.sums, round_, self.how.overlap, travelling, self.timeline)

    def land(self, done: Reduction | None) -> float:
        """Move this rank's slice of the master; return for how many seconds it waited for sums."""
        if done is None:
            return 0.0
        waited = done.wait()
        if self.has_slice:
            told = read_notes(done.sums[-NOTES:])
            self.move_slice(done.sums[:-NOTES], done.round, told)
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
        mine = shared_memory_problem(world, how.format, master)
        problem = next(filter(None, world.comm.allgather(mine)), "")
    if name == "shared-memory" and problem:
        raise UsageError(f"--exchange shared-memory: {problem}; take --exchange allreduce").on_every_rank()
    chosen = AllreduceExchange if name == "allreduce" or problem else SharedMemoryExchange
    return chosen(world, how, master, assignment, timeline)


def shared_memory_problem(world: World, form: Format, master: Master) -> str:
    """Return why the ranks of this node cannot merge through memory that they share, or an empty string."""
    if world.fault_tolerant:
        return "ranks may be lost, and a window with them"
    size = len(master.weights) * (world.node.size * np.dtype(form.dtype).itemsize + 4 + 4 * len(master.moments))
    if world.node.size > 1 and size > shared_memory_free():
        return f"{world.host}: no room for {size >> 20} MB of ranks' sums in shared memory"
    return ""
