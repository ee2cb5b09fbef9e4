"""How each kind of figure is made from the records of an experiment: the drawing and the tables below it.

Every function takes the experiment's name, its figure and (title, run) of each host, and returns an <svg> element,
empty where nothing could be drawn, and the tables.
"""

import dataclasses
import re
from typing import Any

from bench.analysis import results
from bench.analysis.results import Row
from bench.harness import statistics, traces
from bench.harness.suite import Figure
from bench.report import figures
from bench.report.cells import Cell, Hosts, Part, host_label, label, median_cell, remarks, table_of
from bench.report.efficiencies import efficiencies
from bench.report.figures import Line
from bench.report.front import front
from bench.report.growth import growth, nutshell
from bench.report.predicted import predicted
from bench.report.speedup import speedup
from bench.report.timeline import drawn
from mpinn.parallel.phases import PHASES


def over_setting(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return metrics over a setting, a line for each value of another."""
    x = figure.x or "ranks"
    drawn, parts = [], []
    for title, run in hosts:
        for metric in figure.y:
            lines: dict[str, list[tuple[Any, Row]]] = {}
            for row in results.rows(run.records, name, metric):
                told = ", ".join(f"{label(by)} {results.setting(row.records[0], by)}" for by in figure.by)
                lines.setdefault(told, []).append((results.setting(row.records[0], x), row))
            for told, points in lines.items():
                words = [label(metric)] if len(figure.y) > 1 else []
                words += [told] if told else []
                text = host_label(title, hosts, ", ".join(words) or label(metric))
                spreads = [row.spread for _, row in points]
                drawn.append(
                    Line(
                        text,
                        [axis(at) for at, _ in points],
                        [s.median for s in spreads],
                        [s.min for s in spreads],
                        [s.max for s in spreads],
                    )
                )
        parts.append(table_of(name, figure, run, title if len(hosts) > 1 else ""))
    what = label(figure.y[0]) if len(figure.y) == 1 else ""
    return (figures.lines(drawn, label(x), what, log=figure.log) if drawn else ""), parts


def axis(value: Any) -> float:
    """Return where a setting lies on an axis: a number itself, a list of layers the width of its hidden one."""
    return float(value[1] if isinstance(value, list) else value)


def shares(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return what each phase took: its share of the time, or its seconds."""
    metrics = list(figure.y) or [f"{share}_percent" for share in PHASES]
    labels: list[str] = []
    names = {metric: re.sub("^start_|_(percent|seconds)$", "", metric) for metric in metrics}
    parts: dict[str, list[float]] = {name: [] for name in names.values()}
    for title, run in hosts:
        for row in results.rows(run.records, name, metrics[0]):
            labels.append(host_label(title, hosts, row.point.partition("/")[2] or row.point))
            for metric in metrics:
                parts[names[metric]].append(statistics.spread(row.values(metric)).median)
    tables = [
        table_of(name, dataclasses.replace(figure, y=tuple(metrics)), run, title if len(hosts) > 1 else "")
        for title, run in hosts
    ]
    return (
        figures.stacks(labels, parts, "seconds" if metrics[0].endswith("_seconds") else "% of the time")
        if labels
        else ""
    ), tables


def compared(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return bars: a metric of every point, or several metrics of one."""
    drawn = []
    for title, run in hosts:
        for metric in figure.y:
            for row in results.rows(run.records, name, metric):
                words = [row.point.partition("/")[2]] + ([label(metric)] if len(figure.y) > 1 else [])
                text = host_label(title, hosts, " ".join(word for word in words if word) or label(metric))
                drawn.append((text, row.spread.min, row.spread.median, row.spread.max))
    unit = next(
        (one["units"].get(figure.y[0], "") for _, run in hosts for one in run.records if one["experiment"] == name), ""
    )
    what = (
        label(figure.y[0])
        if len(figure.y) == 1
        else {"s": "seconds", "us": "microseconds", "1": "ratio"}.get(unit, unit)
    )
    tables = [table_of(name, figure, run, title if len(hosts) > 1 else "") for title, run in hosts]
    return (figures.bars(drawn, what) if drawn else ""), tables


def timeline(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return some rounds of the first host that has a trace of the experiment, and in words what they show."""
    for title, run in hosts:
        for point in results.by_point(run.records, name):
            path = traces.path_of(run.directory, point) if run.directory else None
            if path and path.exists():
                svg, sentences = drawn(path)
                said = (
                    f"{host_label(title, hosts, point)}: {'; '.join(sentences)}. (python -m bench timeline {path.name})"
                )
                return svg, [Part([], [], said)]
    return "", [Part([], [], "No trace was kept: the same bench run makes one.")]


def tabled(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return a table alone."""
    return "", [table_of(name, figure, run, title if len(hosts) > 1 else "") for title, run in hosts]


def together(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return one table of the points of all experiments: metrics, and the speedup over one rank or worker."""
    parts = []
    for title, run in hosts:
        table = []
        for experiment in run.plan["suite"]["experiments"]:
            curve = {one.row.point: one for one in results.scaling(run.records, experiment, "epoch_seconds", "degree")}
            for row in results.rows(run.records, experiment, figure.y[0]):
                metrics = [median_cell(row, metric) for metric in figure.y]
                one = curve.get(row.point)
                speedup = Cell(f"{one.speedup.value:.2f}", row.records) if one else Cell("")
                table.append([Cell(row.point), *metrics, speedup, Cell(", ".join(remarks(row)))])
        parts.append(Part(["", *map(label, figure.y), "speedup", ""], table, title if len(hosts) > 1 else ""))
    return "", parts


KINDS = {
    "all": together,
    "speedup": speedup,
    "lines": over_setting,
    "growth": growth,
    "nutshell": nutshell,
    "shares": shares,
    "efficiencies": efficiencies,
    "predicted": predicted,
    "timeline": timeline,
    "bars": compared,
    "front": front,
    "table": tabled,
}
