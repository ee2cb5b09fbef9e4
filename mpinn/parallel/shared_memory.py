"""Memory that the ranks of one node share: the data set, one copy a node, and what they merge through."""

import logging
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mpinn.parallel.mpi_library import MPI

log = logging.getLogger("mpinn")

CHUNK = 2**30  # bytes of one broadcast: MPI counts are 32-bit


def shared_memory_free() -> int:
    """Return the bytes free in /dev/shm, where MPI keeps shared memory."""
    try:
        space = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return space.f_bavail * space.f_frsize


class SharedMemory:
    """Arrays that the ranks of a node share. All of a node's ranks call each method together."""

    def __init__(self, comm: Any, node: Any, leaders: Any) -> None:
        """comm: all ranks; node: those of this node; leaders: the first rank of every node, MPI.COMM_NULL elsewhere."""
        self.comm, self.node, self.leaders = comm, node, leaders
        self.outlives_ranks = False  # whether arrays must stay when a rank that shares them is lost
        self.windows: list[Any] = []

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array of zeros."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.node.size == 1 or size == 0:
            return np.zeros(shape, dtype)
        if self.outlives_ranks:
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
        """Return (size,) uint8 of zeros that stay for as long as any of the ranks lives.

        (An MPI window ends with the first of its ranks.) The file has no name any more once all ranks have mapped it.
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

    def share(self, array: np.ndarray | None) -> np.ndarray:
        """Return rank 0's array on every rank of every node, read-only.

        Where a node's /dev/shm is too small, every rank there has a copy of its own, with a warning.
        """
        shape, dtype = self.comm.bcast(None if array is None else (array.shape, array.dtype))
        size = int(np.prod(shape)) * dtype.itemsize
        fits = self.node.bcast(self.node.size == 1 or shared_memory_free() > size)
        if self.comm.size == 1 and array is not None:
            shared = array
        elif fits and self.node.size > 1:
            shared = self.array(shape, dtype)
            broadcast(shared, array, self.leaders)
            self.node.Barrier()
        else:
            if self.node.rank == 0 and not fits:
                said = "%s: /dev/shm has no room for %d MB: every rank has a copy of its own"
                log.warning(said, platform.node(), size >> 20)
            shared = np.empty(shape, dtype)
            broadcast(shared, array, self.leaders)
            broadcast(shared, shared if self.node.rank == 0 else None, self.node)
        shared.flags.writeable = False
        return shared

    def free(self, kept: int = 0) -> None:
        """Free all arrays but the first `kept`."""
        while len(self.windows) > kept:
            self.windows.pop().Free()


def broadcast(target: np.ndarray, source: np.ndarray | None, comm: Any) -> None:
    """Broadcast rank 0's source into every rank's target; not every rank of the world need have the communicator."""
    if comm == MPI.COMM_NULL:
        return
    if comm.rank == 0 and source is not target:
        target[...] = source
    flat = target.reshape(-1).view(np.uint8)
    for start in range(0, flat.size, CHUNK):
        comm.Bcast(flat[start : start + CHUNK])
