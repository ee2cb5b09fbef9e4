"""The ranks' spans as a Chrome trace, the JSON that Perfetto and chrome://tracing open.

An event a line, so that a reader need not hold all of them at once. A host is a process, from 1 on, and rank r its
thread r + 1: thread 0 is to Perfetto that of an idle processor, and it drops what is there.
Times are whole eighths of a microsecond: as a float they are exact, and what lies within a span stays within it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mpinn.parallel.timeline import Kind
from mpinn.system.files import without_nan

TICKS = 8  # of a microsecond
CATEGORIES = {
    Kind.ROUND: "round",
    Kind.LEARNING: "learning",
    Kind.SLOWED: "learning",
    Kind.MERGING: "merging",
    Kind.WAITING: "waiting",
    Kind.UNDER_WAY: "merging",
}  # of what is not once in a while


class RankSpans(NamedTuple):
    """What is known of one rank."""

    rank: int  # by its number at the start
    host: int  # from 0
    spans: np.ndarray  # (spans,) timeline.SPAN, by the clock of the reference


def text(ranks: Sequence[RankSpans], hosts: Sequence[str], lost: Mapping[int, str], about: Mapping[str, Any]) -> str:
    """Return the trace; lost: the hosts of ranks that were lost; about: its `otherData`."""
    starts = [one.spans["start"].min() for one in ranks if len(one.spans)]
    zero = min(starts, default=0.0)
    lines = [as_json(event) for event in names(ranks, hosts)]
    for one in ranks:
        lines += events(one, zero, lost)
    head = f'{{"displayTimeUnit": "ms", "otherData": {as_json(without_nan(about))}, "traceEvents": [\n'
    return head + ",\n".join(lines) + "\n]}\n"


def as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def names(ranks: Sequence[RankSpans], hosts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the events that name hosts and ranks, and keep them in order."""
    for number, host in enumerate(hosts, start=1):
        for key, value in (("name", host), ("sort_index", number)):
            yield {"name": f"process_{key}", "ph": "M", "pid": number, "tid": 0, "args": {key: value}}
    for rank, host_number, _ in ranks:
        for key, value in (("name", f"rank {rank}"), ("sort_index", rank)):
            yield {"name": f"thread_{key}", "ph": "M", "pid": host_number + 1, "tid": rank + 1, "args": {key: value}}


def events(of: RankSpans, zero: float, lost: Mapping[int, str]) -> Iterator[str]:
    """Yield the events of a rank's spans; zero: what is 0 in the file, seconds."""
    place = f'"pid":{of.host + 1},"tid":{of.rank + 1}'
    spans = of.spans
    parts = np.column_stack([spans["start"], *(spans[part] for part in ("think", "train", "progress"))]).cumsum(axis=1)
    marks = np.column_stack((np.minimum(parts, spans["end"][:, None]), spans["end"]))
    ticks = np.rint((marks - zero) * 1e6 * TICKS) / TICKS  # (spans, 5) microseconds
    order = np.lexsort((-ticks[:, -1], ticks[:, 0]))  # what lies within a span comes after it

    def complete(name: str, category: str, start: float, end: float, args: str) -> str:
        times = f'"ts":{start},"dur":{end - start}'
        return f'{{"name":"{name}","cat":"{category}","ph":"X",{times},{place},"args":{{{args}}}}}'

    for row, (start, thought, trained, progressed, end) in zip(
        spans[order].tolist(), ticks[order].tolist(), strict=True
    ):
        number, _, _, epoch, round_, worker, exemplars, *_ = row
        kind = Kind(number)
        name, category = kind.name.lower().replace("_", " "), CATEGORIES.get(kind, "run")
        args = f'"epoch":{epoch},"round":{round_}' if epoch else ""
        if kind == Kind.LEARNING:
            args += f',"worker":{worker}'
            yield complete(name, category, start, end, f'{args},"exemplars":{exemplars}')
            yield complete("thinking", category, start, thought, args)
            yield complete("training", category, thought, trained, args)
            if progressed > trained:
                yield complete("progressing", category, trained, progressed, args)
            yield complete("rest", category, progressed, end, args)
        elif kind == Kind.UNDER_WAY:
            merge = f'"name":"merge of rank {of.rank} under way","cat":"{category}","id":"rank {of.rank}",{place}'
            yield f'{{{merge},"ph":"b","ts":{start},"args":{{{args},"rank":{of.rank}}}}}'
            yield f'{{{merge},"ph":"e","ts":{end},"args":{{}}}}'
        elif kind == Kind.RANK_LOST:
            about = as_json({"rank": worker, "host": lost.get(worker, "")})
            yield f'{{"name":"{name}","cat":"run","ph":"i","s":"t","ts":{start},{place},"args":{about}}}'
        else:
            yield complete(name, category, start, end, args)
