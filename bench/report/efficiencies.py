"""Efficiencies over ranks, each with its name, and what to change where one is low."""

from bench.analysis import results
from bench.analysis.results import Row
from bench.harness import statistics
from bench.harness.suite import Figure
from bench.report import figures
from bench.report.cells import Cell, Hosts, Part, cell, host_label, remarks
from bench.report.figures import Line

# What lowers the parallel efficiency -> what to change.
CURES = {
    "balance": "some ranks have more to learn than others: take a multiple of the ranks as --workers, or --balance "
    "measured where cores differ",
    "serialisation": "ranks wait for each other in turn, as where something else takes a core now and then: stop what "
    "else runs, or raise --worker-batch so that it evens out",
    "transfer": "merging takes the time: raise --worker-batch (or auto), and between hosts try --overlap",
}
FACTORS = ("parallel", *CURES)
LOW = 0.9  # below it a cure is worth a line


def efficiencies(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return the efficiencies over ranks, as far as each has a core: drawn, and as a table with what to change."""
    drawn, parts = [], []
    for title, run in hosts:
        rows = results.rows(run.records, name, "parallel_efficiency")
        if not rows:
            continue
        ranks = [float(row.records[0]["ranks"]) for row in rows]
        learned = [median(row, "learned_microseconds") for row in rows]
        for factor in FACTORS:
            found = [statistics.spread(row.values(f"{factor}_efficiency")) for row in rows]
            drawn.append(
                Line(
                    host_label(title, hosts, factor),
                    ranks,
                    [one.median for one in found],
                    [one.min for one in found],
                    [one.max for one in found],
                )
            )
        table = []
        for row, useful in zip(rows, learned, strict=True):
            cells = [cell(row, median(row, f"{factor}_efficiency"), ".2f") for factor in FACTORS]
            computing = cell(row, learned[0] / useful, ".2f") if ranks[0] == 1 else Cell("")
            table.append([Cell(f"{row.records[0]['ranks']}"), *cells, computing, Cell(", ".join(remarks(row)))])
        columns = ["ranks", *FACTORS, "computation scaling", ""]
        parts.append(Part(columns, table, f"{title}. {advice(rows[-1])}" if len(hosts) > 1 else advice(rows[-1])))
    return (figures.lines(drawn, "ranks", "efficiency") if drawn else ""), parts


def median(row: Row, metric: str) -> float:
    return float(statistics.spread(row.values(metric)).median)


def advice(row: Row) -> str:
    """Return what limits a point most, and what to change."""
    found = {factor: median(row, f"{factor}_efficiency") for factor in CURES}
    worst = min(found, key=found.__getitem__)
    ranks = row.records[0]["ranks"]
    if found[worst] >= LOW:
        return f"With {ranks} ranks nothing takes more than a tenth of the time from learning."
    return f"With {ranks} ranks {worst} is {found[worst]:.2f}: {CURES[worst]}."
