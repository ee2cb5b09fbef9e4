"""`bench export`: the records, flat, for other programs: one row for every point, repeat and metric."""

import argparse
import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

from bench.analysis import results
from bench.harness.records import Record
from mpinn.system.terminal import Table

COLUMNS = ("suite", "experiment", "point", "repeat", "ranks", "workers", "seed", "verdict", "official", "started")
ESCAPES = (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("[", "\\["), ("`", "\\`"))
FORMATS = ("csv", "json", "markdown")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="records as CSV, JSON or Markdown",
        description="Write the records of a result directory, a row for every point, repeat and metric.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="result directory")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="default: csv")
    parser.set_defaults(command=export)


def flat(record: Record) -> list[dict[str, Any]]:
    """Return one row a metric; a record without metrics has one row without a metric."""
    common = {name: record.get(name) for name in COLUMNS}
    metrics = record["metrics"] or {None: None}
    return [common | {"metric": k, "value": v, "unit": record["units"].get(k)} for k, v in metrics.items()]


def markdown(table: Table) -> str:
    """Return the table as Markdown, its title, where it has one, above it."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    body = "\n".join("| " + " | ".join(as_text(cell) for cell in line) + " |" for line in lines)
    return f"**{as_text(table.title)}**\n\n{body}" if table.title else body


def as_text(text: str) -> str:
    """Return a text as Markdown that says it and does nothing else: no HTML, no link, no cell."""
    for character, escaped in ESCAPES:
        text = text.replace(character, escaped)
    return text


def export(asked: argparse.Namespace) -> int:
    """Print the records; return the exit status. Raises UsageError."""
    rows = [row for record in results.open_run(asked.directory).records for row in flat(record)]
    if asked.format == "json":
        print(json.dumps(rows, indent=1, allow_nan=False))
        return 0
    columns = list(rows[0])
    cells = [["" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    if asked.format == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *cells])
        sys.stdout.write(text.getvalue())
    else:
        print(markdown(Table(f"Records of {asked.directory}", columns, cells)))
    return 0
