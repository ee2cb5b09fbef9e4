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

from mpinn import checkpoint
from mpinn.beats import BEAT, DONE, LOST, Ear, Launcher
from mpinn.errors import MpinnError, UsageError
from mpinn.requests import STATUS

PATIENCE = 5  # seconds for a host to answer
TICK = 0.5  # seconds between two looks at a job
LAST = 3.0  # seconds for mpirun to end when ranks have given up


def option(words: Sequence[str], name: str) -> str | None:
    """Return the value of an option in a command line, the last that is given, or None."""
    value = None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == name:
            value = following
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def place_of_snapshots(words: Sequence[str]) -> Path | None:
    """Return the directory in which a training command saves, or None."""
    place = option(words, "--checkpoint") or option(words, "--resume")
    return None if place is None or Path(place).is_file() else Path(place)


def going_on(words: Sequence[str], place: Path) -> list[str]:
    """Return a training command's options for going on from the newest snapshot."""
    kept = []
    skip = False
    for word in words:
        if skip or word.startswith("--resume="):
            skip = False
        elif word == "--resume":
            skip = True
        else:
            kept.append(word)
    return [*kept, "--resume", str(place)]


def answering(hostfile: Path, place: Path) -> Path:
    """Ask the hosts of a hostfile by SSH, all at once; return it, or one of those that answer, written to `place`.

    Raises MpinnError if none does.
    """
    lines = [text for text in hostfile.read_text().splitlines() if text.strip() and not text.lstrip().startswith("#")]
    ask = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={PATIENCE}"]
    asked = [
        subprocess.Popen(
            [*ask, text.split()[0].partition(":")[0], "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for text in lines
    ]
    there = {text: process.wait() == 0 for text, process in zip(lines, asked, strict=True)}
    if all(there.values()):
        return hostfile
    if not any(there.values()):
        raise MpinnError(f"{hostfile}: no host answers to SSH")
    for text in (text for text in lines if not there[text]):
        say(f"{text.split()[0]} does not answer to SSH and is left out")
    place.write_text("".join(f"{text}\n" for text in lines if there[text]))
    return place


def say(text: str) -> None:
    print(f"mpinn: {text}", file=sys.stderr, flush=True)


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    try:
        children = [
            int(word) for file in Path(f"/proc/{pid}/task").glob("*/children") for word in file.read_text().split()
        ]
    except OSError:  # it has ended meanwhile
        children = []
    return [pid, *(one for child in children for one in family(child))]


class Job:
    """A run of mpirun, to its end or to that of its ranks: it may wait for a lost host for ever."""

    def __init__(self, command: list[str], environment: dict[str, str], ear: Ear, token: bytes) -> None:
        """ear, token: where and how its ranks are heard."""
        self.ear, self.token = ear, token
        self.begun = False
        self.done: int | None = None  # the exit status of training that has come to its end
        self.silence, self.most = 0.0, float("inf")  # seconds without a sign of life, and after how many none is left
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
        """Note what the ranks say. Silence is counted in ticks: who was stopped has not listened."""
        self.silence += TICK if self.begun else 0
        for message in self.ear.hear():
            if message.startswith(self.token + BEAT) and self.most != LAST:
                self.begun, self.silence = True, 0.0
                (self.most,) = struct.unpack_from("<d", message, len(self.token + BEAT))
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
    line: Callable[[Path | None, list[str], str], list[str]],
    hostfile: Path | None,
    words: list[str],
    place: Path,
    most: int,
    scratch: Path,
) -> int:
    """Run a job and start it again, at most so many times, until it ends by itself; return its exit status.

    line: makes the launcher's command of a hostfile, training options and NAME=VALUE for the environment. place: where
    it saves snapshots; scratch: directory for a hostfile of fewer hosts. Raises UsageError, MpinnError.
    """
    found = checkpoint.files(place)[:1]  # of an earlier job, which may have been another
    environment = dict(os.environ)
    began = time.time()
    lost_since = 0.0
    ear = Ear()
    for restart in itertools.count(1):
        here = Launcher.here(ear.port, lost_since)
        hosts = answering(hostfile, scratch / "hosts") if hostfile else None
        job = Job(line(hosts, words, here.variable()), environment, ear, here.token)
        status = job.end()
        if job.complete(status) or restart > most:
            break
        environment.pop("MPINN_FAULT", None)  # it has struck
        newest = checkpoint.files(place)[:1]
        if newest != found:
            words = going_on(words, place)
        lost_since = newest[0].stat().st_mtime if newest != found else began
        say(
            f"the job ended with status {status}; restart {restart} of {most} "
            + (f"from {newest[0]}" if newest != found else "as it was started")
        )
    ear.close()
    return status if job.complete(status) else status or 1
