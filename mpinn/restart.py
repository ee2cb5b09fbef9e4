"""`mpinn.launch --fault-tolerance restart`: start a job again from its last snapshot, on the hosts that answer."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from mpinn import checkpoint
from mpinn.errors import MpinnError, UsageError
from mpinn.requests import STATUS

PATIENCE = 5  # seconds for a host to answer


def option(words: Sequence[str], name: str) -> str | None:
    """Return the value of an option in a command line, the last that is given, or None."""
    value = None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == name:
            value = following
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def place_of_snapshots(words: Sequence[str]) -> Path:
    """Return the directory in which a training command saves. Raises UsageError without one."""
    place = option(words, "--checkpoint") or option(words, "--resume")
    if place is None or Path(place).is_file():
        raise UsageError("--fault-tolerance restart needs --checkpoint DIR among the training options, to go on from")
    return Path(place)


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


def answering(hostfile: Path) -> list[str]:
    """Return the lines of a hostfile whose hosts answer to SSH, asked all at once."""
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
    return [text for text, process in zip(lines, asked, strict=True) if process.wait() == 0]


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run the launcher to its end, and pass on signals that ask for it; return its exit status, or 128 + the signal."""
    asked_to_end: list[int] = []
    process = subprocess.Popen(command, env=environment)

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked_to_end.append(number)
        process.send_signal(number)

    earlier = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    status = process.wait()
    for number, handler in earlier.items():
        signal.signal(number, handler)
    return 128 + asked_to_end[0] if asked_to_end else status


def supervise(
    line: Callable[[Path | None, list[str]], list[str]],
    hostfile: Path | None,
    words: list[str],
    most: int,
    scratch: Path,
) -> int:
    """Run a job and start it again, at most so many times, until it ends by itself; return its exit status.

    line: makes the launcher's command of a hostfile and training options. scratch: directory for a hostfile of fewer
    hosts. Raises UsageError, MpinnError.
    """
    place = place_of_snapshots(words)
    found = checkpoint.files(place)[:1]  # of an earlier job, which may have been another
    environment = dict(os.environ)
    for restart in range(most + 1):
        status = run(line(hostfile, words), environment)
        environment.pop("MPINN_FAULT", None)  # it has struck
        if status in (0, UsageError.status, *STATUS.values()) or restart == most:
            return status
        if hostfile:
            hosts = answering(hostfile)
            if not hosts:
                raise MpinnError(f"{hostfile}: no host answers to SSH any more")
            hostfile = scratch / "hosts"
            hostfile.write_text("\n".join(hosts) + "\n")
        newest = checkpoint.files(place)[:1]
        if newest != found:
            words = going_on(words, place)
        print(
            f"mpinn: the job ended with status {status}; restart {restart + 1} of {most} "
            + (f"from {newest[0]}" if newest != found else "as it was started"),
            file=sys.stderr,
            flush=True,
        )
    return status
