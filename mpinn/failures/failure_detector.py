"""Which rank has stopped answering without dying: every rank sends heartbeats to a neighbour, which listens for them.

A rank that is stopped, that swaps, or whose cable is cut keeps the others waiting in MPI for ever. Heartbeats are UDP
datagrams, sent by a thread of their own. The ranks form a ring, each listening for the next.
"""

import contextlib
import logging
import math
import os
import secrets
import signal
import struct
import threading
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from mpinn.failures.heartbeats import DONE, HEARTBEAT, LOOPBACK, LOST, Mailbox, Supervisor, addresses
from mpinn.parallel.mpi_library import survives
from mpinn.parallel.world import World

log = logging.getLogger("mpinn")

KILL = b"kill"
GRACE = 2.0  # seconds for MPI to notice a rank that another host was asked to kill
PERIOD = 0.25  # of the seconds until the warning, between two heartbeats
SLOWEST = 1.0  # seconds between two heartbeats


class Neighbour(NamedTuple):
    """Another rank, and where it listens."""

    rank: int
    host: str
    pid: int
    addresses: list[str]
    port: int


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class FailureDetector:
    """Sends this rank's heartbeats and listens for its neighbour's; when they stay away it warns, then acts."""

    def __init__(self, world: World, warning: float, timeout: float, supervisor: Supervisor | None) -> None:
        """Every rank calls it. warning, timeout: seconds of silence; supervisor: gets heartbeats, too."""
        self.world, self.supervisor = world, supervisor
        self.warning, self.timeout = warning, timeout
        self.token = world.comm.bcast(secrets.token_bytes(8))  # of this run: a stray datagram is no heartbeat
        self.mailbox = Mailbox()
        self.condemned: Neighbour | None = None  # and so will not answer again
        self.ended = threading.Event()
        self.join()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def join(self) -> None:
        """Make a ring of the ranks there are. Every rank calls it."""
        mine = Neighbour(self.world.start_rank, self.world.host, os.getpid(), addresses(), self.mailbox.port)
        self.ring = [Neighbour(*one) for one in self.world.comm.allgather(tuple(mine))]
        self.listener = self.ring[self.world.rank - 1]
        self.last_heard: tuple[Neighbour, float] = (self.ring[(self.world.rank + 1) % len(self.ring)], monotonic())

    def run(self) -> None:
        warned: Neighbour | None = None
        while not self.ended.wait(min(SLOWEST, PERIOD * self.warning)):
            self.send_heartbeat()
            self.listen()
            neighbour, last = self.last_heard
            silence = monotonic() - last
            if neighbour.rank == self.world.start_rank:
                continue  # alone
            if silence > self.warning and warned != neighbour:
                warned = neighbour
                log.warning("rank %d on %s has not answered for %.1f s", neighbour.rank, neighbour.host, silence)
            elif silence < self.warning and warned == neighbour != self.condemned:
                warned = None
                log.warning("rank %d on %s answers again", neighbour.rank, neighbour.host)
            if silence > self.timeout or (silence > self.warning and self.is_gone(neighbour)):
                self.end(neighbour)

    def send_heartbeat(self) -> None:
        """Send to the rank that listens for this one, and to the supervisor."""
        there = [LOOPBACK] if self.listener.host == self.world.host else self.listener.addresses
        self.mailbox.send(self.heartbeat(self.world.start_rank), there, self.listener.port)
        self.tell_the_supervisor(HEARTBEAT + struct.pack("<d", self.timeout))

    def heartbeat(self, rank: int) -> bytes:
        """Return the datagram that is a rank's heartbeat."""
        return self.token + struct.pack("<i", rank)

    def tell_the_supervisor(self, word: bytes) -> None:
        if self.supervisor:
            self.mailbox.send(self.supervisor.token + word, self.supervisor.addresses, self.supervisor.port)

    def listen(self) -> None:
        """Note the neighbour's heartbeats; kill a rank of this host where another host asks for it."""
        neighbour, _ = self.last_heard
        condemned = {KILL + self.heartbeat(one.rank): one for one in self.others_on(self.world.host)}
        for message in self.mailbox.receive():
            if message == self.heartbeat(neighbour.rank):
                self.last_heard = (neighbour, monotonic())
            elif message in condemned:
                kill(condemned[message].pid)

    def others_on(self, host: str) -> list[Neighbour]:
        """Return the other ranks of a host."""
        return [one for one in self.ring if one.host == host and one.rank != self.world.start_rank]

    def is_gone(self, neighbour: Neighbour) -> bool:
        """Return whether the neighbour was a process of this host and has ended."""
        return neighbour.host == self.world.host and not Path(f"/proc/{neighbour.pid}").exists()

    def end(self, neighbour: Neighbour) -> None:
        """Kill the neighbour or have it killed, where that is possible; else end the run: MPI would wait for it."""
        if self.is_gone(neighbour):
            problem = "is dead, and MPI goes on waiting for it"
        elif neighbour.host == self.world.host:
            self.condemned = neighbour
            kill(neighbour.pid)
            log.warning("rank %d on %s is taken for dead, and killed", neighbour.rank, neighbour.host)
            self.last_heard = (neighbour, monotonic())
            return
        elif survives() and self.condemned != neighbour:
            self.condemned = neighbour
            for one in self.others_on(neighbour.host):
                self.mailbox.send(KILL + self.heartbeat(neighbour.rank), one.addresses, one.port)
            log.warning("rank %d on %s is taken for dead, and to be killed there", neighbour.rank, neighbour.host)
            self.last_heard = (neighbour, monotonic() - self.timeout + GRACE)
            return
        else:
            problem = f"has not answered for {self.timeout:.0f} s and cannot be killed from here"
        log.error("rank %d on %s %s: the run ends", neighbour.rank, neighbour.host, problem)
        self.tell_the_supervisor(LOST)
        for one in self.others_on(self.world.host):  # Abort may wait for the lost host, too
            kill(one.pid)
        signal.alarm(1)
        self.world.abort(1)

    def stop(self, status: int) -> None:
        """Stop listening: the run has ended, or failed with an error that it would come to again.

        MPI may wait for a lost host in Finalize, too. An alarm ends this process after the timeout.
        """
        self.ended.set()
        self.thread.join()
        self.tell_the_supervisor(DONE + struct.pack("<i", status))
        self.mailbox.close()
        if math.isfinite(self.timeout):
            signal.alarm(math.ceil(self.timeout))


def start(
    world: World, warning: float | None, timeout: float | None, supervisor: Supervisor | None
) -> FailureDetector | None:
    """Return a failure detector, or None where neither time is given. Every rank calls it."""
    if warning is None and timeout is None:
        return None
    silence = timeout if timeout is not None else float("inf")
    return FailureDetector(world, min(warning if warning is not None else silence, silence), silence, supervisor)
