"""What may interrupt training: signals and the time limit, as counts that the ranks add up in every merge.

Every round's Allreduce carries these few numbers behind the weights, so all ranks learn of a request in the same
round, at no cost. A signal may reach one rank or all of them.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

STATUS = {"interrupt": 130, "terminate": 143}


class Requests(NamedTuple):
    """How many ranks ask for what; `diverged` counts workers."""

    diverged: int = 0
    interrupt: int = 0  # SIGINT
    terminate: int = 0  # SIGTERM, and SIGHUP: its terminal or connection has gone
    snapshot: int = 0  # SIGUSR1
    time_up: int = 0

    def also(self, other: "Requests") -> "Requests":
        """Return the sum of two sets of requests."""
        if not any(other):  # as nearly always
            return self
        return Requests(*map(sum, zip(self, other, strict=True)))

    @property
    def stop(self) -> str:
        """The name of the request that ends training, or an empty string."""
        return next((name for name in ("terminate", "interrupt", "time_up") if getattr(self, name)), "")

    @property
    def signalled(self) -> bool:
        """Whether a signal asks for the end, after which a rank may not have long to live."""
        return bool(self.interrupt or self.terminate)


NOTHING = Requests()
SLOTS = len(Requests._fields)


class Listener:
    """Catches this rank's signals and watches the clock; the next merge collects what came."""

    def __init__(self, time_limit: float | None, terminated_by: str = "terminate") -> None:
        """Start listening. time_limit: seconds from now, on the rank that watches the clock, else None.

        terminated_by: the request that a SIGTERM is.
        """
        self.deadline = None if time_limit is None else time.monotonic() + time_limit
        self.act: Callable[[], None] | None = None
        self.terminated_by = terminated_by
        self.caught = {signal.SIGINT: 0, signal.SIGTERM: 0, signal.SIGUSR1: 0}
        for number in self.caught:
            signal.signal(number, self.catch)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
            signal.signal(signal.SIGHUP, self.catch)

    def catch(self, number: int, frame: FrameType | None) -> None:
        self.caught[signal.SIGTERM if number == signal.SIGHUP else signal.Signals(number)] += 1
        if self.act and number != signal.SIGUSR1:
            self.act()

    @contextmanager
    def at_once(self, act: Callable[[], None]) -> Iterator[None]:
        """Within it a signal to end calls `act` at once, long before the next merge informs the other ranks."""
        self.act = act
        if self.caught[signal.SIGINT] or self.caught[signal.SIGTERM]:
            act()
        try:
            yield
        finally:
            self.act = None

    def requests(self) -> Requests:
        """Return what this rank asks for, but for `diverged`; a signal asks for one snapshot."""
        time_up = self.deadline is not None and time.monotonic() >= self.deadline
        if not time_up and not any(self.caught.values()):
            return NOTHING
        snapshots = self.caught[signal.SIGUSR1]
        self.caught[signal.SIGUSR1] -= snapshots
        asked = {"interrupt": self.caught[signal.SIGINT], "terminate": 0}
        asked[self.terminated_by] += self.caught[signal.SIGTERM]
        return Requests(**asked, snapshot=snapshots, time_up=time_up)
