"""`bench timeline`: some rounds of a trace as a figure, and in words what to see in it."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis import trace
from bench.analysis.trace import PARTS, RARE, UNDER_WAY, Shares, Trace, Window
from mpinn.system import files
from mpinn.system.errors import UsageError
from mpinn.system.words import counted

ROUNDS = 3
MOST_ROUNDS = 1000
MOST_ROWS = 64  # ranks that are drawn
MOST_BARS = 20_000
LONGER = 1.3  # times as long as the others a rank learns, to be named


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "timeline",
        help="draw who did what when",
        description="Draw some rounds of a trace of `python -m mpinn.train --trace FILE`, and say what they show.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="trace, gzipped or not")
    parser.add_argument("--out", type=Path, metavar="SVG", help="where the figure goes (default: beside FILE)")
    parser.add_argument("--rounds", type=rounds, default=ROUNDS, metavar="N", help=f"how many (default: {ROUNDS})")
    parser.add_argument(
        "--from-round",
        type=rounds,
        metavar="N",
        help="the first, counted over the trace (default: around a lost rank, or in the middle)",
    )
    parser.set_defaults(command=timeline)


def rounds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_ROUNDS:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST_ROUNDS}, got {text!r}")
    return int(text)


def timeline(asked: argparse.Namespace) -> int:
    """Write the figure, print the words; return the exit status. Raises UsageError, MpinnError."""
    out = asked.out or Path(str(asked.file).removesuffix(".gz")).with_suffix(".svg")
    if out.resolve() == asked.file.resolve():
        raise UsageError(f"{out}: is the trace itself; give --out another file")
    svg, sentences = drawn(asked.file, asked.rounds, asked.from_round)
    from bench.report import figures

    files.check_writable(out.parent, "--out")
    files.write(out, figures.alone(svg).encode())
    print("\n".join(sentences))
    print(f"drawn in {out}")
    return 0


def drawn(path: Path, rounds: int = ROUNDS, first: int | None = None) -> tuple[str, list[str]]:
    """Return a figure of so many rounds of a trace, an <svg> element, and sentences that say what it shows.

    first: round, from 1, counted over the trace; None: around a lost rank, or in the middle. Raises UsageError.
    """
    try:
        from bench.report import gantt
    except ImportError as error:
        raise UsageError(f"{error}: the figure needs more packages: pip install 'mpinn-bench[bench]'") from None
    found = trace.read(path)
    try:
        shown = trace.window(found, rounds, first)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    ranks = found.ranks[:MOST_ROWS]
    rows = [gantt.Bars(label_of(found, rank), found.host_of[rank], bars(found, shown, rank)) for rank in ranks]
    if sum(len(kind) for row in rows for kind in row.bars.values()) > MOST_BARS:
        raise UsageError(f"{path}: more than {MOST_BARS:,} bars in these rounds: draw fewer --rounds")
    marks = [(1e3 * (at - shown.start), f"round {shown.first + i}") for i, at in enumerate(shown.starts)]
    lost = [
        (1e3 * (at - shown.start), ranks.index(rank))
        for rank, _, at, _ in losses(found)
        if shown.start <= at <= shown.end and rank in ranks
    ]
    return gantt.gantt(rows, "milliseconds", marks, lost), words(found, shown)


def label_of(found: Trace, rank: int) -> str:
    clocks = found.about.clocks
    return f"{clocks[found.host_of[rank]].host}, rank {rank}" if len(clocks) > 1 else f"rank {rank}"


def bars(found: Trace, shown: Window, rank: int) -> dict[str, list[tuple[float, float]]]:
    """Return what a rank did in a window, (start, length) in milliseconds since its start, by `gantt.STYLES`."""
    mine = found.spans[found.spans["rank"] == rank]
    mine = mine[(mine["end"] > shown.start) & (mine["start"] < shown.end)]
    kinds = {name: name for name in ("merging", "waiting", "thinking", "training", "slowed", "recovering")}
    kinds |= {name: "other" for name in RARE if name not in kinds}
    kinds |= {"progressing": "MPI's progress", "rest": "rest of learning", UNDER_WAY: "merge under way"}
    made: dict[str, list[tuple[float, float]]] = {}
    for name, kind in kinds.items():
        spans = mine[mine["name"] == trace.NUMBER[name]]
        starts = np.maximum(spans["start"], shown.start)
        pairs = np.column_stack((starts - shown.start, np.minimum(spans["end"], shown.end) - starts)) * 1e3
        if len(pairs):
            made.setdefault(kind, []).extend((start, length) for start, length in pairs.tolist())
    return made


def losses(found: Trace) -> Iterator[tuple[int, str, float, float]]:
    """Yield each rank that was lost, its host, when the first of the others noticed, and seconds until all went on."""
    recovering, told = found.of("recovering"), found.of(trace.LOST)
    for rank, host in found.lost:
        at = told["start"][told["worker"] == rank]
        over = recovering[(recovering["start"] <= at.max()) & (recovering["end"] >= at.min())]
        start = float(np.append(at, over["start"]).min())
        yield rank, host, start, float(np.append(at, over["end"]).max()) - start


def words(found: Trace, shown: Window) -> list[str]:
    """Return sentences on a window and on what befell the run."""
    done = trace.shares(found, shown.start, shown.end)
    sentences = [where_the_time_went(found, shown, done), who_learns_longest(found, shown, done)]
    sentences += [*under_way(found, shown), *recovered(found), *went_back(found), *limits(found)]
    return sentences


def where_the_time_went(found: Trace, shown: Window, done: Shares) -> str:
    seen = np.unique(found.spans["rank"][trace.within(found.spans, shown.start, shown.end) > 0])
    hundredth = (shown.end - shown.start) * len(seen) / 100
    learning, merging, waiting = (float(part.sum()) / hundredth for part in (done.learning, done.merging, done.waiting))
    parts = ", ".join(
        f"{name} {float(getattr(done, name).sum()) / hundredth:.0f}"
        for name in (*PARTS, "slowed")
        if getattr(done, name).any()
    )
    said = f"learning {learning:.0f} % ({parts}), merging {merging:.0f} %, waiting {waiting:.0f} %"
    recovering = float(done.recovering.sum()) / hundredth
    said += f", recovering {recovering:.0f} %" if recovering else ""
    other = 100 - learning - merging - waiting - recovering
    said += f", other {other:.0f} %" if other >= 0.5 else ""
    (first_epoch, first_round), (epoch, round_) = shown.rounds[0], shown.rounds[-1]
    which = f"round {shown.first}" if shown.first == shown.last else f"rounds {shown.first} to {shown.last}"
    if first_epoch == epoch:
        place = f"epoch {epoch}"
    else:
        place = f"from epoch {first_epoch}, round {first_round}, to epoch {epoch}, round {round_}"
    hosts = {found.host_of[rank] for rank in seen.tolist()}
    ranks = f"{counted(len(seen), 'rank')} on {counted(len(hosts), 'host')}"
    return f"{which} of {shown.of} ({place}), {ranks}, {milliseconds(shown.end - shown.start)}: {said} of their time"


def who_learns_longest(found: Trace, shown: Window, done: Shares) -> str:
    """Say which rank the others wait for, if there is one."""
    present = done.learning > 0
    learned = done.learning[present] / (shown.last - shown.first + 1)
    ranks = [rank for rank, learns in zip(found.ranks, present, strict=True) if learns]
    if len(ranks) < 2:
        return "one rank learns: there is nobody to wait for" if ranks else "no rank learns in these rounds"
    longest = int(learned.argmax())
    others = float(np.delete(learned, longest).mean())
    if learned[longest] < LONGER * others:
        return f"all ranks learn about equally long, {span_of(learned.min(), learned.max())} a round"
    slowed = ", slowed by MPINN_FAULT" if done.slowed[present][longest] > 0 else ""
    return (
        f"rank {ranks[longest]} learns longest ({milliseconds(learned[longest])} a round{slowed}; others "
        f"{milliseconds(others)}): the others wait for it"
    )


def under_way(found: Trace, shown: Window) -> list[str]:
    merges = trace.under_way(found, shown.start, shown.end)
    if merges is None:
        return []
    return [
        f"a merge is under way for {milliseconds(merges.seconds)}: meanwhile ranks think and train in "
        f"{100 * merges.learning:.0f} % of the time, and MPI goes on with it between exemplars in "
        f"{100 * merges.progressing:.0f} %"
    ]


def recovered(found: Trace) -> list[str]:
    """Say which ranks were lost, and how long the others took to go on."""
    return [
        f"rank {rank} on {host} was lost: the others noticed after {at:.3f} s, and took {milliseconds(took)} to go on "
        "(what it did since the end of the epoch before is lost with it)"
        for rank, host, at, took in losses(found)
    ]


def went_back(found: Trace) -> list[str]:
    back = found.of("going back")
    return [f"the run went back to earlier weights after {back['start'][0]:.3f} s"] if len(back) else []


def limits(found: Trace) -> list[str]:
    """Say what the trace cannot tell."""
    about, sentences = found.about, []
    if len(about.clocks) > 1:
        uncertain = max(clock.uncertainty_seconds for clock in about.clocks)
        sentences.append(f"times of different hosts are known within {1e6 * uncertain:.0f} microseconds")
    if about.cut:
        sentences.append(f"the trace ends after {counted(about.rounds, 'round')}: --trace-rounds asks for more")
    if len(found.ranks) > MOST_ROWS:
        sentences.append(f"the figure shows the first {MOST_ROWS} ranks")
    return sentences


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def span_of(low: float, high: float) -> str:
    """Return two lengths, or one where they look alike."""
    a, b = milliseconds(low), milliseconds(high)
    return a if a == b else f"{a.removesuffix(' ms')} to {b}"
