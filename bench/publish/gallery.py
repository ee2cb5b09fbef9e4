"""`bench gallery`: a static site of any number of packs: a table of machines, a page of each, any of them compared."""

import argparse
import base64
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.analysis import results
from bench.analysis.results import Row, Run
from bench.harness.estimate import EXEMPLARS
from bench.publish import packed, verify
from bench.publish.packed import SUFFIX, Pack
from bench.publish.plausible import moment
from mpinn.hosts import library
from mpinn.system import files
from mpinn.system.errors import UsageError
from mpinn.system.words import counted

PACKS = Path(__file__).parents[1] / "gallery"
COLUMNS = {  # of numbers, and what they say
    "merit": "seconds to 97 % of the test set",
    "one": "exemplars a second on one core",
    "all": "on all cores",
    "speedup": "speedup",
    "efficiency": "efficiency, %",
    "watts": "watts",
    "joules": "exemplars a joule",
    "price": "price",
}


class History(NamedTuple):
    """A machine that a suite has measured more than once."""

    title: str
    svg: str
    commits: str  # with their days, in order


class Entry(NamedTuple):
    """A row of the table."""

    machine: str
    suite: str
    started: str  # ISO 8601, or an empty string
    commit: str
    verdict: str  # or 'published'
    page: str  # file, or an empty string
    numbers: dict[str, float | None]  # by name of COLUMNS
    currency: str = ""  # of the price


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "gallery",
        help="a site of packs",
        description="Make a static site of packs: a table of machines that can be sorted, filtered and compared, "
        "without a network, with a page of each, the history of machines that were measured more than once, and the "
        "published hosts. REFUTED packs are not shown.",
    )
    parser.add_argument(
        "packs", type=Path, nargs="*", metavar="FILE", help="packs of `bench pack` (default: those of bench/gallery)"
    )
    parser.add_argument("--out", type=Path, default=Path("gallery"), metavar="DIR", help="default: gallery")
    parser.set_defaults(command=command)


def command(asked: argparse.Namespace) -> int:
    """Write the site; return the exit status. Raises UsageError, MpinnError."""
    try:
        from bench.report import page, sections
    except ImportError as error:
        raise UsageError(f"{error}: the gallery needs more packages: pip install 'mpinn-bench[bench]'") from None
    paths = asked.packs or sorted(PACKS.glob(f"*{SUFFIX}"))
    asked.out.mkdir(parents=True, exist_ok=True)
    files.check_writable(asked.out, "--out")
    entries = []
    for path in paths:
        pack = packed.load(path)
        found = verify.check(pack)
        if found.verdict == verify.REFUTED:
            print(f"{path}: REFUTED, left out: {found.wrong[0]}")
            continue
        run, name = as_run(pack), path.name.removesuffix(SUFFIX) + ".html"
        made = sections.of_run([run], [pack.plan["profile"]["title"]])
        description = f"{found.verdict}. {run.plan['suite']['description']}"
        text = page.html(pack.title, description, [run], [pack.plan["profile"]["title"]], made)
        files.write(asked.out / name, text.encode())
        entries.append(entry(pack, run, found.verdict, name))
    files.write(asked.out / "index.html", index([*entries, *published()]).encode())
    print(f"{asked.out / 'index.html'}: {counted(len(entries), 'pack')}, and what was published of other hosts")
    return 0


def as_run(pack: Pack) -> Run:
    """Return a pack as what reports are made of."""
    records = [packed.whole(record) for record in pack.records]
    sessions = [{"host": "", "unfit": [], **session} for session in pack.sessions]
    calibrated = packed.calibrated(pack.calibration) if pack.calibration else None
    return Run(None, pack.plan, sessions, {}, results.records.latest(records), calibrated)


def entry(pack: Pack, run: Run, verdict: str, page: str) -> Entry:
    """Return the row of a pack: of the first experiment with a speedup, and the figure of merit."""
    session, suite = pack.sessions[-1], run.plan["suite"]["title"]
    machine = f"{pack.plan['profile']['title']}, {counted(results.cores(run), 'core')}"
    merit = results.merit(run)
    amount, _, currency = (pack.price or "").partition(" ")
    numbers = speeds(run) | {
        "merit": merit.spread.median if merit else None,
        "price": float(amount) if amount else None,
    }
    commit = str(session.get("commit"))[:12]
    return Entry(machine, suite, session["started"], commit, verdict, page, numbers, currency)


def speeds(run: Run) -> dict[str, float | None]:
    """Return what the first experiment says that goes from one rank to more, as far as there are more cores."""
    cores = results.cores(run)
    for experiment in run.plan["suite"]["experiments"]:
        curve = results.scaling(run.records, experiment, "epoch_seconds", "ranks")
        own = [one for one in curve if one.row.records[0]["ranks"] <= cores]
        if len(own) > 1 or (own and cores == 1):
            last = max(own, key=lambda one: one.x)
            one, rate = (EXEMPLARS / point.row.spread.median for point in (own[0], last))
            watts = middle(last.row, "watts")
            return {
                "one": one,
                "all": rate,
                "speedup": last.speedup.value,
                "efficiency": 100 * last.efficiency,
                "watts": watts,
                "joules": rate / watts if watts else None,
            }
    return {}


def middle(row: Row, metric: str) -> float | None:
    found = row.values(metric)
    return float(np.median(found)) if len(found) else None


def published() -> list[Entry]:
    """Return rows of the hosts of which something was published, marked as such."""
    found = []
    for profile in map(library.find, library.names()):
        epochs = profile.published_epochs
        if 1 in epochs:
            last = max(epochs)
            source = next(one.source for one in profile.published if one.metric == "epoch_seconds")
            numbers: dict[str, float | None] = {"one": EXEMPLARS / epochs[1], "all": EXEMPLARS / epochs[last]}
            numbers["speedup"] = epochs[1] / epochs[last]
            found.append(Entry(profile.title, f"{source}; {last} goroutines", "", "", "published", "", numbers))
    return found


def histories(entries: Sequence[Entry]) -> list[History]:
    """Return the exemplars a second over days, of each machine that was measured more than once by the same suite."""
    from bench.report import figures

    found: list[History] = []
    for machine, suite in dict.fromkeys((one.machine, one.suite) for one in entries):
        mine = [one for one in entries if (one.machine, one.suite) == (machine, suite) and one.numbers.get("one")]
        mine = sorted((one for one in mine if one.started), key=lambda one: moment(one.started))
        if len(mine) < 2:
            continue
        times = [moment(one.started) for one in mine]
        days = [(time - times[0]) / timedelta(days=1) for time in times]
        drawn = [
            figures.Line(label, days, [one.numbers[name] or 0 for one in mine])
            for name, label in (("one", "one core"), ("all", "all cores"))
        ]
        title = f"{machine}: {suite}"
        svg = figures.lines(drawn, f"days since {times[0]:%Y-%m-%d}", "exemplars a second")
        svg = figures.named(svg, f"history-{len(found)}", f"History of {title}")
        found.append(History(title, svg, ", ".join(f"{one.started[:10]} {one.commit}" for one in mine)))
    return found


def index(entries: Sequence[Entry]) -> str:
    """Return the page with the table."""
    import jinja2

    from bench.report.cells import number

    folder = resources.files("bench.publish")
    script = folder.joinpath("gallery.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    ).from_string(folder.joinpath("gallery.html.j2").read_text(encoding="utf-8"))
    return template.render(
        entries=entries,
        histories=histories(entries),
        columns={name: words for name, words in COLUMNS.items() if any(one.numbers.get(name) for one in entries)},
        number=number,
        script=script,
        digest=digest,
    )
