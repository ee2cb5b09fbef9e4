"""Several nodes on one."""

from mpi4py import MPI

from mpinn.parallel.world import World


class Nodes(World):
    """A world in which ranks are taken to be on nodes of `size` ranks each."""

    def __init__(self, comm: MPI.Comm, size: int) -> None:
        super().__init__(comm, comm.Split(comm.rank // size, comm.rank))
