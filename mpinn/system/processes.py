"""Processes as /proc shows them: the launchers above this one, descendants, age, memory."""

import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from mpinn.system.errors import UsageError

LAUNCHERS = ("mpirun", "mpiexec", "prterun", "orterun", "srun")
TICKS = os.sysconf("SC_CLK_TCK")  # a second, of the times in /proc
OPEN_FILES = 64  # that a rank gets by with, or a launcher without ranks
FILES_A_RANK = 8  # that a launcher needs beside them


def check_open_files(ranks: int = 0) -> None:
    """Let this process open as many files as MPI needs to start so many ranks. Raises UsageError where it must not."""
    least = OPEN_FILES + FILES_A_RANK * ranks
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < least:
        raise UsageError(f"a process may open {hard} files here, and MPI needs {least}: raise ulimit -n")
    if soft != resource.RLIM_INFINITY and soft < least:
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))


def launchers() -> Iterator[int]:
    """Yield the process ids of the launchers on this host that this process descends from, the nearest first."""
    pid = os.getpid()
    while pid > 1:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            parent = int(stat(pid)[1])
        except (OSError, ValueError):
            return
        if name.startswith(LAUNCHERS):
            yield pid
        pid = parent


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    try:
        children = [
            int(word) for file in Path(f"/proc/{pid}/task").glob("*/children") for word in file.read_text().split()
        ]
    except OSError:  # it has ended meanwhile
        children = []
    return [pid, *(one for child in children for one in family(child))]


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on. Raises OSError."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def age(pid: int) -> float:
    """Return the seconds since a process started. Raises OSError."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat(pid)[19]) / TICKS


def pss_mib() -> float | None:
    """Return this process's proportional set size in MiB: its own memory, and its part of what it shares."""
    try:
        found = re.search(r"^Pss: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None
