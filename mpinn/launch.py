"""`python -m mpinn.launch --host NAME -n 16 -- --epochs 5`: run training as a host profile asks.

The profile says how many ranks a host takes, whether they may share cores, how they wait, where they are bound;
`hosts.launcher` turns that into the options of the MPI in use.
"""

import argparse
import os
import shlex
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from mpinn.failures import supervision, supervisor
from mpinn.hosts import hostfile
from mpinn.hosts.launcher import VENDORS, Launcher, command_line, find_launcher
from mpinn.hosts.library import DETECTED, find, fits
from mpinn.hosts.profile import Mpi
from mpinn.system.command_line import Parser, run_command
from mpinn.system.errors import UsageError
from mpinn.system.processes import check_open_files
from mpinn.system.words import counted
from mpinn.training import environment, results, snapshots


def check_ranks(mpi: Mpi, ranks: int, hosts: int) -> None:
    """Raise UsageError for more ranks than the profile finds worth running on so many hosts."""
    if ranks > mpi.max_ranks * hosts:
        raise UsageError(
            f"-n {ranks}: the host profile allows {mpi.max_ranks} ranks a host, on {hosts}: take "
            f"-n {mpi.max_ranks * hosts} with --workers {ranks}, or --force"
        )


def check_launcher(launcher: Launcher) -> None:
    """Raise UsageError where mpi4py belongs to another MPI than the launcher."""
    from mpinn.parallel import mpi_library  # imported here, where a missing MPI is an error like any other

    mpi_library.check_launcher(launcher.path, VENDORS[launcher.vendor])


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
    """Start the launcher and supervise it: exit status 0 means that training is done.

    Raises UsageError, MpinnError.
    """
    asked = parser().parse_args(arguments)
    profile = find(asked.host)
    mpi = profile.mpi
    hosts = hostfile.count(asked.hostfile)
    ranks = mpi.slots * hosts if asked.n is None else asked.n
    if ranks < 1:
        raise UsageError(f"-n {ranks}: at least 1 rank")
    check_open_files(ranks)
    launcher = find_launcher()
    check_launcher(launcher)
    if not asked.force:
        check_ranks(mpi, ranks, hosts)
    if asked.restarts < 0:
        raise UsageError(f"--restarts {asked.restarts}: at least 0")
    launched_as = environment.HostProfile(profile.name, None if asked.hostfile else fits(profile))
    if launched_as.fits is False:
        machine = profile.machine
        about = f"{machine.architecture} with {counted(machine.cores, 'core')}, {counted(machine.threads, 'thread')}"
        print(f"mpinn: warning: --host {asked.host}: this machine is no such one ({about})", file=sys.stderr)
    os.environ[environment.HOST_PROFILE] = launched_as.variable()
    directory = supervisor.snapshot_directory(asked.options)
    if asked.fault_tolerance == "restart" and directory is None:
        raise UsageError("--fault-tolerance restart needs --checkpoint DIR among the training options, to go on from")
    if asked.fault_tolerance == "ulfm" and launcher.vendor != "openmpi":
        raise UsageError("--fault-tolerance ulfm needs Open MPI 5; restart does with any MPI")

    def command(left: Path | None, options: list[str]) -> tuple[list[str], int]:
        """Return the launcher's command line, and the number of ranks.

        Lost hosts' ranks go to the others, as far as the profile allows.
        """
        number = ranks if asked.force else min(ranks, mpi.max_ranks * hostfile.count(left))
        program = [sys.executable, "-m", "mpinn.train", *options]
        if asked.fault_tolerance != "off":
            program += ["--fault-tolerance", asked.fault_tolerance]
        words = command_line(
            mpi, launcher, number, left, program, passed=[supervision.VARIABLE, environment.HOST_PROFILE]
        )
        return [words[0], *(("--with-ft", "ulfm") if asked.fault_tolerance == "ulfm" else ()), *words[1:]], number

    if asked.dry_run:
        line, _ = command(asked.hostfile, asked.options)
        print(shlex.join(line))
        return
    sys.stdout.flush()
    restarts = asked.restarts if asked.fault_tolerance != "off" and directory else 0
    newest = partial(snapshots.newest, directory) if directory else lambda job: None

    def hold(job: str) -> None:
        """Lock what a job that may start again writes to, where its command line says that."""
        result = supervisor.option(asked.options, "--result")
        if directory and restarts:
            with suppress(OSError):  # the lock says what is wrong
                directory.mkdir(exist_ok=True)
            snapshots.lock_of(directory, job).take()
        if result and restarts:
            results.lock_of(Path(result), job).take()

    sys.exit(supervisor.supervise(command, asked.hostfile, asked.options, newest, restarts, hold))


if __name__ == "__main__":
    run_command(main)
