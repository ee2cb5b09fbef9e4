"""`python -m mpinn.launch --host NAME -n 16 -- --epochs 5`: run training as a host profile asks.

The profile says how many ranks a host takes, whether they may share cores, how they wait, where they are bound;
this turns that into the options of the MPI in use: Open MPI 4 or 5, MPICH, or srun within a SLURM allocation.
"""

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

from mpinn import restart
from mpinn.cli import Parser, run_command
from mpinn.errors import UsageError
from mpinn.hosts.launcher import Launcher, find_launcher
from mpinn.hosts.library import DETECTED, find
from mpinn.hosts.profile import Mpi
from mpinn.one_thread import VARIABLES

VENDORS = {"openmpi": "Open MPI", "mpich": "MPICH"}
KEEPALIVE = {"time": 4, "intvl": 1, "probes": 4}  # of Open MPI's daemons: a silent host is noticed after 8 seconds
SLURM_PLUGINS = {"openmpi": "pmix", "mpich": "pmi2"}


def hosts_in(hostfile: Path | None) -> int:
    """Return the number of hosts in a hostfile, 1 without one. Raises UsageError."""
    if hostfile is None:
        return 1
    try:
        lines = hostfile.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{hostfile}: cannot be read: {error}; python -m mpinn.hosts hostfile makes one") from None
    hosts = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not hosts:
        raise UsageError(f"{hostfile}: no hosts; python -m mpinn.hosts hostfile makes one")
    return len(hosts)


def check_ranks(mpi: Mpi, ranks: int, hosts: int) -> None:
    """Raise UsageError for more ranks than the profile finds worth running on so many hosts."""
    if ranks > mpi.max_ranks * hosts:
        raise UsageError(
            f"-n {ranks}: the host profile allows {mpi.max_ranks} ranks a host, on {hosts}: take "
            f"-n {mpi.max_ranks * hosts} with --workers {ranks}, or --force"
        )


def check_vendor(launcher: Launcher) -> None:
    """Raise UsageError where mpi4py belongs to another MPI than the launcher."""
    from mpinn.parallel.world import library, vendor

    if vendor() != VENDORS[launcher.vendor]:
        raise UsageError(
            f"{launcher.path} is {VENDORS[launcher.vendor]}'s, but mpi4py belongs to {library()}: activate the "
            "environment that has both, or install mpi4py for this MPI"
        )


def threads() -> dict[str, str]:
    """Return the variables that give every rank one BLAS thread, unless the user says otherwise."""
    return {name: os.environ.get(name, "1") for name in VARIABLES}


def open_mpi(mpi: Mpi, launcher: Launcher, ranks: int, hostfile: Path | None) -> list[str]:
    """Return the mpirun line of Open MPI. Versions 4 and 5 take the same words.

    Over several hosts ranks go round them in turn: by slot, version 5 would put all of them on the first. On this
    host there are said to be as many slots as ranks: an Open MPI that knows of too few yields, whatever it is told.
    """
    shared = ranks > mpi.slots * hosts_in(hostfile)
    if hostfile:
        policy = "node:OVERSUBSCRIBE" if mpi.oversubscribe.allowed else "node"
        hosts = ["--hostfile", str(hostfile), "--map-by", policy]
        for name, value in KEEPALIVE.items():
            hosts += ["--mca", f"oob_tcp_keepalive_{name}", str(value)]
    else:
        hosts = ["--host", f"localhost:{ranks}", "--map-by", "slot" if shared else mpi.map_by]
    return [
        *(str(launcher.path), "-n", str(ranks)),
        *hosts,
        *("--bind-to", "none" if shared else mpi.bind_to),
        *("--mca", "mpi_yield_when_idle", str(int(mpi.wait_policy == "yield"))),
        *(word for name, value in threads().items() for word in ("-x", f"{name}={value}")),
    ]


def mpich(mpi: Mpi, launcher: Launcher, ranks: int, hostfile: Path | None) -> list[str]:
    """Return the mpirun line of MPICH, which has no wait policy to set and shares cores without being told."""
    shared = ranks > mpi.slots * hosts_in(hostfile)
    return [
        *(str(launcher.path), "-n", str(ranks)),
        *(("-f", str(hostfile)) if hostfile else ()),
        *("-bind-to", "none" if shared else mpi.bind_to),
        *(word for name, value in threads().items() for word in ("-genv", name, value)),
    ]


def slurm(mpi: Mpi, launcher: Launcher, ranks: int) -> list[str]:
    """Return the srun line within a SLURM allocation, whose hosts it uses; SLURM passes the environment on."""
    shared = ["--overcommit"] if mpi.oversubscribe.allowed else []
    policy = f"OMPI_MCA_mpi_yield_when_idle={int(mpi.wait_policy == 'yield')}"
    variables = [f"{name}={value}" for name, value in threads().items()] + [policy]
    return ["srun", f"--ntasks={ranks}", f"--mpi={SLURM_PLUGINS[launcher.vendor]}", *shared, "env", *variables]


def line(mpi: Mpi, launcher: Launcher, ranks: int, hostfile: Path | None, program: list[str]) -> list[str]:
    """Return the command that runs a program, given as its words, on every rank."""
    if "SLURM_JOB_ID" in os.environ and hostfile is None:
        start = slurm(mpi, launcher, ranks)
    else:
        start = (open_mpi if launcher.vendor == "openmpi" else mpich)(mpi, launcher, ranks, hostfile)
    return [*start, *program]


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m mpinn.launch",
        description="Run python -m mpinn.train under the MPI in use, as a host profile asks.",
        epilog="Example: python -m mpinn.launch --host banana-pi-m3 -n 16 -- --merge block-momentum --worker-batch 25",
    )
    parser.add_argument("--host", default=DETECTED, metavar="NAME", help="host profile (default: this machine's)")
    parser.add_argument("-n", type=int, metavar="RANKS", help="ranks (default: the profile's slots on every host)")
    parser.add_argument("--hostfile", type=Path, metavar="FILE", help="hosts, as mpinn.hosts hostfile writes them")
    parser.add_argument("--force", action="store_true", help="run more ranks than the profile allows")
    parser.add_argument(
        "--fault-tolerance",
        choices=("off", "restart", "ulfm"),
        default="off",
        help="when a rank is lost: off, the job ends; restart, it goes on from the last snapshot, with the hosts that "
        "still answer; ulfm, the other ranks go on (Open MPI 5)",
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=10,
        metavar="N",
        help="start the job again at most N times (default: 10; under ulfm only with --checkpoint)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the command and stop")
    parser.add_argument("options", nargs="*", metavar="-- TRAIN OPTIONS", help="see python -m mpinn.train --help")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Become the launcher, so that signals and the exit status are its own; or, to restart, stand above it.

    Raises UsageError, MpinnError.
    """
    asked = parser().parse_args(arguments)
    mpi = find(asked.host).mpi
    hosts = hosts_in(asked.hostfile)
    ranks = mpi.slots * hosts if asked.n is None else asked.n
    if ranks < 1:
        raise UsageError(f"-n {ranks}: at least 1 rank")
    launcher = find_launcher()
    check_vendor(launcher)
    if not asked.force:
        check_ranks(mpi, ranks, hosts)
    if asked.restarts < 0:
        raise UsageError(f"--restarts {asked.restarts}: at least 0")
    saving = restart.place_of_snapshots(asked.options)
    if asked.fault_tolerance == "restart" and saving is None:
        raise UsageError("--fault-tolerance restart needs --checkpoint DIR among the training options, to go on from")
    if asked.fault_tolerance == "ulfm" and launcher.vendor != "openmpi":
        raise UsageError("--fault-tolerance ulfm needs Open MPI 5; restart does with any MPI")

    def command(hostfile: Path | None, options: list[str], *variables: str) -> list[str]:
        """Return the launcher's command line; lost hosts' ranks go to the others, as far as the profile allows."""
        most = mpi.max_ranks * hosts_in(hostfile)
        program = [*(("env", *variables) if variables else ()), sys.executable, "-m", "mpinn.train", *options]
        if asked.fault_tolerance != "off":
            program += ["--fault-tolerance", asked.fault_tolerance]
        words = line(mpi, launcher, ranks if asked.force else min(ranks, most), hostfile, program)
        return [words[0], "--with-ft", "ulfm", *words[1:]] if asked.fault_tolerance == "ulfm" else words

    first = command(asked.hostfile, asked.options)
    if asked.dry_run:
        print(shlex.join(first))
        return
    sys.stdout.flush()
    if asked.fault_tolerance != "off" and saving and asked.restarts:
        with tempfile.TemporaryDirectory(prefix="mpinn-") as scratch:
            sys.exit(restart.supervise(command, asked.hostfile, asked.options, saving, asked.restarts, Path(scratch)))
    os.execvp(first[0], first)


if __name__ == "__main__":
    run_command(main)
