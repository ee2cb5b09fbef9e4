"""How the ranks' workers become one master: through shared memory within a node, or by Allreduce of whole vectors.

The mean is exact, so the two give the same bits; they differ in what is moved, and how often it is read.
"""

from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from mpinn.kernels import Kernel
from mpinn.merging import mean
from mpinn.merging.master import Master
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.shared_memory import shared_memory_free
from mpinn.parallel.stop_requests import SLOTS, Requests
from mpinn.parallel.world import World
from mpinn.system.errors import UsageError

MOST = 2**27  # bytes of workers' weights that a node holds at once
LINE = 16  # float32 of a cache line: no two ranks write to one


class Merged(NamedTuple):
    """What the merge of one round returned."""

    requests: Requests  # of all ranks
    waited: float  # seconds that this rank was in collectives


class Exchange(Protocol):
    """Holds the master, and moves it once a round. Between rounds all ranks have the same master, bit for bit."""

    name: str  # as --exchange takes it
    medium: str  # what ranks merge through, in words
    master: Master

    def reassign(self, assignment: list[range]) -> None:
        """From the next round on the ranks have these workers. Every rank calls it."""

    def buffer(self, worker: int) -> np.ndarray:
        """Return where a worker of this rank stores the weights that it learns, (parameters,) float32."""

    def stored(self, worker: int, counts: np.ndarray) -> None:
        """The worker has stored its weights. counts (workers,) int64: exemplars of each worker in the round."""

    def forget(self) -> None:
        """What this rank's workers stored in the round will not be merged: the round will be done again."""

    def merge(self, counts: np.ndarray, requests: np.ndarray) -> Merged:
        """Move the master, once all workers of the round have stored; requests (SLOTS,) float64, of this rank.

        Where a weight is not a number or beyond the limit, the requests returned say `diverged`, and the master is
        useless.
        """


class AllreduceExchange:
    """Every rank sums its workers' terms in its own memory; one Allreduce of the whole vector adds up the ranks'.

    The plain form: nodes may differ, and more workers take no more memory.
    """

    name = "allreduce"
    medium = "Allreduce"

    def __init__(self, world: World, rule: str, kernel: Kernel, master: Master) -> None:
        self.world, self.rule, self.merger = world, rule, kernel.merger
        self.master = master.copy()
        self.weights = np.empty((1, len(master.weights)), np.float32)
        self.sums = np.zeros(len(master.weights) + SLOTS)  # the terms of the mean, then requests

    def reassign(self, assignment: list[range]) -> None:
        pass  # nothing here depends on it

    def forget(self) -> None:
        self.sums[:] = 0

    def buffer(self, worker: int) -> np.ndarray:
        return self.weights[0]

    def stored(self, worker: int, counts: np.ndarray) -> None:
        constant = mean.rounding_constant(int(counts.sum()))
        good = self.merger.add_rounded(
            self.sums[:-SLOTS], self.weights, counts[worker : worker + 1], constant, mean.LIMIT
        )
        self.sums[-SLOTS] += not good

    def merge(self, counts: np.ndarray, requests: np.ndarray) -> Merged:
        self.sums[-SLOTS:] += requests
        start = perf_counter()
        self.world.comm.Allreduce(MPI.IN_PLACE, self.sums)
        waited = perf_counter() - start
        asked = Requests(*self.sums[-SLOTS:])
        master = self.master
        self.merger.move_master(
            self.rule, master.weights, master.moments, self.sums[:-SLOTS], int(counts.sum()), master.momentum
        )
        self.sums[:] = 0
        return Merged(asked, waited)


class SharedMemoryExchange:
    """Every worker's weights lie in memory that the ranks of its node share, and so does the master.

    Each rank has a slice of the weights: there it adds up all of the node's workers, and moves the master. Where there
    are several nodes, the ranks of a slice add up their sums by Allreduce in between. Two barriers a round: all have
    learned, all have moved. (A barrier's messages order what was written before it and read after it.)
    """

    name = "shared-memory"
    medium = "memory that ranks share"

    def __init__(self, world: World, rule: str, kernel: Kernel, master: Master, assignment: list[range]) -> None:
        self.world, self.rule, self.merger = world, rule, kernel.merger
        memory = world.memory
        weights = memory.array(master.weights.shape, np.float32)
        self.master = Master(weights, memory.array(master.moments.shape, np.float32), master.momentum)
        self.board = memory.array((2, world.node.size, SLOTS), np.float64)  # of ranks, two rounds in turn
        self.turn = 0
        lines = -(-len(weights) // LINE)
        first, last = (LINE * (lines * rank // world.node.size) for rank in (world.node.rank, world.node.rank + 1))
        self.slice = slice(first, min(last, len(weights)))
        self.sums = np.zeros(self.slice.stop - first + SLOTS)  # between nodes: the slice's terms, then requests
        if world.node.rank == 0:
            self.master.become(master)
        self.reassign(assignment)

    def reassign(self, assignment: list[range]) -> None:
        self.workers = np.array([w for rank in self.world.node_ranks for w in assignment[rank]], int)  # of this node
        self.row = {int(worker): row for row, worker in enumerate(self.workers)}
        self.vectors = self.world.memory.array((len(self.workers), len(self.master.weights)), np.float32)

    def buffer(self, worker: int) -> np.ndarray:
        return self.vectors[self.row[worker]]

    def stored(self, worker: int, counts: np.ndarray) -> None:
        pass  # it lies where it is wanted

    def forget(self) -> None:
        pass  # it will be written over

    def merge(self, counts: np.ndarray, requests: np.ndarray) -> Merged:
        board = self.board[self.turn]
        self.turn = 1 - self.turn  # a rank may be in the next round before another has read this one's
        board[self.world.node.rank] = requests
        waited = self.barrier()
        if self.world.nodes == 1:
            good = self.move_slice(counts)
            asked = board
        else:
            good, spent = self.move_slice_between_nodes(counts, board)
            waited += spent
            asked = self.sums[None, -SLOTS:].copy()
        board[self.world.node.rank, 0] = not good
        waited += self.barrier()
        return Merged(Requests(board[:, 0].sum(), *asked[:, 1:].sum(axis=0)), waited)

    def barrier(self) -> float:
        """Wait for the ranks of the node; return for how many seconds."""
        start = perf_counter()
        self.world.node.Barrier()
        return perf_counter() - start

    def move_slice(self, counts: np.ndarray) -> bool:
        """Move this rank's slice of the master; return whether all workers' weights there were good."""
        mine, master = self.slice, self.master
        return mine.start == mine.stop or self.merger.merge_workers(
            self.rule,
            master.weights[mine],
            master.moments[:, mine],
            self.vectors[:, mine],
            counts[self.workers],
            master.momentum,
            mean.rounding_constant(int(counts.sum())),
            mean.LIMIT,
        )

    def move_slice_between_nodes(self, counts: np.ndarray, board: np.ndarray) -> tuple[bool, float]:
        """As `move_slice`, and add up the nodes' requests in `sums`; return also the seconds in Allreduce."""
        mine, master = self.slice, self.master
        self.sums[:] = 0
        self.sums[-SLOTS:] = board.sum(axis=0)
        self.sums[-SLOTS] = not self.merger.add_rounded(
            self.sums[:-SLOTS],
            self.vectors[:, mine],
            counts[self.workers],
            mean.rounding_constant(int(counts.sum())),
            mean.LIMIT,
        )
        start = perf_counter()
        self.world.across.Allreduce(MPI.IN_PLACE, self.sums)
        spent = perf_counter() - start
        self.merger.move_master(
            self.rule,
            master.weights[mine],
            master.moments[:, mine],
            self.sums[:-SLOTS],
            int(counts.sum()),
            master.momentum,
        )
        return self.sums[-SLOTS] == 0, spent


def choose(
    name: str, world: World, rule: str, kernel: Kernel, master: Master, assignment: list[range]
) -> AllreduceExchange | SharedMemoryExchange:
    """Return the exchange `name`; 'auto' takes shared memory where nodes have equally many ranks, and room.

    The exchange begins with a copy of the master, which is equal on all ranks. Raises UsageError, on every rank, where
    shared memory is asked for and cannot be had.
    """
    problem = ""
    if name != "allreduce":
        mine = shared_memory_problem(world, master, assignment)
        problem = next(filter(None, world.comm.allgather(mine)), "")
    if name == "shared-memory" and problem:
        raise UsageError(f"--exchange shared-memory: {problem}; take --exchange allreduce").on_every_rank()
    if name == "allreduce" or problem:
        return AllreduceExchange(world, rule, kernel, master)
    return SharedMemoryExchange(world, rule, kernel, master, assignment)


def shared_memory_problem(world: World, master: Master, assignment: list[range]) -> str:
    """Return why the ranks of this node cannot merge through memory that they share, or an empty string."""
    if world.fault_tolerant:
        return "ranks may be lost, and a window with them"
    if not world.even:
        return "the nodes have different numbers of ranks"
    vectors = sum(len(assignment[rank]) for rank in world.node_ranks) + 1 + len(master.moments)
    size = vectors * master.weights.nbytes
    if size > MOST or (world.node.size > 1 and size > shared_memory_free()):
        return f"{world.host}: no room for {size >> 20} MB of workers' weights in shared memory"
    return ""
