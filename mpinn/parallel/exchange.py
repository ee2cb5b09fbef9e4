"""How the ranks' workers become one master: through shared memory within a node, or by Allreduce of whole vectors.

The mean is exact, so the two give the same bits; they differ in what is moved, and how often it is read.
"""

from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from mpinn import merge
from mpinn.errors import UsageError
from mpinn.kernels import Kernel
from mpinn.parallel.world import MPI, World, shared_memory_free
from mpinn.requests import SLOTS, Requests

MOST = 2**27  # bytes of workers' weights that a node holds at once
LINE = 16  # float32 of a cache line: no two ranks write to one


class Merged(NamedTuple):
    """What came of the merge of one round."""

    requests: Requests  # of all ranks
    waited: float  # seconds that this rank was in collectives


class Exchange(Protocol):
    """The master, and how a round moves it. Between rounds all ranks see the same master, bit for bit."""

    name: str
    master: np.ndarray  # (parameters,) float32
    velocity: np.ndarray | None  # (parameters,) float32, of block momentum

    def reassign(self, assignment: list[range]) -> None:
        """From the next round on the ranks have these workers. Every rank calls it."""

    def place(self, worker: int) -> np.ndarray:
        """Return where the weights go that the worker, one of this rank's, learns: (parameters,) float32."""

    def take(self, worker: int, counts: np.ndarray) -> None:
        """The worker's weights are in their place. counts (workers,) int64: exemplars of each worker of the round."""

    def forget(self) -> None:
        """What this rank's workers have learned in the round will not be merged: it will be done again."""

    def merge(self, counts: np.ndarray, momentum: float, requests: np.ndarray) -> Merged:
        """Move the master, once all workers of the round have learned; requests (SLOTS,) float64, of this rank.

        Where a weight is no number or beyond the limit, the requests that come back say `diverged`, and the master is
        of no use.
        """


class Allreduce:
    """Every rank sums up its workers' terms in memory of its own; one Allreduce of the whole vector adds up the ranks'.

    The plain form: it asks nothing of the nodes, and takes no more memory for more workers.
    """

    name = "allreduce"

    def __init__(self, world: World, kernel: Kernel, master: np.ndarray, velocity: np.ndarray | None) -> None:
        self.world = world
        self.kernel = kernel
        self.master = master
        self.velocity = velocity
        self.weights = np.empty((1, len(master)), np.float32)
        self.sums = np.zeros(len(master) + SLOTS)  # the terms of the mean, then requests

    def reassign(self, assignment: list[range]) -> None:
        pass  # nothing here depends on it

    def forget(self) -> None:
        self.sums[:] = 0

    def place(self, worker: int) -> np.ndarray:
        return self.weights[0]

    def take(self, worker: int, counts: np.ndarray) -> None:
        constant = merge.rounding_constant(int(counts.sum()))
        good = self.kernel.merge.add_rounded(
            self.sums[:-SLOTS], self.weights, counts[worker : worker + 1], constant, merge.LIMIT
        )
        self.sums[-SLOTS] += not good

    def merge(self, counts: np.ndarray, momentum: float, requests: np.ndarray) -> Merged:
        self.sums[-SLOTS:] += requests
        start = perf_counter()
        self.world.comm.Allreduce(MPI.IN_PLACE, self.sums)
        waited = perf_counter() - start
        asked = Requests(*self.sums[-SLOTS:])
        self.kernel.merge.move_master(self.master, self.velocity, self.sums[:-SLOTS], int(counts.sum()), momentum)
        self.sums[:] = 0
        return Merged(asked, waited)


class SharedMemory:
    """Every worker's weights lie in memory that the ranks of its node share, and so does the master.

    Every rank takes a slice of the weights, adds up all of the node's workers there, and moves the master's. Where
    there are several nodes, the ranks of a slice add up their sums by Allreduce in between. Two barriers a round: all
    have learned, all have moved. (A barrier's messages order what was written before it and read after it.)
    """

    name = "shared-memory"

    def __init__(
        self, world: World, kernel: Kernel, master: np.ndarray, velocity: np.ndarray | None, assignment: list[range]
    ) -> None:
        self.world = world
        self.kernel = kernel
        self.master = world.node_array(master.shape, np.float32)
        self.velocity = None if velocity is None else world.node_array(master.shape, np.float32)
        self.board = world.node_array((2, world.node.size, SLOTS), np.float64)  # of ranks, two rounds in turn
        self.turn = 0
        lines = -(-len(master) // LINE)
        first, last = (LINE * (lines * rank // world.node.size) for rank in (world.node.rank, world.node.rank + 1))
        self.slice = slice(first, min(last, len(master)))
        self.sums = np.zeros(self.slice.stop - first + SLOTS)  # between nodes: the slice's terms, then requests
        if world.node.rank == 0:
            self.master[:] = master
            if self.velocity is not None:
                self.velocity[:] = velocity
        self.reassign(assignment)

    def reassign(self, assignment: list[range]) -> None:
        self.workers = np.array([w for rank in self.world.node_ranks for w in assignment[rank]], int)  # of this node
        self.row = {int(worker): row for row, worker in enumerate(self.workers)}
        self.vectors = self.world.node_array((len(self.workers), len(self.master)), np.float32)

    def place(self, worker: int) -> np.ndarray:
        return self.vectors[self.row[worker]]

    def take(self, worker: int, counts: np.ndarray) -> None:
        pass  # it lies where it is wanted

    def forget(self) -> None:
        pass  # it will be written over

    def merge(self, counts: np.ndarray, momentum: float, requests: np.ndarray) -> Merged:
        board = self.board[self.turn]
        self.turn = 1 - self.turn  # a rank may be in the next round before another has read this one's
        board[self.world.node.rank] = requests
        waited = self.meet()
        if self.world.nodes == 1:
            good = self.move_slice(counts, momentum)
            asked = board
        else:
            good, spent = self.move_slice_between_nodes(counts, momentum, board)
            waited += spent
            asked = self.sums[None, -SLOTS:].copy()
        board[self.world.node.rank, 0] = not good
        waited += self.meet()
        return Merged(Requests(board[:, 0].sum(), *asked[:, 1:].sum(axis=0)), waited)

    def meet(self) -> float:
        """Wait for the ranks of the node; return for how many seconds."""
        start = perf_counter()
        self.world.node.Barrier()
        return perf_counter() - start

    def move_slice(self, counts: np.ndarray, momentum: float) -> bool:
        """Move this rank's slice of the master; return whether all workers' weights there were good."""
        mine = self.slice
        return mine.start == mine.stop or self.kernel.merge.merge_workers(
            self.master[mine],
            None if self.velocity is None else self.velocity[mine],
            self.vectors[:, mine],
            counts[self.workers],
            momentum,
            merge.rounding_constant(int(counts.sum())),
            merge.LIMIT,
        )

    def move_slice_between_nodes(self, counts: np.ndarray, momentum: float, board: np.ndarray) -> tuple[bool, float]:
        """As `move_slice`, and add up the nodes' requests in `sums`; return also the seconds in Allreduce."""
        mine = self.slice
        self.sums[:] = 0
        self.sums[-SLOTS:] = board.sum(axis=0)
        self.sums[-SLOTS] = not self.kernel.merge.add_rounded(
            self.sums[:-SLOTS],
            self.vectors[:, mine],
            counts[self.workers],
            merge.rounding_constant(int(counts.sum())),
            merge.LIMIT,
        )
        start = perf_counter()
        self.world.across.Allreduce(MPI.IN_PLACE, self.sums)
        spent = perf_counter() - start
        self.kernel.merge.move_master(
            self.master[mine],
            None if self.velocity is None else self.velocity[mine],
            self.sums[:-SLOTS],
            int(counts.sum()),
            momentum,
        )
        return self.sums[-SLOTS] == 0, spent


def choose(
    name: str,
    world: World,
    kernel: Kernel,
    master: np.ndarray,
    velocity: np.ndarray | None,
    assignment: list[range],
) -> Exchange:
    """Return the exchange `name`; 'auto' takes shared memory where nodes have equally many ranks, and room.

    master, velocity (parameters,) float32, equal on all ranks. Raises UsageError, on every rank, where shared memory is
    asked for and cannot be had.
    """
    problem = "ranks may be lost, and a window with them" if world.mortal and name != "allreduce" else ""
    if name != "allreduce" and not problem:
        most_workers = sum(len(assignment[rank]) for rank in world.node_ranks)
        size = (most_workers + 2) * master.nbytes
        if not world.even:
            problem = "the nodes have different numbers of ranks"
        elif size > MOST or (world.node.size > 1 and size > shared_memory_free()):
            problem = f"{world.host}: no room for {size >> 20} MB of workers' weights in shared memory"
        problem = next(filter(None, world.comm.allgather(problem)), "")
    if name == "shared-memory" and problem:
        error = UsageError(f"--exchange shared-memory: {problem}; take --exchange allreduce")
        error.everywhere = True
        raise error
    if name == "allreduce" or problem:
        return Allreduce(world, kernel, master, velocity)
    return SharedMemory(world, kernel, master, velocity, assignment)
