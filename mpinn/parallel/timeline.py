"""What this rank does when, for --trace: its spans, by `time.perf_counter`, a clock that all ranks of a host share."""

from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from struct import Struct
from time import perf_counter
from types import TracebackType
from typing import NamedTuple

import numpy as np


class Kind(IntEnum):
    """What a rank does. Spans of one rank lie within each other or beside each other, but for UNDER_WAY."""

    ROUND = 0  # from its first exemplar on until the master has moved
    LEARNING = 1  # one worker's batch, and storing its term
    SLOWED = 2  # by MPINN_FAULT
    COMPARING = 3  # replicas
    MERGING = 4
    WAITING = 5  # in a barrier or an Allreduce
    UNDER_WAY = 6  # a merge, from when it was sent until this rank noticed that it was complete
    SCATTERING = 7  # the worker batches of an epoch
    GATHERING = 8  # the phases of an epoch's rounds
    EVALUATING = 9
    SAVING = 10  # a snapshot, or the result
    TRACING = 11  # the ranks' spans go to rank 0
    RECOVERING = 12  # from a lost rank, or from replicas that differ
    GOING_BACK = 13  # to an earlier state
    RANK_LOST = 14  # a moment


SPAN = np.dtype(
    [
        ("kind", np.int32),
        ("start", np.float64),  # seconds
        ("end", np.float64),
        ("epoch", np.int32),  # 0: none
        ("round", np.int32),
        ("number", np.int32),  # the worker that learns, or the rank that was lost; -1: none
        ("exemplars", np.int32),  # that were learned
        ("think", np.float64),  # seconds of learning
        ("train", np.float64),
        ("progress", np.float64),  # seconds of learning in which MPI went on with a merge
    ]
)
PACKED = Struct("=iddiiiiddd").pack  # as SPAN lies in memory
NOTHING = nullcontext()


class Departure(NamedTuple):
    """When a merge was sent."""

    at: float  # by perf_counter
    epoch: int
    round: int


class Timeline:
    """The spans of this rank."""

    def __init__(self, rounds: int = 0) -> None:
        """rounds: how many are traced, from now on; 0: nothing is noted at all."""
        self.on = rounds > 0
        self.left = rounds
        self.cut = False  # whether there were more rounds
        self.active = False  # whether a round is under way that is traced
        self.epoch = self.round = 0
        self.began = 0.0  # the round
        self.progressed = 0.0  # seconds in which MPI went on with merges, between exemplars
        self.noted = bytearray()  # of SPAN: a tuple a span would keep the garbage collector busy

    def begin_round(self, epoch: int, round_: int) -> None:
        """A round begins, from 1."""
        self.active = self.left > 0
        if self.active:
            self.left -= 1
            self.epoch, self.round = epoch, round_
            self.began = perf_counter()
        else:
            self.cut = self.on

    def end_round(self) -> None:
        """The round ends, or is broken off."""
        if self.active:
            self.note(Kind.ROUND, self.began, perf_counter())
            self.active = False
            self.epoch = self.round = 0

    def note(self, kind: Kind, start: float, end: float, number: int = -1) -> None:
        """Note a span; call it where `active`, or `on`."""
        self.noted += PACKED(kind, start, end, self.epoch, self.round, number, 0, 0.0, 0.0, 0.0)

    def learned(self, start: float, worker: int, exemplars: int, think: float, train: float, progress: float) -> None:
        """Note that a worker has learned its batch, up to now; the last three in seconds. Call it where `active`."""
        end, place = perf_counter(), (self.epoch, self.round, worker)
        self.noted += PACKED(Kind.LEARNING, start, end, *place, exemplars, think, train, progress)

    def span(self, kind: Kind) -> AbstractContextManager[None]:
        """Within it the rank does this."""
        return Span(self, kind) if self.on else NOTHING

    def of_round(self, kind: Kind) -> AbstractContextManager[None]:
        """As `span`, in the rounds that are traced."""
        return Span(self, kind) if self.active else NOTHING

    def depart(self) -> Departure | None:
        """The merge of this round is sent; None: it is not traced."""
        return Departure(perf_counter(), self.epoch, self.round) if self.active else None

    def arrive(self, sent: Departure) -> None:
        """That merge is complete."""
        self.noted += PACKED(Kind.UNDER_WAY, sent.at, perf_counter(), sent.epoch, sent.round, -1, 0, 0.0, 0.0, 0.0)

    def spans(self) -> np.ndarray:
        """Return what was noted, (spans,) SPAN, in the order in which it ended."""
        return np.frombuffer(bytes(self.noted), SPAN)

    def clear(self) -> None:
        """Forget what was noted."""
        self.noted.clear()


class Span:
    """A context that a rank enters and leaves; a generator would take longer than some of what is noted."""

    __slots__ = ("kind", "start", "timeline")

    def __init__(self, timeline: Timeline, kind: Kind) -> None:
        self.timeline, self.kind = timeline, kind

    def __enter__(self) -> None:
        self.start = perf_counter()

    def __exit__(
        self, raised: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.timeline.note(self.kind, self.start, perf_counter())
