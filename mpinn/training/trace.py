"""The observer that writes a trace: every rank's spans, gathered after every epoch."""

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mpinn.config import Settings
from mpinn.parallel import clocks
from mpinn.parallel.clocks import REFERENCE, Clock, Reading
from mpinn.parallel.round import Team
from mpinn.parallel.timeline import SPAN, Kind
from mpinn.system import files
from mpinn.training import trace_events
from mpinn.training.events import EpochEnded, Event, RankLost, RunEnded, RunFailed
from mpinn.training.results import Facts
from mpinn.training.trace_events import RankSpans

SCHEMA_VERSION = 1


class TraceWriter:
    """Writes the trace at the end of the run.

    Where ranks may be lost every rank keeps all that was gathered, for any may become rank 0; else rank 0 alone does.
    """

    def __init__(self, team: Team, settings: Settings, facts: Facts) -> None:
        """Measure the clocks. Every rank calls it; settings.trace names the file."""
        self.team, self.settings, self.facts = team, settings, facts
        self.timeline, world = team.timeline, team.world
        self.members = world.members  # all, by their numbers at the start
        first_ranks = world.comm.allgather(world.node_ranks[0])
        self.first_ranks = sorted(set(first_ranks))  # of each host
        self.host_of = [self.first_ranks.index(first) for first in first_ranks]  # of each rank
        self.gathered: dict[int, list[np.ndarray]] = {member.rank: [] for member in self.members}
        self.start: dict[int, Reading] = world.comm.bcast(self.readings())  # by host

    def __call__(self, event: Event) -> None:
        """Note, gather, write. Raises MpinnError, on every rank."""
        match event:
            case RankLost(rank=rank):
                now = perf_counter()
                self.timeline.note(Kind.RANK_LOST, now, now, number=rank)
            case EpochEnded():
                self.gather()
            case RunEnded() | RunFailed():
                self.gather()
                end = self.readings()
                self.team.world.agree()
                self.team.world.on_root(lambda: self.write(end))

    def gather(self) -> None:
        """Keep what every rank has done; a rank forgets it once all have it that shall."""
        world = self.team.world
        with self.timeline.span(Kind.TRACING):
            collect: Callable[[Any], Any] = world.comm.allgather if world.fault_tolerant else world.comm.gather
            found = collect((world.start_rank, self.timeline.spans()))
            world.agree()
            self.timeline.clear()
            for rank, spans in found or []:
                self.gathered[rank].append(spans)

    def readings(self) -> dict[int, Reading]:
        """Return, on rank 0, a reading of the clock of each other host by its number; {} elsewhere."""
        world = self.team.world
        found = clocks.measure(world.memory.leaders, world.start_rank) if world.node.rank == 0 else {}
        return {self.host_of[rank]: reading for rank, reading in found.items()}

    def clocks(self, end: dict[int, Reading]) -> list[Clock]:
        """Return the clock of every host; end: the readings at the end."""
        if self.host_of[self.team.world.start_rank] != 0:  # they were made from another host than the first
            end = {}
        hosts = range(1, len(self.first_ranks))
        return [REFERENCE, *(Clock(self.start[host], end.get(host)) for host in hosts)]

    def write(self, end: dict[int, Reading]) -> None:
        """Write the file. Raises MpinnError."""
        assert self.settings.trace
        path, hosts = Path(self.settings.trace), [self.members[rank].host for rank in self.first_ranks]
        known = self.clocks(end)
        ranks = []
        for member, host in zip(self.members, self.host_of, strict=True):
            spans = np.concatenate([np.empty(0, SPAN), *self.gathered[member.rank]])
            for edge in ("start", "end"):
                spans[edge] = known[host].reference(spans[edge])
            ranks.append(RankSpans(member.rank, host, spans))
        content = trace_events.text(ranks, hosts, dict(self.members), self.about(hosts, known)).encode()
        files.write(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)

    def about(self, hosts: list[str], known: list[Clock]) -> dict[str, Any]:
        """Return the `otherData` of the file: docs/train.md explains it."""
        environment = self.facts.environment
        return {
            "program": "mpinn.train",
            "schema_version": SCHEMA_VERSION,
            **{name: environment[name] for name in ("mpinn", "commit", "started")},
            "job": self.facts.job,
            "rounds": self.settings.trace_rounds - self.timeline.left,
            "cut": self.timeline.cut,
            "clocks": [
                {
                    "host": host,
                    "offset_seconds": clock.start.offset,
                    "drift_ppm": 1e6 * clock.drift if clock.end else None,
                    "uncertainty_seconds": clock.uncertainty,
                }
                for host, clock in zip(hosts, known, strict=True)
            ],
            "config": dataclasses.asdict(self.settings),
        }
