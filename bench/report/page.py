"""The report as one HTML page without any other file, and as a Markdown summary."""

import re
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2

from bench.analysis import results
from bench.analysis.export import as_text, markdown
from bench.analysis.results import Run
from bench.harness.records import DEGRADED, INVALID, VALID, Record
from bench.report import answer
from bench.report.cells import Cell, label, number
from bench.report.sections import Section
from mpinn.system.terminal import Table
from mpinn.system.words import counted

HOST_ROWS = ("clock_mhz", "temperature_c", "busy_with_others", "steal_percent", "load_before", "load_after")


def html(title: str, description: str, runs: Sequence[Run], titles: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the page."""
    anchors = Anchors(runs)
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("bench.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    return template.from_string(source).render(
        title=title,
        description=description,
        hosts=[host(run, name, anchors) for run, name in zip(runs, titles, strict=True)],
        sections=[
            section._asdict()
            | {"parts": [part._asdict() | {"rows": linked(part.rows, anchors)} for part in section.parts]}
            for section in sorted(sections, key=lambda one: one is not lead(sections))
        ],
        groups=[
            group for run, name in zip(runs, titles, strict=True) for group in groups(run, name, len(runs) > 1, anchors)
        ],
    )


def lead(sections: Sequence[Section]) -> Section | None:
    """Return what a page shows first: the first section with a figure, or the first of all."""
    return next((section for section in sections if section.svg), next(iter(sections), None))


class Anchors:
    """Where on the page records are: a name for each record, and one for all of its point."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.names: dict[int, str] = {}
        self.points: dict[int, str] = {}
        for which, run in enumerate(runs):
            for record in run.records:
                point = re.sub(r"[^a-zA-Z0-9]+", "-", record["point"])
                self.points[id(record)] = f"point-{which}-{point}"
                self.names[id(record)] = f"record-{which}-{point}-{record['repeat']}"

    def of(self, records: Sequence[Record]) -> str:
        """Return the anchor of what a number came from, or an empty string."""
        if not records:
            return ""
        return self.names[id(records[0])] if len(records) == 1 else self.points[id(records[0])]


def linked(rows: Sequence[Sequence[Cell]], anchors: Anchors) -> list[list[dict[str, Any]]]:
    return [
        [
            {
                "text": cell.text,
                "anchor": anchors.of(cell.records) if cell.text else "",
                "doubtful": cell.doubtful,
                "wordy": len(cell.text) > 40,
            }
            for cell in row
        ]
        for row in rows
    ]


def host(run: Run, title: str, anchors: Anchors) -> dict[str, Any]:
    """Return what the page says of one run: figure of merit, verdicts, environment."""
    verdicts = Counter(record["verdict"] for record in run.records)
    reasons = reasons_of(run.records)
    best = merit(run)
    return {
        "title": title,
        "count": len(run.records),
        "verdicts": [(name, verdicts[name]) for name in (VALID, DEGRADED, INVALID) if verdicts[name]],
        "unofficial": sum(not record["official"] for record in run.records),
        "minimum": f"{run.plan['suite']['minimum_seconds']:g}",
        "reasons": reasons,
        "answer": answer.sentences(run, best),
        "facts": facts(run),
    }


def reasons_of(found: Sequence[Record]) -> list[tuple[str, int]]:
    """Return the reasons of all verdicts, and how often each: those that differ in their numbers alone are one."""
    said = [reason for record in found for reason in record["reasons"]]
    kinds = [re.sub(r"\d+(\.\d+)?", "#", reason) for reason in said]
    return [(said[kinds.index(kind)], count) for kind, count in Counter(kinds).most_common()]


def merit(run: Run) -> dict[str, Any] | None:
    """Return the figure of merit in words: seconds to the target accuracy, and the settings that reached it."""
    best = results.merit(run)
    if best is None:
        return None
    first = best.records[0]
    options = [f"{name.replace('_', ' ')} {value}" for name, value in first["options"].items() if name != "epochs"]
    ranks = f"{counted(first['ranks'], 'rank')}, {counted(first['workers'], 'worker')}"
    spread = best.spread
    return {
        "seconds": number(spread.median),
        "target": f"{run.plan['suite']['target_accuracy']:g}",
        "how": ", ".join([ranks, *options])
        + f"; {number(spread.min)} to {number(spread.max)} s in {counted(spread.repeats, 'repeat')}",
        "records": best.records,
    }


def facts(run: Run) -> list[tuple[str, str]]:
    """Return the environment as names and values; what differed between sessions is given for each."""
    machine = run.plan["profile"]["machine"]
    cores = sum(cluster["cores"] for cluster in machine["clusters"])
    trained = [
        record["environment"] for record in run.records if record["program"] == "train" and record["environment"]
    ]
    found = [
        ("host profile", run.plan["profile"]["title"]),
        ("cores", f"{cores}: " + ", ".join(f"{one['cores']} x {one['name']}" for one in machine["clusters"])),
        ("kernel", ", ".join(sorted({about["kernel_id"] for about in trained}))),
        ("wait policy", ", ".join(sorted({about["wait_policy"] for about in trained}))),
        ("hosts", ", ".join(sorted({node["host"] for about in trained for node in about["nodes"]}))),
    ]
    for name in ("processor", "architecture", "system", "memory_mib", "mpi", "mpinn", "commit", "python", "started"):
        found.append((name.replace("_mib", ", MiB"), "; ".join(dict.fromkeys(str(one[name]) for one in run.sessions))))
    unfit = dict.fromkeys(words for one in run.sessions for words in one["unfit"])
    found.append(("unfit at the start", "; ".join(unfit) or "nothing found"))
    return [(name, value) for name, value in found if value]


def groups(run: Run, title: str, several: bool, anchors: Anchors) -> list[dict[str, Any]]:
    """Return the records of a run for the end of the page, by point: a column a record, a row a figure."""
    found = []
    for point, records in sorted(results.by_point(run.records).items()):
        first, shown = records[0], sorted(records, key=lambda one: one["repeat"])
        settings = {
            **first["options"],
            **{name: first[name] for name in ("ranks", "workers", "wait_policy") if first[name]},
        }
        found.append(
            {
                "anchor": anchors.points[id(first)],
                "title": f"{title}: {point}" if several else point,
                "about": f"{first['program']}; " + ", ".join(f"{name} {value}" for name, value in settings.items()),
                "records": [
                    {
                        "anchor": anchors.names[id(record)],
                        "repeat": record["repeat"] + 1,
                        "verdict": record["verdict"],
                        "reasons": "; ".join(record["reasons"]),
                    }
                    for record in shown
                ],
                "rows": rows(shown),
            }
        )
    return found


def rows(records: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """Return what records of a point have, by name, a value each: conditions of the first host, then metrics."""
    metrics = list(dict.fromkeys(name for record in records for name in record["metrics"]))
    units = {name: unit for record in records for name, unit in record["units"].items()}
    found = [("official", ["yes" if record["official"] else "no" for record in records])]
    for name in HOST_ROWS:
        values = [record["hosts"][0][name] if record["hosts"] else None for record in records]
        if any(value is not None for value in values):
            found.append((label(name), [shown(value) for value in values]))
    for name in metrics:
        unit = f" [{units[name]}]" if units[name] != "1" else ""
        found.append((f"{name.replace('_', ' ')}{unit}", [shown(record["metrics"].get(name)) for record in records]))
    return found


def shown(value: float | None) -> str:
    return "" if value is None else number(value)


def summary(title: str, runs: Sequence[Run], titles: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the Markdown summary."""
    lines = [f"# {as_text(title)}", ""]
    for run, name in zip(runs, titles, strict=True):
        verdicts = Counter(record["verdict"] for record in run.records)
        lines += [f"## {as_text(name)}", ""] if len(runs) > 1 else []
        lines += [as_text(" ".join(answer.sentences(run, merit(run)))), ""]
        lines += [
            f"{len(run.records)} records: "
            + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
            + ".",
            "",
        ]
        lines += [f"- {key}: {as_text(value)}" for key, value in facts(run)] + [""]
    for section in sections:
        lines += [f"## {as_text(section.title)}", ""]
        lines += [f"{as_text(section.paper)} of the paper.", ""] if section.paper else []
        lines += [as_text(section.note), ""] if section.note else []
        for part in section.parts:
            if part.rows:
                rows = [[cell.text for cell in cells] for cells in part.rows]
                lines += [markdown(Table("", part.columns, rows)), ""]
            if part.note and (part.rows or not part.columns):
                lines += [as_text(part.note), ""]
    return "\n".join(lines)
