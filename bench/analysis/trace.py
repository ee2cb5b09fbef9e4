"""A trace that `mpinn.train --trace` wrote, and what it adds up to.

It may come from other machines, and from other people: it is read line by line, and believed no further than checked.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.harness.stored import TEXT
from mpinn.datasets import bounded
from mpinn.datasets.bounded import Stream
from mpinn.system import untrusted
from mpinn.system.errors import UsageError
from mpinn.system.schema import CHARACTERS, entry, read_fields, shown

LONGEST_LINE = 2**20  # bytes
MOST_SPANS = 2**20
MOST_MICROSECONDS = 1e15  # thirty years
MOST_RANKS = 2**20
CHUNK = 2**13  # spans, of Python objects at once

HEAD, END = b'{"displayTimeUnit": "ms", "otherData": ', b"]}"
PARTS = ("thinking", "training", "progressing", "rest")  # of learning, one after the other
RARE = (
    *("comparing", "scattering", "gathering", "evaluating", "saving", "tracing"),
    *("recovering", "going back"),
)
UNDER_WAY, LOST = "under way", "rank lost"
NAMES = ("round", "learning", "slowed", "merging", "waiting", *PARTS, *RARE, UNDER_WAY, LOST)
NUMBER = {name: number for number, name in enumerate(NAMES)}

SPAN = np.dtype(
    [
        ("name", np.int32),  # of NAMES
        ("rank", np.int32),
        ("start", np.float64),  # seconds
        ("end", np.float64),
        ("epoch", np.int32),  # 0: none
        ("round", np.int32),
        ("worker", np.int32),  # or the rank that was lost; -1: none
    ]
)


@dataclass(frozen=True, kw_only=True)
class HostClock:
    OPEN = True
    host: str = entry("its name", pattern=rf"{CHARACTERS}{{1,255}}")
    uncertainty_seconds: float = entry("of its clock", least=0, most=1e6)


@dataclass(frozen=True, kw_only=True)
class About:
    """What a trace says of itself, as far as bench looks at it (docs/train.md)."""

    OPEN = True
    program: str = entry("that wrote it", choices=("mpinn.train",))
    schema_version: int = entry("of traces", least=1, most=1)
    job: str = entry("of the run", pattern=TEXT)
    rounds: int = entry("that were traced", least=0, most=2**31 - 1)
    cut: bool = entry("whether there were more")
    clocks: tuple[HostClock, ...] = entry("hosts", items=1)


class Trace(NamedTuple):
    about: About
    host_of: dict[int, int]  # of each rank, from 0 on, in about.clocks
    spans: np.ndarray  # (spans,) SPAN, by start
    lost: list[tuple[int, str]]  # ranks that were lost, and their hosts

    @property
    def ranks(self) -> list[int]:
        return sorted(self.host_of)

    def of(self, *names: str) -> np.ndarray:
        """Return the spans of these names."""
        return self.spans[np.isin(self.spans["name"], [NUMBER[name] for name in names])]


def read(path: Path) -> Trace:
    """Return what is in a trace, gzipped or not. Raises UsageError that names the file."""
    with bounded.opened(path) as (file, limit):
        lines = bounded_lines(bounded.unzipped(file), path, limit)
        about = head(next(lines, b""), path)
        reader = Reader(about)
        for number, line in enumerate(lines, start=2):
            if line == END:
                break
            try:
                reader.take(untrusted.json_value(line.removesuffix(b",")))
            except ValueError as error:
                raise UsageError(f"{path}: line {number}: {error}; copy the trace again") from None
        else:
            raise UsageError(f"{path}: truncated: its last line is missing; copy it again")
        if next(lines, None) is not None:
            raise UsageError(f"{path}: goes on after its last event; copy it again")
    return reader.trace()


def bounded_lines(stream: Stream, path: Path, limit: int) -> Iterator[bytes]:
    """Yield the lines of a file of at most so many bytes of data, without their ends. Raises UsageError."""
    size = 0
    while line := stream.readline(LONGEST_LINE + 1):
        size += len(line)
        bounded.check_size(size, limit, str(path))
        if len(line) > LONGEST_LINE:
            raise UsageError(f"{path}: a line of more than {LONGEST_LINE:,} bytes; {OTHER}")
        yield line.rstrip(b"\r\n")


OTHER = "is it a trace of another program? This one reads what mpinn.train --trace wrote"


def head(line: bytes, path: Path) -> About:
    """Return what the first line of a trace says of it. Raises UsageError."""
    if not (line.startswith(HEAD) and line.endswith(b'"traceEvents": [')):
        raise UsageError(f"{path}: no trace of mpinn.train by its first line; {OTHER}")
    try:
        content = untrusted.json_value(line + END)
        return About(**read_fields(About, content["otherData"], "otherData"))
    except ValueError as error:
        raise UsageError(f"{path}: line 1: not valid JSON: {error}; copy the trace again") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


class Reader:
    """Takes events one by one; a wrong one is a ValueError."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.host_of: dict[int, int] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.chunks: list[np.ndarray] = [np.empty(0, SPAN)]
        self.count = 0
        self.lost: dict[int, str] = {}
        self.sent: dict[int, tuple[Any, ...]] = {}  # the merge that is under way, by rank

    def take(self, event: Any) -> None:
        if not isinstance(event, dict):
            raise ValueError(f"expected an event, got {shown(event)}")
        kind = event.get("ph")
        if kind == "M":
            self.name(event)
            return
        if kind not in ("X", "i", "b", "e"):
            raise ValueError(f"ph: expected X, M, i, b or e, got {shown(kind)}")
        rank = whole(event, "tid", MOST_RANKS) - 1
        if self.host_of.get(rank) != whole(event, "pid", MOST_RANKS) - 1:
            raise ValueError(f"tid: rank {rank} is not named before, or on another host")
        start = microseconds(event, "ts")
        args = event.get("args")
        if not isinstance(args, dict):
            raise ValueError(f"args: expected a mapping, got {shown(args)}")
        if kind == "e":
            self.arrive(rank, start)
            return
        place = [whole(args, key, 2**31 - 1) if key in args else 0 for key in ("epoch", "round")]
        if kind == "b":
            self.sent[rank] = (rank, start, *place)
        elif kind == "i":
            self.lose(event, rank, start, args)
        else:
            name = event.get("name")
            if name not in NAMES or name in (UNDER_WAY, LOST):
                raise ValueError(f"name: {shown(name)} is nothing that mpinn.train does")
            worker = whole(args, "worker", 2**31 - 1) if "worker" in args else -1
            self.add(NUMBER[name], rank, start, start + microseconds(event, "dur"), *place, worker)

    def name(self, event: dict[str, Any]) -> None:
        """Learn of a rank; the hosts' names are in the head."""
        if event.get("name") != "thread_name":
            return
        rank, host = whole(event, "tid", MOST_RANKS) - 1, whole(event, "pid", MOST_RANKS) - 1
        if rank < 0 or not 0 <= host < len(self.about.clocks):
            raise ValueError(f"pid: expected one of {len(self.about.clocks)} hosts, tid: more than 0")
        self.host_of[rank] = host

    def arrive(self, rank: int, end: float) -> None:
        if rank not in self.sent:
            raise ValueError("a merge ends that did not begin")
        _, start, *place = self.sent.pop(rank)
        if end < start:
            raise ValueError("a merge ends before it begins")
        self.add(NUMBER[UNDER_WAY], rank, start, end, *place, -1)

    def lose(self, event: dict[str, Any], rank: int, at: float, args: dict[str, Any]) -> None:
        number, host = whole(args, "rank", MOST_RANKS), args.get("host")
        if event.get("name") != LOST or not isinstance(host, str) or len(host) > 255 or not host.isprintable():
            raise ValueError(f"expected a rank that was lost, got {shown(event.get('name'))}, host {shown(host)}")
        self.lost[number] = host
        self.add(NUMBER[LOST], rank, at, at, 0, 0, number)

    def add(self, *row: Any) -> None:
        """Keep a span: the fields of SPAN, in microseconds."""
        self.count += 1
        if self.count > MOST_SPANS:
            raise ValueError(f"more than {MOST_SPANS:,} spans: trace fewer rounds with --trace-rounds")
        self.rows.append(row)
        if len(self.rows) == CHUNK:
            self.flush()

    def flush(self) -> None:
        self.chunks.append(np.array(self.rows, SPAN))
        self.rows.clear()

    def trace(self) -> Trace:
        self.flush()
        spans = np.concatenate(self.chunks)
        spans["start"] /= 1e6
        spans["end"] /= 1e6
        order = np.lexsort((-spans["end"], spans["start"]))
        return Trace(self.about, self.host_of, spans[order], sorted(self.lost.items()))


def whole(event: dict[str, Any], key: str, most: int) -> int:
    """Return a whole number of an event. Raises ValueError."""
    value = event.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{key}: expected a whole number, at most {most}, got {shown(value)}")
    return value


def microseconds(event: dict[str, Any], key: str) -> float:
    """Return a time of an event. Raises ValueError."""
    value: Any = event.get(key)
    if type(value) not in (int, float) or not 0 <= value <= MOST_MICROSECONDS:
        raise ValueError(f"{key}: expected microseconds, got {shown(value)}")
    return float(value)


class Window(NamedTuple):
    """Rounds that follow each other, and when they were."""

    first: int  # from 1, counted over the trace
    last: int
    of: int  # rounds that the trace has
    rounds: list[tuple[int, int]]  # epoch and round of each, from 1
    starts: list[float]  # of each, on the rank that began first; seconds
    end: float

    @property
    def start(self) -> float:
        return self.starts[0]


def window(trace: Trace, rounds: int, first: int | None) -> Window:
    """Return so many rounds from the first on; None: around what was lost, or in the middle of an epoch.

    A round that was done again is a round of its own. Raises UsageError where the trace has no such round.
    """
    found = all_rounds(trace)
    if not found:
        raise UsageError("the trace has no round: was the run stopped before its first?")
    if first is None:
        first = chosen(trace, found, rounds)
    elif first > len(found):
        raise UsageError(f"--from-round {first}: the trace has {len(found)} rounds")
    kept = found[first - 1 : first - 1 + rounds]
    places, starts, ends = zip(*kept, strict=True)
    return Window(first, first + len(kept) - 1, len(found), list(places), list(starts), max(ends))


def all_rounds(trace: Trace) -> list[tuple[tuple[int, int], float, float]]:
    """Return every round, in order: its epoch and round, and when its first rank began and its last ended."""
    times = Counter[tuple[int, int, int]]()  # that a rank has begun a round
    found: dict[tuple[tuple[int, int], int], tuple[float, float]] = {}
    columns = [trace.of("round")[field].tolist() for field in ("rank", "epoch", "round", "start", "end")]
    for rank, epoch, round_, start, end in zip(*columns, strict=True):
        times[rank, epoch, round_] += 1
        key = ((epoch, round_), times[rank, epoch, round_])
        first, last = found.get(key, (start, end))
        found[key] = (min(first, start), max(last, end))
    return sorted(((place, *when) for (place, _), when in found.items()), key=lambda one: one[1])


def chosen(trace: Trace, found: Sequence[tuple[tuple[int, int], float, float]], rounds: int) -> int:
    """Return the first of so many rounds, from 1, that are worth a look."""
    recovering = trace.of("recovering")
    if len(recovering):
        before = sum(start < recovering["start"][0] for _, start, _ in found)
        return max(1, min(before - (rounds - 1) // 2, len(found) - rounds + 1))  # the last of them was broken off
    epoch = found[len(found) // 2][0][0]
    of_epoch = [number for number, (place, _, _) in enumerate(found, start=1) if place[0] == epoch]
    return max(1, of_epoch[0] + (len(of_epoch) - rounds) // 2)


def within(spans: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the seconds of each span that lie between two times, (spans,)."""
    return np.maximum(0, np.minimum(spans["end"], end) - np.maximum(spans["start"], start))


class Shares(NamedTuple):
    """Seconds of each rank in a window, (ranks,) each, in the order of `Trace.ranks`."""

    thinking: np.ndarray
    training: np.ndarray
    progressing: np.ndarray  # MPI with merges, between exemplars
    rest: np.ndarray
    slowed: np.ndarray
    merging: np.ndarray  # without the waiting in it
    waiting: np.ndarray
    recovering: np.ndarray

    @property
    def learning(self) -> np.ndarray:
        return self.thinking + self.training + self.progressing + self.rest + self.slowed


def shares(trace: Trace, start: float, end: float) -> Shares:
    """Return what every rank did between two times."""

    def seconds(name: str) -> np.ndarray:
        spans = trace.of(name)
        places = np.searchsorted(trace.ranks, spans["rank"])
        return np.bincount(places, within(spans, start, end), len(trace.ranks))

    waiting = seconds("waiting")
    others = {name: seconds(name) for name in (*PARTS, "slowed", "recovering")}
    return Shares(**others, merging=seconds("merging") - waiting, waiting=waiting)


class UnderWay(NamedTuple):
    """The merges that were under way in a window."""

    seconds: float  # of one, on average
    learning: float  # the share of their time in which ranks thought and trained
    progressing: float  # and in which MPI went on with them, between exemplars


def under_way(trace: Trace, start: float, end: float) -> UnderWay | None:
    """Return what is to be said of the merges that were under way between two times; None: there were none."""
    sums, count = np.zeros(3), 0
    for rank in trace.ranks:
        mine = trace.spans[trace.spans["rank"] == rank]
        merges = mine[(mine["name"] == NUMBER[UNDER_WAY]) & (mine["start"] < end) & (mine["end"] > start)]
        count += len(merges)
        sums += [
            (merges["end"] - merges["start"]).sum(),
            meanwhile(mine, ("thinking", "training"), merges),
            meanwhile(mine, ("progressing",), merges),
        ]
    return UnderWay(sums[0] / count, *(sums[1:] / max(sums[0], 1e-12))) if count else None


def meanwhile(mine: np.ndarray, names: Sequence[str], merges: np.ndarray) -> float:
    """Return the seconds of a rank's spans of these names, which do not overlap, that lie within its merges."""
    spans = mine[np.isin(mine["name"], [NUMBER[name] for name in names])]
    if not len(spans):
        return 0.0
    edges = np.column_stack((spans["start"], spans["end"])).ravel()
    lengths = spans["end"] - spans["start"]
    done = np.column_stack((lengths.cumsum() - lengths, lengths.cumsum())).ravel()
    return float((np.interp(merges["end"], edges, done) - np.interp(merges["start"], edges, done)).sum())
