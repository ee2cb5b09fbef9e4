"""What `mpinn.launch` does while a job runs: it hears the ranks, passes signals on, and may start the job again.

A job that is started again goes on from its last snapshot, on the hosts that answer.
"""

import contextlib
import itertools
import math
import os
import platform
import resource
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from mpinn.failures.lines import DONE, HEARTBEAT, LOST, SIGNAL, Line, Message, Port, addresses, new_key
from mpinn.failures.supervision import VARIABLE, Supervisor
from mpinn.hosts import hostfile
from mpinn.parallel.stop_requests import STATUS
from mpinn.system.errors import MpinnError, UsageError
from mpinn.system.processes import family

PATIENCE = 5  # seconds for a host to answer
TICK = 0.1  # seconds between two looks at a job
LAST = 3.0  # seconds for mpirun to end when ranks have given up
ORPHANED = 10.0  # and when no rank is left
AGAIN = 1.0  # seconds in which signals to end are one
ENDING = 10.0  # seconds for the ranks to end when they are asked to


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


def resuming(words: Sequence[str], snapshot: Path) -> list[str]:
    """Return a training command's options, changed so that it goes on from a snapshot, and saves beside it."""
    kept = []
    skip = False
    for word in words:
        if skip or word.startswith(("--resume=", "--checkpoint=")):
            skip = False
        elif word in ("--resume", "--checkpoint"):
            skip = True
        else:
            kept.append(word)
    return [*kept, "--checkpoint", str(snapshot.parent), "--resume", str(snapshot)]


def answering(path: Path) -> Path:
    """Ask the hosts of a hostfile by SSH, all at once; return it, or a hostfile in memory of those that answer.

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
    place = Path(f"/proc/{os.getpid()}/fd/{os.memfd_create('mpinn-hosts')}")  # gone with this process, however it ends
    hostfile.write(place, list(itertools.compress(hosts, there)))
    return place


def log(text: str) -> None:
    print(f"mpinn: {text}", file=sys.stderr, flush=True)


class Job:
    """A run of the launcher, to its end or to that of its ranks: mpirun may wait for a lost host for ever.

    The launcher has a process group of its own, so that what is typed on a terminal reaches it through here alone.
    """

    def __init__(self, command: list[str], environment: dict[str, str], port: Port, ranks: int) -> None:
        """port: where the ranks call, so many of them."""
        self.port, self.ranks = port, ranks
        self.lines: list[Line] = []
        self.begun = False  # whether any rank has called
        self.done: int | None = None  # the exit status of training that has come to its end
        self.silence, self.most = 0.0, math.inf  # seconds without a sign of life, and after how many no rank is left
        self.looked = time.monotonic()
        self.caught: list[int] = []  # signals that have not been passed on yet
        self.asked: int | None = None  # to end, by this signal
        self.asked_at = 0.0
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, process_group=0)

    def catch(self, number: int, frame: FrameType | None) -> None:
        self.caught.append(number)

    def pass_on(self, number: int) -> None:
        """Pass a signal on: to the ranks, which save and end by themselves; a second wish to end to mpirun."""
        if number == signal.SIGTSTP:
            self.process.send_signal(number)
            os.kill(os.getpid(), signal.SIGSTOP)
            self.process.send_signal(signal.SIGCONT)
            return
        number = signal.SIGTERM if number == signal.SIGHUP else number
        first = self.asked is None
        if number != signal.SIGUSR1:
            if not first and time.monotonic() - self.asked_at < AGAIN:
                return
            self.asked, self.asked_at = number, time.monotonic()
        heard = [line.send(Message(SIGNAL, value=number)) for line in self.lines]
        if not any(heard) or not first:
            self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end, and pass signals on; return the exit status, or 128 + the signal that ended it.

        If mpirun does not end with its ranks, it is killed.
        """
        passed = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP)
        earlier = {number: signal.getsignal(number) for number in passed}
        for number, handler in earlier.items():
            if handler != signal.SIG_IGN:  # as nohup has it
                signal.signal(number, self.catch)
        while self.process.poll() is None:
            self.listen()
            while self.caught:
                self.pass_on(self.caught.pop(0))
            if self.silence > self.most:
                for pid in family(self.process.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            if self.asked and time.monotonic() - self.asked_at > ENDING:
                self.process.send_signal(self.asked)
                self.asked_at = time.monotonic()
        self.listen()
        for number, handler in earlier.items():
            signal.signal(number, handler)
        self.port.close()
        for line in self.lines:
            line.close()
        return self.status

    @property
    def status(self) -> int:
        """The exit status: 0 only where the ranks said that all is done."""
        if self.done is not None:
            return self.done
        if self.asked:
            return 128 + self.asked
        return self.process.returncode or 1

    def listen(self) -> None:
        """Wait a moment for the ranks; note what they say.

        Silence is counted in moments, so that a time in which this process was stopped does not count.
        """
        with contextlib.suppress(OSError, ValueError):
            select.select([*self.port.sockets, *self.lines], [], [], TICK)
        now = time.monotonic()
        self.silence += min(now - self.looked, TICK) if self.begun else 0
        self.looked = now
        for line, messages in self.port.arrived():
            line.send(Message(HEARTBEAT))
            self.lines.append(line)
            self.begun = True
            self.note(messages)
        if len(self.lines) >= self.ranks:
            self.port.close()
        for line in self.lines:
            self.note(line.receive())
        left = [line for line in self.lines if not line.closed]
        if self.lines and not left:
            self.silence, self.most = 0.0, min(self.most, ORPHANED)
        self.lines = left

    def note(self, messages: list[Message]) -> None:
        for message in messages:
            if message.word == HEARTBEAT and self.most != LAST:
                self.silence, self.most = 0.0, message.value
            elif message.word == LOST:
                self.silence, self.most = 0.0, LAST
            elif message.word == DONE:
                self.done = max(self.done or 0, int(message.value))

    @property
    def complete(self) -> bool:
        """Whether it ended by itself, or was asked to."""
        return self.done is not None or self.asked is not None or self.status in (UsageError.status, *STATUS.values())


def supervise(
    command: Callable[[Path | None, list[str]], tuple[list[str], int]],
    hosts: Path | None,
    words: list[str],
    newest: Callable[[str], Path | None],
    most: int,
    hold: Callable[[str], None],
) -> int:
    """Run a job and start it again, at most so many times, until it ends by itself; return its exit status.

    command: makes the launcher's command of a hostfile and training options, and tells how many ranks that starts;
    newest: tells the newest good snapshot of a job; hold: keeps other jobs from its places, also while no rank of it is
    there. Raises UsageError, MpinnError.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a line from every rank
    environment = dict(os.environ)
    name = secrets.token_hex(6)
    hold(name)
    began = time.time()
    lost_since = 0.0
    for restart in itertools.count(1):
        left = answering(hosts) if hosts and most else hosts
        port = Port(new_key(), hosts=True)
        supervisor = Supervisor(port.key, name, port.number, lost_since, platform.node(), addresses())
        line, ranks = command(left, words)
        job = Job(line, {**environment, VARIABLE: supervisor.variable()}, port, ranks)
        status = job.end()
        if job.complete or restart > most:
            break
        environment.pop("MPINN_FAULT", None)  # it has struck
        last = newest(name)
        if last is not None:
            words, lost_since, start = resuming(words, last), last.stat().st_mtime, f"from {last}"
        else:
            lost_since, start = began, "as it was started: there is no good snapshot of this job"
        log(f"the job ended with status {status}; restart {restart} of {most} {start}")
    if job.process.returncode == 0 and not job.complete:
        raise MpinnError("the job ended without a word from its ranks; the result's status says how far it came")
    return status
