"""`mpinn.launch --fault-tolerance restart`: start a job again from its last snapshot, on the hosts that answer."""

import contextlib
import itertools
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from mpinn.failures.heartbeats import DONE, HEARTBEAT, LOST, Mailbox, Supervisor
from mpinn.hosts import hostfile
from mpinn.parallel.stop_requests import STATUS
from mpinn.system.errors import MpinnError, UsageError
from mpinn.system.processes import family

PATIENCE = 5  # seconds for a host to answer
TICK = 0.5  # seconds between two looks at a job
LAST = 3.0  # seconds for mpirun to end when ranks have given up


def option(words: Sequence[str], name: str) -> str | None:
    """Return the value of an option in a command line, the last that is given, or None."""
    value = None
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == name:
            value = following
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def snapshot_directory(words: Sequence[str]) -> Path | None:
    """Return the directory in which a training command saves, or None."""
    place = option(words, "--checkpoint") or option(words, "--resume")
    return None if place is None or Path(place).is_file() else Path(place)


def resuming(words: Sequence[str], directory: Path) -> list[str]:
    """Return a training command's options, changed so that it goes on from the newest snapshot of a directory."""
    kept = []
    skip = False
    for word in words:
        if skip or word.startswith("--resume="):
            skip = False
        elif word == "--resume":
            skip = True
        else:
            kept.append(word)
    return [*kept, "--resume", str(directory)]


def answering(path: Path, place: Path) -> Path:
    """Ask the hosts of a hostfile by SSH, all at once; return it, or a hostfile `place` of those that answer.

    Raises MpinnError if none does.
    """
    hosts = hostfile.read(path)
    ask = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={PATIENCE}"]
    nowhere = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    asked = [subprocess.Popen([*ask, host.address, "true"], **nowhere) for host in hosts]  # type: ignore[call-overload]
    there = [process.wait() == 0 for process in asked]
    if all(there):
        return path
    if not any(there):
        raise MpinnError(f"{path}: no host answers to SSH")
    for host in itertools.compress(hosts, [not answers for answers in there]):
        log(f"{host.line.split()[0]} does not answer to SSH and is left out")
    hostfile.write(place, list(itertools.compress(hosts, there)))
    return place


def log(text: str) -> None:
    print(f"mpinn: {text}", file=sys.stderr, flush=True)


class Job:
    """A run of mpirun, to its end or to that of its ranks: mpirun may wait for a lost host for ever."""

    def __init__(self, command: list[str], environment: dict[str, str], mailbox: Mailbox, token: bytes) -> None:
        """mailbox, token: where the ranks' datagrams arrive, and what they bear."""
        self.mailbox, self.token = mailbox, token
        self.begun = False
        self.done: int | None = None  # the exit status of training that has come to its end
        self.silence, self.most = 0.0, float("inf")  # seconds without a heartbeat, and after how many no rank is left
        self.asked_to_end = 0  # by this signal
        self.process = subprocess.Popen(command, env=environment)

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_end = number
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end, and pass on signals that ask for it; return the exit status, or 128 + the signal.

        If mpirun does not end with its ranks, it is killed.
        """
        earlier = {number: signal.signal(number, self.pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        while self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(TICK)
            self.listen()
            if self.silence > self.most:
                for pid in family(self.process.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        self.listen()
        for number, handler in earlier.items():
            signal.signal(number, handler)
        if self.asked_to_end:
            return 128 + self.asked_to_end
        return self.process.returncode if self.done is None else self.done

    def listen(self) -> None:
        """Note what the ranks sent. Silence is counted in ticks, so that a time in which this process was stopped does
        not count.
        """
        self.silence += TICK if self.begun else 0
        for message in self.mailbox.receive():
            if message.startswith(self.token + HEARTBEAT) and self.most != LAST:
                self.begun, self.silence = True, 0.0
                (self.most,) = struct.unpack_from("<d", message, len(self.token + HEARTBEAT))
            elif message == self.token + LOST:
                self.silence, self.most = 0.0, LAST
            elif message.startswith(self.token + DONE):
                (self.done,) = struct.unpack_from("<i", message, len(self.token + DONE))

    def complete(self, status: int) -> bool:
        """Return whether it ended by itself: Open MPI may end with status 0 when it has lost a host."""
        return (
            self.done is not None or status in (UsageError.status, *STATUS.values()) or (status == 0 and not self.begun)
        )


def supervise(
    command: Callable[[Path | None, list[str], str], list[str]],
    hosts: Path | None,
    words: list[str],
    directory: Path,
    newest: Callable[[], Path | None],
    most: int,
    scratch: Path,
) -> int:
    """Run a job and start it again, at most so many times, until it ends by itself; return its exit status.

    command: makes the launcher's command of a hostfile, training options and NAME=VALUE for the environment. directory:
    where the job saves snapshots; newest: tells the last of them. scratch: a directory for a hostfile of fewer hosts.
    Raises UsageError, MpinnError.
    """
    found = newest()  # of an earlier job, which may have been another
    environment = dict(os.environ)
    began = time.time()
    lost_since = 0.0
    mailbox = Mailbox()
    for restart in itertools.count(1):
        supervisor = Supervisor.here(mailbox.port, lost_since)
        left = answering(hosts, scratch / "hosts") if hosts else None
        job = Job(command(left, words, supervisor.variable()), environment, mailbox, supervisor.token)
        status = job.end()
        if job.complete(status) or restart > most:
            break
        environment.pop("MPINN_FAULT", None)  # it has struck
        last = newest()
        if last is not None and last != found:
            words, lost_since, start = resuming(words, directory), last.stat().st_mtime, f"from {last}"
        else:
            lost_since, start = began, "as it was started"
        log(f"the job ended with status {status}; restart {restart} of {most} {start}")
    mailbox.close()
    return status if job.complete(status) else status or 1
