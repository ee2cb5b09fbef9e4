"""From records to the sections of a report: one an experiment, with hosts side by side."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.analysis.results import Run
from bench.harness.records import INVALID
from bench.harness.suite import Figure
from bench.report.cells import Part
from bench.report.figures import named
from bench.report.kinds import KINDS
from mpinn.system.errors import UsageError
from mpinn.system.schema import read

CONTRADICTIONS = (LookupError, TypeError, ValueError, ArithmeticError)  # between plan and records
TABLES = ("table", "all", "nutshell")  # kinds of figure that draw nothing
SAY_WHY = ("predicted", "timeline")  # that say themselves why there is nothing to draw


class Section(NamedTuple):
    name: str  # of its anchor and its file
    title: str
    paper: str  # figure or lesson of the paper
    note: str
    svg: str  # empty where nothing could be drawn
    parts: list[Part]


def of_run(runs: Sequence[Run], titles: Sequence[str]) -> list[Section]:
    """Return the sections of one or more runs: hosts side by side where they have an experiment in common."""
    found = []
    experiments: dict[str, dict[str, Any]] = {}
    for run in runs:
        for name, about in run.plan["suite"]["experiments"].items():
            experiments.setdefault(name, about)
    for name, about in experiments.items():
        hosts = [
            (title, run) for title, run in zip(titles, runs, strict=True) if name in run.plan["suite"]["experiments"]
        ]
        figures = [read(Figure, figure) for figure in about.get("figures", [])] or [Figure("table")]
        for number, figure in enumerate(figures, start=1):
            anchor = name if number == 1 else f"{name}-{number}"
            found.append(section(name, anchor, figure.title or about["title"], figure, hosts))
    return found


def section(name: str, anchor: str, title: str, figure: Figure, hosts: list[tuple[str, Run]]) -> Section:
    """Return the section of one figure of the experiment `name`."""
    notes = [figure.note] if figure.note else []
    missing = {why for _, run in hosts for point, why in run.left_out.items() if point.partition("/")[0] == name}
    notes += [f"Left out: {why}." for why in sorted(missing)]
    wrong = {
        f"{one['point']}: {one['reasons'][0]}"
        for _, run in hosts
        for one in run.records
        if one["experiment"] == name and one["verdict"] == INVALID
    }
    notes += [f"INVALID, so without figures: {why}." for why in sorted(wrong)]
    try:
        svg, parts = KINDS[figure.kind](name, figure, hosts)
    except CONTRADICTIONS as error:
        where = hosts[0][1].directory or hosts[0][0]
        raise UsageError(
            f"{where}: the records of {name} do not have what its figure shows ({error!r}); "
            "restore records.jsonl and plan.json, or measure it again"
        ) from None
    if not svg and figure.kind not in (*TABLES, *SAY_WHY):
        notes.append("Nothing could be drawn: no right result was recorded.")
    if figure.paper and not figure.published:
        notes.append("No numbers for this are quoted from the paper, so no published values are shown.")
    return Section(anchor, title, figure.paper or "", " ".join(notes), named(svg, anchor, title), parts)
