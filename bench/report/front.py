"""Time to two accuracies: which settings reach both soonest, and where others stand."""

from bench.analysis import results
from bench.analysis.results import Row
from bench.harness import statistics
from bench.harness.suite import Figure
from bench.report import figures
from bench.report.cells import Cell, Hosts, Part, host_label, label, median_cell, remarks
from bench.report.figures import Line


def front(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return the points of the experiments `of` by two metrics, less of which is better, and the front: the best."""
    drawn, parts = [], []
    for title, run in hosts:
        best: list[Row] = []
        for experiment in figure.of:
            rows = both(run, experiment, figure.y)
            best = foremost([*best, *rows], figure.y)
            if rows:
                about = run.plan["suite"]["experiments"][experiment]
                drawn.append(line(host_label(title, hosts, about["title"]), rows, figure.y, marks_only=True))
        if best:
            drawn.append(line(host_label(title, hosts, "front"), best, figure.y))
            cells = [
                [Cell(row.point), *(median_cell(row, metric) for metric in figure.y), Cell(", ".join(remarks(row)))]
                for row in best
            ]
            parts.append(Part(["on the front", *map(label, figure.y), ""], cells, title if len(hosts) > 1 else ""))
    return (figures.lines(drawn, label(figure.y[0]), label(figure.y[1])) if drawn else ""), parts


def both(run: results.Run, experiment: str, metrics: tuple[str, ...]) -> list[Row]:
    """Return a row for each point of which every run has all metrics."""
    return [
        row
        for row in results.rows(run.records, experiment, metrics[0])
        if all(one["metrics"].get(metric) is not None for one in row.records for metric in metrics)
    ]


def medians(row: Row, metrics: tuple[str, ...]) -> list[float]:
    return [float(statistics.spread(row.values(metric)).median) for metric in metrics]


def foremost(rows: list[Row], metrics: tuple[str, ...]) -> list[Row]:
    """Return the rows that no other beats in one metric without losing in the other, by the first metric."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: medians(row, metrics)):
        if not kept or medians(row, metrics)[1] < medians(kept[-1], metrics)[1]:
            kept.append(row)
    return kept


def line(text: str, rows: list[Row], metrics: tuple[str, ...], marks_only: bool = False) -> Line:
    xs, ys = zip(*(medians(row, metrics) for row in rows), strict=True)
    return Line(text, xs, ys, marks_only=marks_only)
