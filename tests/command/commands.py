"""Run the program as a user does: in processes of its own, under the mpirun of this environment."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

TRAIN = [sys.executable, "-m", "mpinn.train"]
OVERSUBSCRIBE = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # Open MPI 5
    "OMPI_MCA_rmaps_base_oversubscribe": "1",  # Open MPI 4
}


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, **OVERSUBSCRIBE, **extra}


def mpirun(ranks: int) -> list[str]:
    """Return how to start the ranks; 0 stands for no mpirun at all."""
    return ["mpirun", "-n", str(ranks)] if ranks else []


def run(command: list[str], cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with `extra` in its environment."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment(**extra), cwd=cwd, check=False
    )


def train(
    *options: str | Path | int, ranks: int = 0, cwd: Path | None = None, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m mpinn.train` to its end."""
    return run([*mpirun(ranks), *TRAIN, *map(str, options)], cwd, **extra)


def start(*options: str | Path | int, ranks: int = 0) -> subprocess.Popen[str]:
    """Start `python -m mpinn.train`, and leave it running."""
    command = [*mpirun(ranks), *TRAIN, *map(str, options)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )


def launch(*words: str | Path | int, **extra: str) -> subprocess.Popen[str]:
    """Start `python -m mpinn.launch`, with `extra` in its environment, and leave it running."""
    command = [sys.executable, "-m", "mpinn.launch", *map(str, words)]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=nowhere, stderr=subprocess.PIPE, text=True, env=environment(**extra))


def of_process(pid: int, name: str) -> bytes:
    """Return a file of /proc/PID, or nothing where it has ended or must not be read."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def command_lines() -> dict[int, str]:
    """Return the command lines of all processes, by process id."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return {pid: of_process(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace") for pid in pids}


def ranks_alive(marker: str) -> list[int]:
    """Return the process ids of those whose command line contains the marker, and `mpinn.train`."""
    return [pid for pid, line in command_lines().items() if marker in line and "mpinn.train" in line]


def ports(pid: int) -> list[tuple[str, int]]:
    """Return the addresses and ports on which a process takes TCP connections."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and words[9] in sockets:
            host, _, port = words[1].partition(":")
            found.append((socket.inet_ntoa(bytes.fromhex(host)[::-1]), int(port, 16)))
    return found


def wait_until(condition, seconds: float) -> bool:  # type: ignore[no-untyped-def]
    """Return whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def errors(said: str) -> list[str]:
    """Return the lines of standard error that begin as an error of ours does."""
    return [line for line in said.splitlines() if line.startswith("mpinn: error:")]
