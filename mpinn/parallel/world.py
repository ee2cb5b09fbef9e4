"""The ranks of a run: who they are, where they run, and what goes on after one of them is lost."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from mpinn.parallel import mpi_library
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.shared_memory import SharedMemory
from mpinn.system.errors import MpinnError, UsageError

Value = TypeVar("Value")
NOTICE = 2.0  # seconds in which the loss of a rank is known to all
LOOK = 0.01  # seconds between two looks of a rank that rests
LOSSES = [
    getattr(MPI, name) for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED") if hasattr(MPI, name)
]


class Member(NamedTuple):
    """A rank, by the number that it had at the start, and its host."""

    rank: int
    host: str


class World:
    """All ranks, and those that share this rank's memory (its node)."""

    def __init__(self, comm: Any, node: Any = None) -> None:
        """comm: all ranks; node: those of this one's node, if not those that can share its memory."""
        self.fault_tolerant = False  # whether the others go on when a rank is lost
        self.start_rank: int = comm.rank
        self.start_size: int = comm.size
        self.resting = 0  # ranks that were started and do not learn
        self.adopt(comm, node)
        self.home = self.members[0].host  # of rank 0, and so of the files that it writes

    def adopt(self, comm: Any, node: Any = None) -> None:
        """Make these ranks the world. Every one of them calls it."""
        self.comm = comm
        self.rank: int = comm.rank
        self.size: int = comm.size
        self.node = node or comm.Split_type(MPI.COMM_TYPE_SHARED)
        leaders = comm.Split(0 if self.node.rank == 0 else MPI.UNDEFINED, self.rank)
        self.memory = SharedMemory(comm, self.node, leaders)
        self.memory.outlives_ranks = self.fault_tolerant
        self.node_ranks: list[int] = self.node.allgather(self.rank)  # the ranks of this node
        sizes = comm.allgather(self.node.size)
        self.nodes = round(sum(1 / size for size in sizes))
        self.slices = min(sizes)  # of a node's work between nodes: each of its first ranks has one
        place = self.node.rank if self.node.rank < self.slices else MPI.UNDEFINED
        self.across = comm.Split(place, self.rank)  # the ranks that have this one's slice on other nodes, if it has one
        self.members: list[Member] = [Member(*one) for one in comm.allgather((self.start_rank, self.host))]

    @classmethod
    def start(cls) -> "World":
        """Start MPI. Raises UsageError where the launcher and mpi4py do not belong together."""
        mpi_library.start()
        return cls(MPI.COMM_WORLD)

    @property
    def host(self) -> str:
        """The name of this node."""
        return platform.node()

    @property
    def started(self) -> int:
        """How many ranks the launcher started."""
        return self.size + self.resting

    @property
    def root(self) -> bool:
        """Whether this is rank 0, the only one that prints, reads and writes files."""
        return self.rank == 0

    def learners(self) -> "World | None":
        """Return the world of the ranks that learn, of each node as many as it has cores; None on those that rest."""
        cores = set[int]().union(*self.node.allgather(os.sched_getaffinity(0)))
        learns = self.node.rank < len(cores)
        comm = self.comm.Split(0 if learns else MPI.UNDEFINED, self.rank)
        if not learns:
            return None
        world = World(comm)
        world.resting = self.size - world.size
        return world

    def rest(self) -> None:
        """Sleep, and take no core's time, until the ranks that learn call `wake`."""
        meeting = self.comm.Ibarrier()
        while not meeting.Test():
            time.sleep(LOOK)

    def wake(self, learners: "World") -> None:
        """Let the ranks that rest go on: those that learn have come to their end, and every one of them calls it."""
        if learners is not self:
            learners.memory.free()
            self.comm.Ibarrier().Wait()

    def tolerate_faults(self) -> None:
        """From here on a lost rank is an exception. Raises UsageError, on every rank, where this MPI ends all."""
        if not mpi_library.survives():
            raise UsageError(
                "--fault-tolerance ulfm needs Open MPI 5 with ULFM, mpi4py 4.1 and mpirun --with-ft ulfm; "
                "python -m mpinn.launch --fault-tolerance ulfm starts it so"
            ).on_every_rank()
        self.fault_tolerant = self.memory.outlives_ranks = True

    def shrink(self) -> None:
        """Go on with the ranks that are left; those of rank 0's host come first.

        Every one of them calls it, wherever it was, and again if one more is lost meanwhile.
        """
        self.comm.Revoke()
        self.adopt(self.comm.Shrink().Split(0, self.host != self.home))

    def agree(self) -> None:
        """Where ranks may be lost, raise MPI.Exception on every rank if one was, or on none.

        Use the result of a collective only after it: where a rank is lost meanwhile, some ranks may have garbage and no
        error.
        """
        if self.fault_tolerant:
            self.comm.Agree(1)

    def is_loss(self, error: Exception) -> bool:
        """Return whether a lost rank explains the error, noticed here or by another rank first."""
        if not self.fault_tolerant:
            return False
        if isinstance(error, MPI.Exception) and error.Get_error_class() in LOSSES:
            return True
        deadline = time.monotonic() + NOTICE
        while time.monotonic() < deadline:  # garbage that cannot be unpickled, say
            if self.comm.Is_revoked() or self.comm.Get_failed().size:
                return True
            time.sleep(NOTICE / 100)
        return False

    def on_root(self, work: Callable[[], Value]) -> Value:
        """Do `work` on rank 0 and return its value on every rank; an MpinnError that it raises is raised on all."""
        value, error = None, None
        if self.root:
            try:
                value = work()
            except MpinnError as raised:
                error = raised
        value, error = self.comm.bcast((value, error))
        if error:
            raise error.on_every_rank()
        return value

    def on_all(self, work: Callable[[], Value]) -> Value:
        """Do `work` on every rank and return its value; an MpinnError that any of them raises is raised on all."""
        value, error = None, None
        try:
            value = work()
        except MpinnError as raised:
            error = raised
        errors = [raised for raised in self.comm.allgather(error) if raised]
        if errors:
            raise errors[0].on_every_rank()
        return value  # type: ignore[return-value]

    @contextmanager
    def borrowed_memory(self) -> Iterator[None]:
        """Free, at the end, the shared memory that was allocated within. Every rank calls it."""
        kept = len(self.memory.windows)
        yield
        self.memory.free(kept)

    def stop(self) -> None:
        """Free shared memory and stop MPI. Every rank calls it, last of all.

        After a loss Open MPI's Finalize sometimes does not end; under --with-ft to leave without it is no failure.
        """
        self.memory.free()
        if self.size == self.start_size:
            MPI.Finalize()

    def abort(self, status: int) -> None:
        """End every rank now."""
        self.comm.Abort(status)
