"""Which rank has stopped answering without dying: neighbours send each other heartbeats, and listen for them.

A rank that is stopped, that swaps, or whose cable is cut keeps the others waiting in MPI for ever; MPI itself cannot
carry the heartbeats, because it waits, too. The ranks form a ring, those of a host side by side: so a rank that shares
its host has a neighbour there, which can kill it.
"""

import contextlib
import logging
import math
import os
import signal
import threading
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from mpinn.failures.lines import HEARTBEAT, LOOPBACK, LOST, Line, Message, Port, addresses, new_key, others
from mpinn.failures.supervision import Supervision
from mpinn.parallel.mpi_library import survives
from mpinn.parallel.world import World

log = logging.getLogger("mpinn")

PERIOD = 0.25  # of the seconds until the warning, between two heartbeats
SLOWEST = 1.0  # seconds between two heartbeats
MEETING = 0.05  # seconds between two looks while neighbours are not yet connected
GRACE = 3.0  # seconds for a rank beside it to kill one that this rank cannot, and for MPI to notice


class Neighbour(NamedTuple):
    """Another rank, and where it may be called."""

    rank: int
    host: str
    pid: int
    addresses: list[str]
    port: int


class Link:
    """What is known of a neighbour."""

    def __init__(self, neighbour: Neighbour, lines: list[Line]) -> None:
        """lines: calls to it, of which one may get through; none where it is to call."""
        self.neighbour, self.lines = neighbour, lines
        self.last_heard = monotonic()
        self.met = False  # whether it has been heard at all
        self.warned = False
        self.condemned = False  # and so will not answer again

    @property
    def silence(self) -> float:
        return monotonic() - self.last_heard

    def heard_on(self, line: Line) -> None:
        """Keep the line on which the neighbour was heard, and no other."""
        for other in self.lines:
            if other is not line:
                other.close()
        self.lines = [line]
        self.met, self.last_heard = True, monotonic()

    def listen(self, here: int) -> None:
        """Note its heartbeats to this rank, `here`."""
        for line in self.lines:
            if any(message.value == here and message.rank == self.neighbour.rank for message in line.receive()):
                self.heard_on(line)
                break

    def close(self) -> None:
        for line in self.lines:
            line.close()


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class FailureDetector:
    """Exchanges heartbeats with this rank's neighbours; when they stay away it warns, then acts."""

    def __init__(self, world: World, warning: float, timeout: float, supervision: Supervision | None) -> None:
        """Every rank calls it. warning, timeout: seconds of silence; supervision: gets heartbeats, too."""
        self.world, self.supervision = world, supervision
        self.warning, self.timeout = warning, timeout
        self.rank = world.start_rank
        self.port: Port | None = None
        self.links: list[Link] = []
        self.changing = threading.Lock()  # held while links are
        self.ended = threading.Event()
        self.join()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def join(self) -> None:
        """Make a ring of the ranks there are. Every rank calls it."""
        key = self.world.comm.bcast(new_key())  # of this ring alone
        hosts = sorted((member.host, member.rank) for member in self.world.members)
        port = Port(key, hosts=len({host for host, _ in hosts}) > 1)
        mine = Neighbour(self.rank, self.world.host, os.getpid(), addresses(), port.number)
        ring = [Neighbour(*one) for one in self.world.comm.allgather(tuple(mine))]
        ring.sort(key=lambda one: (one.host, one.rank))
        here = ring.index(mine)
        beside = {one.rank: one for one in (ring[here - 1], ring[(here + 1) % len(ring)]) if one is not ring[here]}
        with self.changing:
            self.leave()
            self.ring, self.port = ring, port
            self.links = [Link(one, self.calls(one, key)) for one in beside.values()]

    def calls(self, neighbour: Neighbour, key: bytes) -> list[Line]:
        """Return the calls that may reach a neighbour; of two the lower rank calls."""
        if neighbour.rank < self.rank:
            return []
        places = [LOOPBACK] if neighbour.host == self.world.host else others(neighbour.addresses)
        return [Line.call(place, neighbour.port, key) for place in places]

    def leave(self) -> None:
        """Close all lines."""
        for link in self.links:
            link.close()
        if self.port:
            self.port.close()

    def run(self) -> None:
        period = min(SLOWEST, PERIOD * self.warning)
        while not self.ended.wait(min(period, SLOWEST if self.all_met else MEETING)):
            with self.changing:
                self.meet()
                for link in self.links:
                    link.listen(self.rank)
                self.send_heartbeats()
                for link in self.links:
                    self.judge(link)

    @property
    def all_met(self) -> bool:
        return all(link.met for link in self.links)

    def meet(self) -> None:
        """Take the calls of neighbours; once all are there, nobody can call any more."""
        if not self.port:
            return
        for line, messages in self.port.arrived():
            for link in self.links:
                if messages[0].rank == link.neighbour.rank and messages[0].value == self.rank and not link.met:
                    link.heard_on(line)
                    break
            else:
                line.close()
        if self.port.open and self.all_met:
            self.port.close()

    def send_heartbeats(self) -> None:
        """Send to the neighbours, and to the supervisor."""
        for link in self.links:
            for line in link.lines:
                line.send(Message(HEARTBEAT, self.rank, link.neighbour.rank))
        if self.supervision:
            self.supervision.say(HEARTBEAT, self.timeout)

    def judge(self, link: Link) -> None:
        """Warn of a neighbour that is silent; act when it has been for too long."""
        neighbour, silence = link.neighbour, link.silence
        who = f"rank {neighbour.rank} on {neighbour.host}"
        if silence > self.warning and not link.warned:
            link.warned = True
            log.warning("%s has not answered for %.1f s", who, silence)
        elif silence < self.warning and link.warned and not link.condemned:
            link.warned = False
            log.warning("%s answers again", who)
        if silence < self.timeout:
            return
        if self.is_gone(neighbour):
            # MPI may rightly wait: for another rank that is stopped, and will be killed in time
            if silence > self.timeout + GRACE:
                self.end(f"{who} is dead, and MPI goes on waiting for it")
        elif neighbour.host == self.world.host:
            link.condemned, link.last_heard = True, monotonic()
            kill(neighbour.pid)
            log.warning("%s is taken for dead, and killed", who)
        elif survives() and not link.condemned:
            link.condemned, link.last_heard = True, monotonic() - self.timeout + GRACE
            log.warning("%s is taken for dead, and to be killed by a rank beside it", who)
        else:
            cure = "" if link.met else "; it never has: is TCP let through between the hosts?"
            self.end(f"{who} has not answered for {self.timeout:.0f} s and cannot be killed from here{cure}")

    def is_gone(self, neighbour: Neighbour) -> bool:
        """Return whether the neighbour was a process of this host and has ended."""
        return neighbour.host == self.world.host and not Path(f"/proc/{neighbour.pid}").exists()

    def end(self, problem: str) -> None:
        """End the run, for which MPI would wait: this host's ranks here, the others by MPI or by themselves."""
        log.error("%s: the run ends", problem)
        if self.supervision:
            self.supervision.say(LOST)
        for one in self.ring:
            if one.host == self.world.host and one.rank != self.rank:
                kill(one.pid)  # Abort may wait for the lost host, too
        signal.alarm(1)
        self.world.abort(1)

    def stop(self) -> None:
        """Stop listening: the run has ended, or failed with an error that it would come to again.

        MPI may wait for a lost host in Finalize, too. An alarm ends this process after the timeout.
        """
        self.ended.set()
        self.thread.join()
        self.leave()
        if math.isfinite(self.timeout):
            signal.alarm(math.ceil(self.timeout))


def start(
    world: World, warning: float | None, timeout: float | None, supervision: Supervision | None
) -> FailureDetector | None:
    """Return a failure detector, or None where neither time is given. Every rank calls it."""
    if warning is None and timeout is None:
        return None
    silence = timeout if timeout is not None else float("inf")
    return FailureDetector(world, min(warning if warning is not None else silence, silence), silence, supervision)
