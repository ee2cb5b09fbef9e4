"""What a run costs beside its training: seconds from the launcher's start to the first exemplar, and memory."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

LAUNCHERS = ("mpirun", "mpiexec", "prterun", "orterun", "srun")
TICKS = os.sysconf("SC_CLK_TCK")  # a second, of the times in /proc


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


class Stopwatch:
    """The seconds that each part of the start took, on this rank."""

    def __init__(self) -> None:
        """Begin with what was before: the launcher, and the interpreter with what it has imported so far."""
        self.parts: dict[str, float] = {}
        try:
            since_python = age(os.getpid())
            since_launch = max([since_python, *map(age, launchers())])
            self.parts = {"launcher": since_launch - since_python, "python": since_python}
        except OSError:
            pass
        self.last = time.monotonic()

    def lap(self, name: str) -> None:
        """The part `name` ends here."""
        now = time.monotonic()
        self.parts[name] = now - self.last
        self.last = now
