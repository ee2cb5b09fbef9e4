"""Traces as bench reads them: the words that are right, files that are not, and the figure."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.analysis import trace
from bench.report import timeline
from mpinn.parallel.timeline import SPAN, Kind
from mpinn.system.errors import UsageError
from mpinn.training import trace_events
from mpinn.training.trace_events import RankSpans
from tests.refusals import refusal

MS = 1e-3
ABOUT: dict[str, Any] = {
    "program": "mpinn.train",
    "schema_version": 1,
    "job": "abc",
    "rounds": 8,
    "cut": False,
    "clocks": [{"host": "a", "uncertainty_seconds": 0.0}, {"host": "b", "uncertainty_seconds": 2e-5}],
}


def rank_spans(learning: float, rounds: int = 8, start: float = 0.0, slowed: float = 0.0) -> list[tuple[Any, ...]]:
    """Return rounds of 10 ms each, four an epoch: learning (a fifth of it the rest), 1 ms of merging, waiting."""
    rows: list[tuple[Any, ...]] = []
    for number in range(rounds):
        at, place = start + 10 * MS * number, (number // 4 + 1, number % 4 + 1)
        learned = at + learning
        rows += [
            (Kind.LEARNING, at, learned, *place, 0, 20, 0.5 * learning, 0.3 * learning, 0.0),
            (Kind.SLOWED, learned, learned + slowed, *place, -1, 0, 0, 0, 0),
            (Kind.WAITING, learned + slowed, at + 9 * MS, *place, -1, 0, 0, 0, 0),
            (Kind.MERGING, learned + slowed, at + 10 * MS, *place, -1, 0, 0, 0, 0),
            (Kind.ROUND, at, at + 10 * MS, *place, -1, 0, 0, 0, 0),
        ]
    return [row for row in rows if row[0] != Kind.SLOWED or slowed]


def written(path: Path, *rows: list[tuple[Any, ...]], **about: Any) -> Path:
    """Write the trace of these ranks, two a host."""
    ranks = [RankSpans(rank, rank // 2, np.array(one, SPAN)) for rank, one in enumerate(rows)]
    text = trace_events.text(ranks, ["a", "b"], {1: "a"}, ABOUT | about)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def even(tmp_path: Path) -> Path:
    return written(tmp_path / "t.json", *[rank_spans(4 * MS)] * 3)


def test_the_shares_of_time_are_those_of_the_spans(even: Path) -> None:
    svg, (first, second, third) = timeline.drawn(even)
    assert first == (
        "rounds 5 to 7 of 8 (epoch 2), 3 ranks on 2 hosts, 30 ms: learning 40 % (thinking 20, training 12, rest 8), "
        "merging 10 %, waiting 50 % of their time"
    )
    assert second == "all ranks learn about equally long, 4 ms a round"
    assert third == "times of different hosts are known within 20 microseconds"
    ElementTree.fromstring(svg)
    for name in ("round 5", "round 7", "a, rank 0", "b, rank 2", "thinking", "waiting", "rest of learning"):
        assert f">{name}<" in svg, name
    assert ">round 8<" not in svg and ">recovering<" not in svg


@pytest.mark.parametrize("slowed", [0.0, 3.0])
def test_the_rank_that_others_wait_for_is_named(tmp_path: Path, slowed: float) -> None:
    slow = rank_spans(6 * MS - slowed * MS, slowed=slowed * MS)
    _, sentences = timeline.drawn(written(tmp_path / "t.json", rank_spans(2 * MS), slow, rank_spans(3 * MS)))
    by = ", slowed by MPINN_FAULT" if slowed else ""
    assert f"rank 1 learns longest (6 ms a round{by}; others 2.5 ms): the others wait for it" in sentences
    assert ("slowed 10" in sentences[0]) == bool(slowed)


def test_a_merge_under_way_is_told_with_what_ranks_did_meanwhile(tmp_path: Path) -> None:
    """From the end of a round to the middle of the next one's waiting: 8 ms, of which 3.2 and 0.4 are learning."""
    rows = [(*row[:-1], 0.1 * 4 * MS) if row[0] == Kind.LEARNING else row for row in rank_spans(4 * MS)]
    rows += [
        (Kind.UNDER_WAY, 10 * MS * k, 10 * MS * k + 8 * MS, (k - 1) // 4 + 1, (k - 1) % 4 + 1, -1, 0, 0, 0, 0)
        for k in range(1, 8)
    ]
    svg, sentences = timeline.drawn(written(tmp_path / "t.json", rows, rows))
    assert sentences[2] == (
        "a merge is under way for 8 ms: meanwhile ranks think and train in 40 % of the time, and MPI goes on with it "
        "between exemplars in 5 %"
    )
    assert "progressing 4" in sentences[0] and ">merge under way<" in svg and ">MPI's progress<" in svg


def lost(path: Path) -> Path:
    """Rank 1 is lost in the third round; the others notice at 24 and 26 ms, and do the round again at 60."""
    survivors = []
    for noticed in (24 * MS, 26 * MS):
        before, after = rank_spans(4 * MS, 2), rank_spans(4 * MS, 6, start=60 * MS)
        broken = [
            (Kind.LEARNING, 20 * MS, 23 * MS, 1, 3, 0, 20, MS, MS, 0),
            (Kind.ROUND, 20 * MS, noticed, 1, 3, -1, 0, 0, 0, 0),
            (Kind.RECOVERING, noticed, 60 * MS, 0, 0, -1, 0, 0, 0, 0),
            (Kind.RANK_LOST, 59 * MS, 59 * MS, 0, 0, 1, 0, 0, 0, 0),
        ]
        redone = [(*row[:3], 1 + (n // 4 + 2) // 4, (n // 4 + 2) % 4 + 1, *row[5:]) for n, row in enumerate(after)]
        survivors.append(before + broken + redone)
    return written(path, survivors[0], [], survivors[1])


def test_a_lost_rank_is_named_and_the_rounds_around_it_are_shown(tmp_path: Path) -> None:
    svg, sentences = timeline.drawn(lost(tmp_path / "t.json"))
    assert sentences[0].startswith("rounds 2 to 4 of 9 (epoch 1), 2 ranks on 2 hosts, 60 ms: ")
    assert "recovering 58 %" in sentences[0]
    (said,) = (one for one in sentences if "lost" in one)
    assert said.startswith("rank 1 on a was lost: the others noticed after 0.024 s, and took 36 ms to go on")
    assert svg.count(">lost<") == 1 and ">recovering<" in svg and ">a, rank 1<" in svg
    _, elsewhere = timeline.drawn(tmp_path / "t.json", rounds=1, first=8)
    assert said in elsewhere and elsewhere[0].startswith("round 8 of 9")


def test_going_back_and_a_cut_are_said(tmp_path: Path) -> None:
    rows = [*rank_spans(4 * MS), (Kind.GOING_BACK, 80 * MS, 81 * MS, 0, 0, -1, 0, 0, 0, 0)]
    _, sentences = timeline.drawn(written(tmp_path / "t.json", rows, cut=True))
    assert "the run went back to earlier weights after 0.080 s" in sentences
    assert "the trace ends after 8 rounds: --trace-rounds asks for more" in sentences


@pytest.mark.parametrize(
    "rounds, first, told",
    [
        (1, None, "round 6 of 8 (epoch 2)"),
        (4, None, "rounds 5 to 8 of 8 (epoch 2)"),
        (2, 4, "rounds 4 to 5 of 8 (from epoch 1, round 4, to epoch 2, round 1)"),
        (100, None, "rounds 1 to 8 of 8"),
        (3, 8, "round 8 of 8"),
    ],
)
def test_which_rounds_are_shown(even: Path, rounds: int, first: int | None, told: str) -> None:
    assert timeline.drawn(even, rounds, first)[1][0].startswith(told)


def test_a_gzipped_trace_is_read_and_drawn_beside_it(
    tmp_path: Path, even: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.__main__ import main

    zipped = written(tmp_path / "z.json.gz", *[rank_spans(4 * MS)] * 3)
    assert (trace.read(zipped).spans == trace.read(even).spans).all()
    assert main(["timeline", str(zipped)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [*timeline.drawn(even)[1], f"drawn in {tmp_path / 'z.svg'}"]
    drawn = (tmp_path / "z.svg").read_text()
    assert drawn.startswith("<?xml") and "background: #ffffff" in drawn
    with pytest.raises(UsageError, match="is the trace itself"):
        main(["timeline", str(even), "--out", str(even)])
    with pytest.raises(UsageError, match="--from-round 9: the trace has 8 rounds"):
        main(["timeline", str(even), "--from-round", "9"])
    for wrong in ("0", "x", "1001", "²"):
        with pytest.raises(UsageError, match="expected a whole number from 1 to 1000"):
            main(["timeline", str(even), "--rounds", wrong])


Doctor = Callable[[list[str]], list[str]]


def event(number: int = 20, **changes: Any) -> Doctor:
    """Change an event; a value of None leaves it out."""

    def doctored(lines: list[str]) -> list[str]:
        content = json.loads(lines[number].removesuffix(",")) | changes
        lines[number] = json.dumps({key: value for key, value in content.items() if value is not None}) + ","
        return lines

    return doctored


def head(**changes: Any) -> Doctor:
    def doctored(lines: list[str]) -> list[str]:
        about = json.dumps(ABOUT | changes)
        return [f'{{"displayTimeUnit": "ms", "otherData": {about}, "traceEvents": [', *lines[1:]]

    return doctored


DOCTORED: dict[str, tuple[Doctor, str]] = {
    "empty": (lambda lines: [], "no trace of mpinn.train by its first line; is it a trace of another program?"),
    "another program's": (
        lambda lines: ['{"traceEvents": [{"name": "x", "ph": "B", "ts": 1, "pid": 1, "tid": 1}]}'],
        "is it a trace of another program? This one reads what mpinn.train --trace wrote",
    ),
    "another program's, by its head": (head(program="chrome"), "otherData.program: expected mpinn.train"),
    "a later schema": (head(schema_version=2), "otherData.schema_version"),
    "no hosts": (head(clocks=[]), "otherData.clocks: expected a list of at least one"),
    "a host's name that moves the cursor": (head(clocks=[{"host": "\x1b[2J", "uncertainty_seconds": 0}]), "host"),
    "a bad head": (lambda lines: [lines[0].replace("1", "1]", 1), *lines[1:]], "line 1: not valid JSON"),
    "cut off": (lambda lines: lines[:-3], "truncated: its last line is missing"),
    "more after the end": (lambda lines: [*lines[:-1], "]}", "{}"], "goes on after its last event"),
    "no JSON": (lambda lines: [*lines[:20], "{,", *lines[21:]], "line 21: "),
    "NaN": (
        lambda lines: [*lines[:20], lines[20].replace('"dur":', '"dur":NaN,"x":'), *lines[21:]],
        "NaN is no number",
    ),
    "no event": (lambda lines: [*lines[:20], "[1],", *lines[21:]], "line 21: expected an event"),
    "deep": (lambda lines: [*lines[:20], "[" * 9000 + "]" * 9000, *lines[21:]], "line 21: nested too deeply"),
    "a kind of event that is none of ours": (event(ph="B"), "ph: expected X, M, i, b or e, got 'B'"),
    "a rank without a name": (event(tid=9), "tid: rank 8 is not named before"),
    "a rank on another host": (event(pid=2), "or on another host"),
    "a rank that is no number": (event(tid="1"), "tid: expected a whole number"),
    "a flag for a rank": (event(tid=True), "tid: expected a whole number"),
    "a huge rank": (event(tid=10**18), "tid: expected a whole number"),
    "no time": (event(ts=None), "ts: expected microseconds, got None"),
    "negative time": (event(ts=-1), "ts: expected microseconds, got -1"),
    "a huge length": (event(dur=1e300), "dur: expected microseconds"),
    "no args": (event(args=None), "args: expected a mapping"),
    "an epoch in words": (event(args={"epoch": "one"}), "epoch: expected a whole number"),
    "a name of nothing": (event(name="dreaming"), "'dreaming' is nothing that mpinn.train does"),
    "a name that is no text": (event(name=["x"]), "is nothing that mpinn.train does"),
    "an end without a beginning": (event(ph="e"), "a merge ends that did not begin"),
    "a lost rank on no host": (event(ph="i", name="rank lost", args={"rank": 1, "host": "\x07"}), "expected a rank"),
    "a host beyond those there are": (event(number=5, pid=3), "pid: expected one of 2 hosts"),
}


@pytest.mark.parametrize("name", DOCTORED)
def test_a_doctored_trace_is_refused_with_one_line(even: Path, name: str) -> None:
    doctor, told = DOCTORED[name]
    even.write_text("\n".join(doctor(even.read_text().splitlines())))
    with pytest.raises(UsageError) as raised:
        timeline.drawn(even)
    said = str(raised.value)
    assert said.startswith(f"{even}: ") and told in said and "\n" not in said and said.isprintable()


def test_a_trace_without_a_round_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the trace has no round: was the run stopped before its first"):
        timeline.drawn(written(tmp_path / "t.json", [], []))


@pytest.mark.parametrize(
    "content, told",
    [
        (gzip.compress(bytes(2**26)), "a line of more than 1,048,576 bytes"),
        (gzip.compress(b"\n" * 2**27, 9), "no trace of mpinn.train"),
        (b"\x1f\x8bnothing", "damaged"),
    ],
    ids=["a line without end", "lines without end", "no gzip"],
)
def test_a_bomb_is_refused_with_little_memory(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "t.json.gz"
    path.write_bytes(content)
    assert told in refusal("trace", path)


def test_a_gzipped_trace_of_too_many_events_is_refused(even: Path, tmp_path: Path) -> None:
    lines = even.read_text().splitlines()
    path = tmp_path / "t.json.gz"
    many = "\n".join([*lines[:20], *[lines[20]] * 2**18, *lines[21:]])
    path.write_bytes(gzip.compress(many.encode()))
    assert re.search(r"[\d,]+ bytes of data, but a file of its size is trusted with", refusal("trace", path))


def test_too_many_spans_are_refused_with_the_cure(even: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MOST_SPANS", 50)
    with pytest.raises(UsageError, match="more than 50 spans: trace fewer rounds with --trace-rounds"):
        trace.read(even)


def test_too_many_bars_are_refused_with_the_cure(even: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_BARS", 10)
    with pytest.raises(UsageError, match="draw fewer --rounds"):
        timeline.drawn(even)


def test_of_many_ranks_the_first_are_drawn(even: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_ROWS", 2)
    svg, sentences = timeline.drawn(even)
    assert sentences[-1] == "the figure shows the first 2 ranks" and ">b, rank 2<" not in svg
