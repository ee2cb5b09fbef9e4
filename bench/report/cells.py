"""Tables of a report: cells that know the records their number came from."""

from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis import results
from bench.analysis.results import Row, Run
from bench.harness import statistics
from bench.harness.records import INVALID, Record
from bench.harness.suite import Figure
from bench.report.published import Value, said
from mpinn.system.words import counted

Hosts = Sequence[tuple[str, Run]]  # title and run of each host

LABELS = {
    "epoch_seconds": "seconds an epoch",
    "round_milliseconds": "milliseconds a round",
    "exemplar_microseconds": "microseconds an exemplar",
    "train_accuracy": "accuracy on the training set, %",
    "test_accuracy": "accuracy on the test set, %",
    "worker_batch": "worker batch",
    "layers": "units of the hidden layer",
    "memory_mib": "MiB a rank",
    "law": "workers² × worker batch",
    "learning_rate_scale": "scale of the learning rate",
    "exchange": "through",
    "test_95_seconds": "seconds to 95 % of the test set",
    "test_97_seconds": "seconds to 97 % of the test set",
    "test_98_seconds": "seconds to 98 % of the test set",
    "test_97_epochs": "epochs to 97 % of the test set",
}


UNITS = {
    "_microseconds": "µs",
    "_milliseconds": "ms",
    "_seconds": "s",
    "_percent": "%",
    "_mhz": "MHz",
    "_mib": "MiB",
    "_kilobytes": "kB",
    "_c": "°C",
}  # endings of names

SETS = {"train": "training set", "test": "test set"}


class Cell(NamedTuple):
    text: str
    records: Sequence[Record] = ()  # that the number came from
    doubtful: bool = False  # a record behind it is not VALID, or too short


class Part(NamedTuple):
    """A table, with a line of text below it."""

    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""


def label(name: str) -> str:
    """Return the words for a setting or a metric, with its unit where its name ends in one."""
    for ending, unit in UNITS.items():
        if name not in LABELS and name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')}, {unit}"
    return LABELS.get(name, name.replace("_", " "))


def number(value: float) -> str:
    """Return a number with four significant digits, thousands grouped."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cell(row: Row, value: float, form: str = "") -> Cell:
    doubtful = any(one["verdict"] != "VALID" for one in row.records) or results.unofficial(row)
    return Cell(format(value, form) if form else number(value), row.records, doubtful)


def remarks(row: Row) -> list[str]:
    """Return what the reader of a row must know."""
    verdicts = {one["verdict"] for one in row.records} - {"VALID"}
    return [*sorted(verdicts), *(["too short to be official"] if results.unofficial(row) else [])]


def cell_note(row: Row) -> Cell:
    verdicts = sorted({one["verdict"] for one in row.records} - {"VALID"})
    return Cell(", ".join(verdicts))


def median_cell(row: Row, metric: str) -> Cell:
    """Return the median of a metric and its range; nothing where no record has it."""
    having = [one for one in row.records if one["metrics"].get(metric) is not None]
    if not having:
        return Cell("")
    low, middle, high, repeats = statistics.spread(results.values(having, metric))
    span = f" ({number(low)} to {number(high)})" if repeats > 1 and number(low) != number(high) else ""
    return Cell(number(middle) + span, having, bool(remarks(row)))


def table_of(name: str, figure: Figure, run: Run, title: str) -> Part:
    """Return a row a point, with the median of each metric of the figure (all where it names none) and its range."""
    groups = results.by_point(run.records, name)
    known = {name: None for group in groups.values() for one in group for name in one["metrics"]}
    metrics = [metric for metric in (figure.y or known) if metric in known]
    table = []
    for group in sorted(groups.values(), key=lambda found: results.setting_key(found[0])):
        kept = [one for one in group if one["verdict"] != INVALID]
        if not kept:
            continue
        row = Row(group[0]["point"], kept, statistics.Spread(0, 0, 0, 0))
        cells = [median_cell(row, metric) for metric in metrics]
        table.append([Cell(row.point.partition("/")[2] or row.point), *cells, Cell(", ".join(remarks(row)))])
    return Part(["", *map(label, metrics), ""], table, title)


def host_label(title: str, hosts: Hosts, text: str) -> str:
    """Return a line's label: the host is named where there are several."""
    return f"{title}: {text}" if len(hosts) > 1 else text


def published_part(values: Sequence[Value]) -> Part:
    """Return published values as a table."""
    rows = []
    for host, about in values:
        context = [counted(about.epochs, "epoch")] if about.epochs else []
        context += [f"{about.seconds:g} s"] if about.seconds else []
        context += [SETS[about.set]] if about.set else []
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
