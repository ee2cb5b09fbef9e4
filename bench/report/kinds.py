"""How each kind of figure is made from the records of an experiment: the drawing and the tables below it.

Every function takes the experiment's name, its figure and (title, run) of each host, and returns an <svg> element,
empty where nothing could be drawn, and the tables.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench import analysis, statistics
from bench.analysis import Row, Run
from bench.records import INVALID, Record
from bench.report import figures, published
from bench.report.cells import Cell, Part, cell, cell_note, label, median_cell, number, remarks, table_of
from bench.report.figures import Line
from bench.report.published import said
from bench.suite import Figure

Hosts = Sequence[tuple[str, Run]]
SHARES = ("think", "train", "merge", "wait")
LEVELS = {"train": (90.0, 95.0, 99.0), "test": (90.0, 95.0, 97.0)}  # of the tables of epochs and seconds


def host_label(title: str, hosts: Hosts, text: str) -> str:
    """Return a line's label: the host is named where there are several."""
    return f"{title}: {text}" if len(hosts) > 1 else text


def speedup(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return speedup over ranks or workers: minimum, median, maximum, efficiency, serial fraction, published values."""
    x, metric = figure.x or "ranks", figure.y[0] if figure.y else "epoch_seconds"
    drawn, parts = [], []
    for title, run in hosts:
        curve = analysis.scaling(run.records, name, metric, x)
        if not curve:
            continue
        base = next(one.row.spread.median for one in curve if one.x == 1)
        xs = [float(one.x) for one in curve]
        spreads = [one.row.spread for one in curve]
        drawn.append(
            Line(
                title if len(hosts) > 1 else "this host",
                xs,
                [base / s.median for s in spreads],
                [base / s.max for s in spreads],
                [base / s.min for s in spreads],
            )
        )
        columns = [label(x), f"{label(metric)}: min", "median", "max", "speedup", "95% interval", "efficiency", ""]
        table = []
        for one in curve:
            interval = f"{one.speedup.low:.2f} to {one.speedup.high:.2f}" if one.x != 1 else ""
            notes = ["unstable"] if one.speedup.unstable and one.x != 1 else []
            table.append(
                [
                    Cell(str(one.x)),
                    *(cell(one.row, value) for value in one.row.spread[:3]),
                    cell(one.row, one.speedup.value, ".2f"),
                    Cell(interval, one.row.records),
                    cell(one.row, one.efficiency, ".0%"),
                    Cell(", ".join(notes + remarks(one.row))),
                ]
            )
        cores = sum(cluster["cores"] for cluster in run.plan["profile"]["machine"]["clusters"])
        fraction = analysis.serial_fraction(curve, cores)
        amdahl = (
            "" if fraction is None else f"Serial fraction after Amdahl, fitted up to {cores} ranks: {fraction:.3f}."
        )
        parts.append(Part(columns, table, f"{title}. {amdahl}" if len(hosts) > 1 else amdahl))
    if figure.published and drawn:
        values = [*published.values("epoch_seconds"), *published.values("speedup")]
        drawn += published_speedups()
        parts.append(published_part(values))
    svg = figures.lines(drawn, label(x), "speedup", ideal=True, log=True) if drawn else ""
    return svg, parts


def published_speedups() -> list[Line]:
    """Return the published speedups of each host that name their workers."""
    found: dict[str, list[tuple[float, float]]] = {}
    for host, about in published.values("speedup"):
        if about.workers and about.value:
            found.setdefault(f"{host} (published)", []).append((about.workers, about.value / 100))
    return marks(found)


def marks(found: dict[str, list[tuple[float, float]]]) -> list[Line]:
    """Return lines of published points, by label."""
    return [
        Line(text, [x for x, _ in sorted(points)], [y for _, y in sorted(points)], published=True)
        for text, points in found.items()
    ]


def published_part(values: Sequence[published.Value]) -> Part:
    """Return published values as a table."""
    rows = []
    for host, about in values:
        context = [f"{about.epochs} epochs"] if about.epochs else []
        context += [f"{about.seconds:g} s"] if about.seconds else []
        context += [f"{about.set} set"] if about.set else []
        context += [about.note] if about.note else []
        workers = str(about.workers) if about.workers else ""
        rows.append(
            [
                Cell(host),
                Cell(about.metric.replace("_", " ")),
                Cell(workers),
                Cell(said(about)),
                Cell(", ".join(context)),
            ]
        )
    sources = sorted({about.source for _, about in values})
    return Part(["published", "metric", "workers", "value", ""], rows, f"Published: {'; '.join(sources)}.")


def over_setting(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return metrics over a setting, a line for each value of another."""
    x = figure.x or "ranks"
    drawn, parts = [], []
    for title, run in hosts:
        for metric in figure.y:
            lines: dict[str, list[tuple[Any, Row]]] = {}
            for row in analysis.rows(run.records, name, metric):
                told = str(analysis.setting(row.records[0], figure.by)) if figure.by else ""
                lines.setdefault(told, []).append((analysis.setting(row.records[0], x), row))
            for told, points in lines.items():
                words = [label(metric)] if len(figure.y) > 1 else []
                words += [f"{label(figure.by)} {told}"] if figure.by else []
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


def growth(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return accuracy over epochs, and when levels were reached."""
    which = figure.y[0].removesuffix("_accuracy") if figure.y else "train"
    drawn, table, reached = [], [], []
    for title, run in hosts:
        for point, group in analysis.by_point(run.records, name).items():
            kept = [one for one in group if one["verdict"] != INVALID]
            if not kept:
                continue
            told = point.partition("/")[2] or point
            series = accuracies(kept, f"{which}_accuracy")
            epochs = np.arange(1, series.shape[1] + 1)
            text = host_label(title, hosts, told)
            drawn.append(
                Line(
                    text, *(column.tolist() for column in (epochs, np.median(series, 0), series.min(0), series.max(0)))
                )
            )
            row = Row(point, kept, statistics.spread(series[:, -1]))
            table.append([Cell(text), *(spanned(row, series, epoch) for epoch in figure.epochs), cell_note(row)])
            reached.append([Cell(text), *(level_cell(row, which, level) for level in LEVELS[which]), cell_note(row)])
    if not drawn:
        return "", []
    parts = [
        Part(
            ["", *(f"epoch {epoch}" for epoch in figure.epochs), ""],
            table,
            f"{label(which + '_accuracy')}, lowest to highest of the repeats.",
        )
    ]
    columns = ["", *(f"to {level:g}%" for level in LEVELS[which]), ""]
    parts.append(
        Part(
            columns,
            reached,
            f"Epochs, and seconds of training, to a level of the {which} set; median, and how many repeats reached it.",
        )
    )
    if figure.published:
        values = [value for value in published.values("accuracy") if value.about.set in (None, which)]
        drawn += published_growth(which)
        parts.append(published_part(values))
    return figures.lines(drawn, "epoch", label(f"{which}_accuracy")), parts


def accuracies(kept: Sequence[Record], series: str) -> np.ndarray:
    """Return (repeats, epochs) of a series, cut to the shortest repeat."""
    length = min(len(one["series"][series]) for one in kept)
    return np.array([one["series"][series][:length] for one in kept], float)


def spanned(row: Row, series: np.ndarray, epoch: int) -> Cell:
    """Return the lowest and highest value after an epoch."""
    if epoch > series.shape[1]:
        return Cell("")
    column = series[:, epoch - 1]
    low, high = f"{column.min():.1f}", f"{column.max():.1f}"
    return Cell(low if low == high else f"{low} to {high}", row.records)


def level_cell(row: Row, which: str, level: float) -> Cell:
    """Return the median epochs and seconds to a level."""
    epochs = [n for one in row.records if (n := analysis.epochs_to(one, which, level)) is not None]
    seconds = [s for one in row.records if (s := analysis.seconds_to(one, which, level)) is not None]
    if not epochs:
        return Cell("not reached", row.records)
    share = "" if len(epochs) == len(row.records) else f", {len(epochs)} of {len(row.records)}"
    return Cell(f"{np.median(epochs):g} / {number(float(np.median(seconds)))} s{share}", row.records)


def published_growth(which: str) -> list[Line]:
    """Return published accuracies after so many epochs, a line for each number of workers of each host."""
    found: dict[str, list[tuple[float, float]]] = {}
    for host, about in published.values("accuracy"):
        if about.epochs and about.workers and about.value and about.set in (None, which):
            text = f"{host}, {about.workers} worker{'s' * (about.workers > 1)} (published)"
            found.setdefault(text, []).append((about.epochs, about.value))
    return marks(found)


def shares(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return what share of the time each phase took."""
    metrics = list(figure.y) or [f"{share}_percent" for share in SHARES]
    labels: list[str] = []
    parts: dict[str, list[float]] = {metric.removesuffix("_percent"): [] for metric in metrics}
    for title, run in hosts:
        for row in analysis.rows(run.records, name, metrics[0]):
            labels.append(host_label(title, hosts, row.point.partition("/")[2] or row.point))
            for metric in metrics:
                parts[metric.removesuffix("_percent")].append(statistics.spread(row.values(metric)).median)
    tables = [
        table_of(name, dataclasses.replace(figure, y=tuple(metrics)), run, title if len(hosts) > 1 else "")
        for title, run in hosts
    ]
    return (figures.stacks(labels, parts, "% of the time") if labels else ""), tables


def compared(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return bars: a metric of every point, or several metrics of one."""
    drawn = []
    for title, run in hosts:
        for metric in figure.y:
            for row in analysis.rows(run.records, name, metric):
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


def tabled(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return a table alone."""
    return "", [table_of(name, figure, run, title if len(hosts) > 1 else "") for title, run in hosts]


def together(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return one table of the points of all experiments: metrics, and the speedup over one rank or worker."""
    parts = []
    for title, run in hosts:
        table = []
        for experiment in run.plan["suite"]["experiments"]:
            curve = {one.row.point: one for one in analysis.scaling(run.records, experiment, "epoch_seconds", "degree")}
            for row in analysis.rows(run.records, experiment, figure.y[0]):
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
    "shares": shares,
    "bars": compared,
    "table": tabled,
}
