"""Spans as a Chrome trace: what the format asks of every event, and what lies within what."""

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from mpinn.parallel.timeline import SPAN, Kind
from mpinn.training import trace_events
from mpinn.training.trace_events import RankSpans

SPANS = np.array(
    [
        (Kind.LEARNING, 10.001, 10.0019999, 1, 2, 5, 20, 4e-4, 3e-4, 1e-4),
        (Kind.LEARNING, 10.002, 10.003, 1, 2, 6, 20, 7e-4, 4e-4, 0.0),  # sums beyond its end, by a clock's rounding
        (Kind.WAITING, 10.0035, 10.0039, 1, 2, -1, 0, 0, 0, 0),
        (Kind.MERGING, 10.0031, 10.0039, 1, 2, -1, 0, 0, 0, 0),
        (Kind.ROUND, 10.001, 10.004, 1, 2, -1, 0, 0, 0, 0),
        (Kind.UNDER_WAY, 10.0001, 10.0035, 1, 1, -1, 0, 0, 0, 0),
        (Kind.RANK_LOST, 10.005, 10.005, 0, 0, 9, 0, 0, 0, 0),
        (Kind.EVALUATING, 10.006, 10.007, 0, 0, -1, 0, 0, 0, 0),
    ],
    SPAN,
)


def written(*ranks: RankSpans, **about: Any) -> dict[str, Any]:
    text = trace_events.text(ranks, ["a", 'b"\\é'], {9: "c"}, about)
    found: dict[str, Any] = json.loads(text)
    for line in text.splitlines()[1:-1]:
        json.loads(line.removesuffix(","))  # an event a line
    return found


@pytest.fixture
def trace() -> dict[str, Any]:
    other = SPANS[[4]].copy()
    for edge in ("start", "end"):
        other[edge] -= 1
    return written(RankSpans(0, 0, SPANS), RankSpans(3, 1, other), job="j", nan=float("nan"))


def check_format(events: list[dict[str, Any]]) -> None:
    """What the Trace Event Format asks for, and Perfetto bears: spans nested, the outer first, none on thread 0."""
    stacks: dict[tuple[int, int], list[float]] = defaultdict(list)
    under_way: dict[tuple[str, str], float] = {}
    complete = [one for one in events if one["ph"] == "X"]
    for thread in {one["tid"] for one in complete}:
        order = [(one["ts"], -one["dur"]) for one in complete if one["tid"] == thread]
        assert order == sorted(order)
    for event in complete:
        assert event["name"] and event["cat"] and event["dur"] >= 0 and event["ts"] >= 0
        end, stack = event["ts"] + event["dur"], stacks[event["pid"], event["tid"]]
        while stack and stack[-1] <= event["ts"]:
            stack.pop()
        assert not stack or end <= stack[-1], f"{event} ends after what it lies in"
        stack.append(end)
    for event in events:
        assert event["ph"] in "XMibe" and isinstance(event["args"], dict)
        assert event["pid"] > 0 and (event["tid"] > 0 or event["ph"] == "M")
        if event["ph"] == "b":
            assert (event["cat"], event["id"]) not in under_way
            under_way[event["cat"], event["id"]] = event["ts"]
        elif event["ph"] == "e":
            assert under_way.pop((event["cat"], event["id"])) <= event["ts"]
    assert not under_way


def test_the_format_is_kept(trace: dict[str, Any]) -> None:
    check_format(trace["traceEvents"])
    assert trace["displayTimeUnit"] == "ms" and trace["otherData"] == {"job": "j", "nan": None}


def test_hosts_and_ranks_are_named(trace: dict[str, Any]) -> None:
    named = {(e["name"], e["pid"], e["tid"]): e["args"] for e in trace["traceEvents"] if e["ph"] == "M"}
    assert named["process_name", 1, 0] == {"name": "a"} and named["process_name", 2, 0] == {"name": 'b"\\é'}
    assert named["thread_name", 1, 1] == {"name": "rank 0"} and named["thread_name", 2, 4] == {"name": "rank 3"}


def test_times_begin_at_the_first_span_and_are_microseconds(trace: dict[str, Any]) -> None:
    rounds = {e["tid"]: (e["ts"], e["dur"]) for e in trace["traceEvents"] if e["name"] == "round"}
    assert rounds == {1: (1e6, 3000.0), 4: (0.0, 3000.0)}


def test_learning_has_its_parts_one_after_the_other(trace: dict[str, Any]) -> None:
    events = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["cat"] == "learning"]
    first, second = events[:5], events[5:]
    assert [e["name"] for e in first] == ["learning", "thinking", "training", "progressing", "rest"]
    assert [e["dur"] for e in first] == [999.875, 400, 300, 100, 199.875]
    assert first[0]["args"] == {"epoch": 1, "round": 2, "worker": 5, "exemplars": 20}
    assert [(e["name"], e["dur"]) for e in second] == [
        ("learning", 1000), ("thinking", 700), ("training", 300), ("rest", 0)
    ]  # fmt: skip


def test_a_lost_rank_is_a_moment_with_its_host(trace: dict[str, Any]) -> None:
    (lost,) = (e for e in trace["traceEvents"] if e["ph"] == "i")
    assert lost["name"] == "rank lost" and lost["args"] == {"rank": 9, "host": "c"} and lost["s"] == "t"


def test_without_a_span_it_is_a_trace_all_the_same() -> None:
    events = written(RankSpans(0, 0, SPANS[:0]))["traceEvents"]
    assert {event["ph"] for event in events} == {"M"}
