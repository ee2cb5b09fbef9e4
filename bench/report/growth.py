"""Accuracy over epochs, and the epochs and seconds to levels of it."""

from collections.abc import Sequence

import numpy as np

from bench.analysis import results
from bench.analysis.results import Row, Run
from bench.harness.records import Record
from bench.harness.suite import Figure
from bench.report import figures, published
from bench.report.cells import SETS, Cell, Hosts, Part, cell_note, host_label, label, number, published_part
from bench.report.figures import Line, marks
from mpinn.hosts.profile import Published
from mpinn.system.words import counted

LEVELS = {"train": (90.0, 95.0, 99.0), "test": (90.0, 95.0, 97.0, 98.0)}  # of the tables of epochs and seconds


def growth(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return accuracy over epochs: the median of the repeats in their band, published values, and when levels came."""
    which = set_of(figure)
    drawn, table = [], []
    for title, run in hosts:
        for row in grown(run, name):
            series = accuracies(row.records, f"{which}_accuracy")
            text = host_label(title, hosts, told(run, row))
            curves = (np.median(series, 0), series.min(0), series.max(0))
            drawn.append(Line(text, range(1, series.shape[1] + 1), *(curve.tolist() for curve in curves)))
            table.append([Cell(text), *(spanned(row, series, epoch) for epoch in figure.epochs), cell_note(row)])
    if not drawn:
        return "", []
    columns = ["", *(f"epoch {epoch}" for epoch in figure.epochs), ""]
    parts = [Part(columns, table, f"{label(which + '_accuracy')}, lowest to highest of the repeats.")]
    parts.append(levels([name], which, hosts))
    if figure.published:
        workers = {row.records[0]["workers"] for _, run in hosts for row in grown(run, name)}
        drawn += published_growth(which, workers)
        parts.append(published_accuracies(which, workers))
    return figures.lines(drawn, "epoch", label(f"{which}_accuracy")), parts


def nutshell(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return one table of when several experiments reached levels of accuracy, published values below it."""
    parts = [levels(figure.of, set_of(figure), hosts)]
    return "", [*parts, published_accuracies(set_of(figure), set())] if figure.published else parts


def set_of(figure: Figure) -> str:
    """Return the set that a figure shows accuracies of: train or test."""
    return figure.y[0].removesuffix("_accuracy")


def grown(run: Run, experiment: str) -> list[Row]:
    """Return the points of an experiment that are not INVALID; their spread is that of the last training accuracy."""
    return results.rows(run.records, experiment, "train_accuracy")


def told(run: Run, row: Row) -> str:
    """Return what tells a point from others: its settings, or its experiment's title where it is the only one."""
    title: str = run.plan["suite"]["experiments"][row.records[0]["experiment"]]["title"]
    return row.point.partition("/")[2] or title


def levels(experiments: Sequence[str], which: str, hosts: Hosts) -> Part:
    """Return the epochs and seconds to each level, a row a point."""
    rows = [
        [
            Cell(host_label(title, hosts, told(run, row))),
            *(level_cell(row, which, level) for level in LEVELS[which]),
            cell_note(row),
        ]
        for title, run in hosts
        for experiment in experiments
        for row in grown(run, experiment)
    ]
    columns = ["", *(f"to {level:g}%" for level in LEVELS[which]), ""]
    note = (
        f"Epochs, and seconds of training, to a level of the {SETS[which]}: medians, and how many repeats reached it."
    )
    return Part(columns, rows, note)


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
    epochs = [n for one in row.records if (n := results.epochs_to(one, which, level)) is not None]
    seconds = [s for one in row.records if (s := results.seconds_to(one, which, level)) is not None]
    if not epochs:
        return Cell("not reached", row.records)
    share = "" if len(epochs) == len(row.records) else f", {len(epochs)} of {len(row.records)}"
    return Cell(f"{np.median(epochs):g} / {number(float(np.median(seconds)))} s{share}", row.records)


def published_accuracies(which: str, workers: set[int]) -> Part:
    """Return the published accuracies on a set, with so many workers; with any where none are named."""
    return published_part([one for one in published.values("accuracy") if fits(one.about, which, workers)])


def published_growth(which: str, workers: set[int]) -> list[Line]:
    """Return published accuracies after so many epochs, a line for each number of workers of each host."""
    found: dict[str, list[tuple[float, float]]] = {}
    for host, about in published.values("accuracy"):
        if about.epochs and about.workers and about.value and fits(about, which, workers):
            text = f"{host}, {counted(about.workers, 'worker')} (published)"
            found.setdefault(text, []).append((about.epochs, about.value))
    return marks(found)


def fits(about: Published, which: str, workers: set[int]) -> bool:
    return about.set in (None, which) and (not workers or about.workers in workers)
