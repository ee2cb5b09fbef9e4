"""A rank's line to `mpinn.launch`, which may start its job again: signs of life up, signals down."""

import contextlib
import logging
import os
import platform
import re
import select
import signal
import threading
import time
from typing import NamedTuple

from mpinn.failures.lines import DONE, HEARTBEAT, LOOPBACK, SIGNAL, Line, Message, others
from mpinn.system.errors import UsageError

log = logging.getLogger("mpinn")

VARIABLE = "MPINN_SUPERVISOR"  # in a rank's environment, which its user alone can read
FORM = re.compile(r"([0-9a-f]{32}):([0-9a-f]{12}):(\d{1,5}):(\d{1,12}(?:\.\d+)?):([\w.-]+):((?:[\d.]+,?)+)", re.ASCII)
PATIENCE = 5.0  # seconds to reach it


class Supervisor(NamedTuple):
    """Where a job's supervisor listens, and what proves to it that a rank is of this job."""

    key: bytes
    job: str  # twelve hexadecimal digits: which job this is, however often it is started again
    port: int
    lost_since: float  # seconds since 1970: what was done after it is done again; 0 in a job that was not started again
    host: str
    addresses: list[str]

    def variable(self) -> str:
        """Return the value of `VARIABLE` for the ranks."""
        parts = (self.key.hex(), self.job, self.port, self.lost_since, self.host, ",".join(self.addresses))
        return ":".join(map(str, parts))

    @classmethod
    def from_environment(cls) -> "Supervisor | None":
        """Return the supervisor that the environment names. Raises UsageError for what mpinn.launch did not write."""
        text = os.environ.get(VARIABLE)
        if text is None:
            return None
        found = FORM.fullmatch(text)
        if found is None:
            raise UsageError(f"{VARIABLE}: not what mpinn.launch writes; unset it, it is not meant to be set by hand")
        key, job, port, lost_since, host, places = found.groups()
        return cls(bytes.fromhex(key), job, int(port), float(lost_since), host, places.split(","))


class Supervision:
    """The line, and a thread that waits for what comes down on it."""

    def __init__(self, supervisor: Supervisor, rank: int) -> None:
        """rank: this one's, by its number at the start."""
        self.supervisor, self.rank = supervisor, rank
        self.ended = False
        self.line = self.reach()
        if self.line:
            threading.Thread(target=self.listen, args=(self.line,), daemon=True).start()
        else:
            log.warning("mpinn.launch on %s cannot be reached: is TCP let through?", supervisor.host)

    @classmethod
    def begin(cls, rank: int) -> "Supervision | None":
        """Return the line to the supervisor that the environment names. Raises UsageError."""
        supervisor = Supervisor.from_environment()
        return cls(supervisor, rank) if supervisor else None

    def reach(self) -> Line | None:
        """Call all addresses of the supervisor; return the first line on which it answers, or None."""
        here = self.supervisor.host == platform.node()
        places = [LOOPBACK] if here else others(self.supervisor.addresses)
        lines = [Line.call(place, self.supervisor.port, self.supervisor.key) for place in places]
        deadline = time.monotonic() + PATIENCE
        said: set[Line] = set()
        while lines and time.monotonic() < deadline:
            select.select(lines, [], [], 0.01)
            for line in lines:
                if line.receive():
                    for other in lines:
                        if other is not line:
                            other.close()
                    return line
                if line not in said and line.send(Message(HEARTBEAT, self.rank, float("inf"))):
                    said.add(line)
            lines = [line for line in lines if not line.closed]
        return None

    def listen(self, line: Line) -> None:
        """Raise the signals that the supervisor asks for; without it, end as if asked to."""
        while not line.closed:
            with contextlib.suppress(OSError, ValueError):  # closed meanwhile
                select.select([line], [], [])
            for message in line.receive():
                if message.word == SIGNAL:
                    os.kill(os.getpid(), int(message.value))
        if not self.ended:
            log.warning("mpinn.launch is gone: the run ends")
            os.kill(os.getpid(), signal.SIGTERM)

    def say(self, word: int, value: float = 0.0) -> None:
        if self.line:
            self.line.send(Message(word, self.rank, value))

    def done(self, status: int) -> None:
        """Say that training has come to its end, with this exit status."""
        self.ended = True
        self.say(DONE, status)
