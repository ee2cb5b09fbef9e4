"""Speedup over ranks or workers."""

from statistics import median

from bench.analysis import results
from bench.analysis.results import Row, Scaled
from bench.harness.suite import Figure
from bench.report import figures, published
from bench.report.cells import Cell, Hosts, Part, cell, label, median_cell, number, published_part, remarks
from bench.report.figures import Line, marks


def speedup(name: str, figure: Figure, hosts: Hosts) -> tuple[str, list[Part]]:
    """Return speedup over ranks or workers: minimum, median, maximum, efficiency, serial fraction, published values."""
    x, metric = figure.x or "ranks", figure.y[0] if figure.y else "epoch_seconds"
    drawn, parts = [], []
    for title, run in hosts:
        curve = results.scaling(run.records, name, metric, x)
        if not curve:
            continue
        drawn.append(line(title if len(hosts) > 1 else "this host", curve))
        cores = results.cores(run)
        fraction = results.serial_fraction(curve, cores)
        notes = [f"{title}."] if len(hosts) > 1 else []
        if fraction is not None:
            notes.append(f"Serial fraction after Amdahl, fitted up to {cores} {x}: {fraction:.3f}.")
        parts.append(table(curve, x, metric, " ".join(notes)))
    if figure.published and drawn:
        drawn += published_speedups()
        parts.append(published_part([*published.values("epoch_seconds"), *published.values("speedup")]))
    svg = figures.lines(drawn, label(x), "speedup", ideal=True, log=True) if drawn else ""
    return svg, parts


def line(text: str, curve: list[Scaled]) -> Line:
    """Return the curve of speedups, its band from the slowest to the fastest repeat."""
    base = next(one.row.spread.median for one in curve if one.x == 1)
    spreads = [one.row.spread for one in curve]
    return Line(
        text,
        [float(one.x) for one in curve],
        [base / spread.median for spread in spreads],
        [base / spread.max for spread in spreads],
        [base / spread.min for spread in spreads],
    )


def table(curve: list[Scaled], x: str, metric: str, note: str) -> Part:
    """Return a row a point; with the clock, which may fall with the load, and energy, where they are known."""
    found = [one for point in curve for one in point.row.records]
    clocked = any(host["clock_mhz"] for one in found for host in one["hosts"])
    metered = any("epoch_joules" in one["metrics"] for one in found)
    certain = any(one.speedup.known for one in curve if one.x != 1)
    columns = [label(x), label(metric), "speedup", *["95% interval"] * certain, "efficiency", "lowest", "highest"]
    columns += ["clock, MHz"] * clocked + ["joules an epoch", "exemplars a joule"] * metered
    rows = []
    for one in curve:
        interval = f"{one.speedup.low:.2f} to {one.speedup.high:.2f}" if one.x != 1 and one.speedup.known else ""
        notes = ["unstable"] if one.speedup.unstable and one.x != 1 else []
        row = [
            Cell(str(one.x)),
            cell(one.row, one.row.spread.median),
            cell(one.row, one.speedup.value, ".2f"),
            *[Cell(interval, one.row.records)] * certain,
            cell(one.row, one.efficiency, ".0%"),
            cell(one.row, one.row.spread.min),
            cell(one.row, one.row.spread.max),
        ]
        row += [clock_cell(one.row)] * clocked
        row += [median_cell(one.row, name) for name in ("epoch_joules", "exemplars_per_joule")] * metered
        rows.append([*row, Cell(", ".join(notes + remarks(one.row)))])
    return Part([*columns, ""], rows, note)


def clock_cell(row: Row) -> Cell:
    """Return the median clock of all hosts during a point's runs."""
    clocks = [host["clock_mhz"] for one in row.records for host in one["hosts"] if host["clock_mhz"]]
    return Cell(number(median(clocks)), row.records) if clocks else Cell("")


def published_speedups() -> list[Line]:
    """Return the published speedups of each host that name their workers."""
    found: dict[str, list[tuple[float, float]]] = {}
    for host, about in published.values("speedup"):
        if about.workers and about.value:
            found.setdefault(f"{host} (published)", []).append((about.workers, about.value / 100))
    return marks(found)
