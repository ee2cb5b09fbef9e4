"""Who has stopped answering without dying: every rank sends a beat to a neighbour, which listens for it.

A rank that is stopped, that swaps, or whose cable is cut keeps the others waiting in MPI for ever. Beats are small UDP
datagrams of a thread of their own; the ranks make a ring, each listening for the next.
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

from mpinn.beats import BEAT, DONE, LOOPBACK, LOST, Ear, Launcher, addresses
from mpinn.parallel.world import World, survives

log = logging.getLogger("mpinn")

KILL = b"kill"
GRACE = 2.0  # seconds for MPI to notice a rank that another host was asked to kill
PERIOD = 0.25  # of the seconds until the warning, between two beats
SLOWEST = 1.0  # seconds between two beats


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


class Watch:
    """Sends this rank's beats and listens for its neighbour's; says when they stay out, and ends it in the end."""

    def __init__(self, world: World, warning: float, timeout: float, launcher: Launcher | None) -> None:
        """Every rank calls it. warning, timeout: seconds of silence; launcher: where it is told, too."""
        self.world, self.launcher = world, launcher
        self.warning, self.timeout = warning, timeout
        self.token = world.comm.bcast(secrets.token_bytes(8))  # of this run: a stray datagram is no beat
        self.ear = Ear()
        self.condemned: Neighbour | None = None  # and so will not answer again
        self.ended = threading.Event()
        self.join()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def join(self) -> None:
        """Make a ring of the ranks there are. Every rank calls it."""
        mine = Neighbour(self.world.start_rank, self.world.host, os.getpid(), addresses(), self.ear.port)
        self.ring = [Neighbour(*one) for one in self.world.comm.allgather(tuple(mine))]
        self.listener = self.ring[self.world.rank - 1]
        self.heard: tuple[Neighbour, float] = (self.ring[(self.world.rank + 1) % len(self.ring)], monotonic())

    def run(self) -> None:
        warned: Neighbour | None = None
        while not self.ended.wait(min(SLOWEST, PERIOD * self.warning)):
            self.beat()
            self.listen()
            neighbour, last = self.heard
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

    def beat(self) -> None:
        """Tell the rank that listens for this one, and the launcher."""
        there = [LOOPBACK] if self.listener.host == self.world.host else self.listener.addresses
        self.ear.say(self.sign(self.world.start_rank), there, self.listener.port)
        self.tell_the_launcher(BEAT + struct.pack("<d", self.timeout))

    def sign(self, rank: int) -> bytes:
        """Return what a rank's beat is."""
        return self.token + struct.pack("<i", rank)

    def tell_the_launcher(self, word: bytes) -> None:
        if self.launcher:
            self.ear.say(self.launcher.token + word, self.launcher.addresses, self.launcher.port)

    def listen(self) -> None:
        """Note whether the neighbour has beaten; kill a rank of this host where another host asks for it."""
        neighbour, _ = self.heard
        condemned = {KILL + self.sign(one.rank): one for one in self.beside(self.world.host)}
        for message in self.ear.hear():
            if message == self.sign(neighbour.rank):
                self.heard = (neighbour, monotonic())
            elif message in condemned:
                kill(condemned[message].pid)

    def beside(self, host: str) -> list[Neighbour]:
        """Return the ranks of a host, but for this one."""
        return [one for one in self.ring if one.host == host and one.rank != self.world.start_rank]

    def is_gone(self, neighbour: Neighbour) -> bool:
        """Return whether the neighbour was a process of this host, and is none any more."""
        return neighbour.host == self.world.host and not Path(f"/proc/{neighbour.pid}").exists()

    def end(self, neighbour: Neighbour) -> None:
        """Kill the neighbour, or have it killed, where it can be; else end the run, for MPI would wait for it."""
        if self.is_gone(neighbour):
            problem = "is dead, and MPI goes on waiting for it"
        elif neighbour.host == self.world.host:
            self.condemned = neighbour
            kill(neighbour.pid)
            log.warning("rank %d on %s is taken for dead, and killed", neighbour.rank, neighbour.host)
            self.heard = (neighbour, monotonic())
            return
        elif survives() and self.condemned != neighbour:
            self.condemned = neighbour
            for one in self.beside(neighbour.host):
                self.ear.say(KILL + self.sign(neighbour.rank), one.addresses, one.port)
            log.warning("rank %d on %s is taken for dead, and to be killed there", neighbour.rank, neighbour.host)
            self.heard = (neighbour, monotonic() - self.timeout + GRACE)
            return
        else:
            problem = f"has not answered for {self.timeout:.0f} s and cannot be killed from here"
        log.error("rank %d on %s %s: the run ends", neighbour.rank, neighbour.host, problem)
        self.tell_the_launcher(LOST)
        for one in self.beside(self.world.host):  # MPI may wait for the lost host when it aborts, too
            kill(one.pid)
        signal.alarm(1)
        self.world.abort(1)

    def stop(self, status: int) -> None:
        """End this rank's part: the run has come to its end, or to an error that it would come to again.

        MPI may wait for a lost host when it finalizes, too; it is given as long as the others were.
        """
        self.ended.set()
        self.thread.join()
        self.tell_the_launcher(DONE + struct.pack("<i", status))
        self.ear.close()
        if math.isfinite(self.timeout):
            signal.alarm(math.ceil(self.timeout))


def start(world: World, warning: float | None, timeout: float | None, launcher: Launcher | None) -> Watch | None:
    """Return a watch over the ranks, or None where neither is wanted. Every rank calls it."""
    if warning is None and timeout is None:
        return None
    silence = timeout if timeout is not None else float("inf")
    return Watch(world, min(warning if warning is not None else silence, silence), silence, launcher)
