"""`bench report`: result directories as one self-contained page, a Markdown summary and figures."""

import argparse
from pathlib import Path
from typing import Any

from bench.analysis import results
from mpinn.system import files
from mpinn.system.errors import MpinnError, UsageError
from mpinn.system.words import counted


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="make the page of a run",
        description="Write report.html (one page, no network needed), report.md and figures/*.svg from the records of "
        "a result directory; of several, with the hosts side by side.",
    )
    parser.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="result directory of `bench run`")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the report goes (default: the first DIR)")
    parser.set_defaults(command=report)


def report(asked: argparse.Namespace) -> int:
    """Write the report; return the exit status. Raises UsageError, MpinnError."""
    out = asked.out or asked.directories[0]
    count = write(asked.directories, out)
    print(f"{out / 'report.html'}, {out / 'report.md'} and {counted(count, 'figure')}")
    return 0


def write(directories: list[Path], out: Path) -> int:
    """Write the report of result directories into `out`; return how many figures. Raises UsageError, MpinnError."""
    try:
        from bench.report import answer, figures, page, sections
    except ImportError as error:
        raise UsageError(f"{error}: the report needs more packages: pip install 'mpinn-bench[bench]'") from None
    runs = [results.open_run(directory) for directory in directories]
    for run in runs:
        if not run.plan:
            raise UsageError(f"{run.directory}: no plan.json, which says what the records are of; restore it")
    titles = names(runs)
    title = answer.title(runs[0]) if len(runs) == 1 else f"{runs[0].plan['suite']['title']}: {', '.join(titles)}"
    description = runs[0].plan["suite"]["description"]
    made = sections.of_run(runs, titles)
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MpinnError(f"{out}: cannot be written: {error.strerror}; give --out another place") from None
    drawn = [section for section in made if section.svg]
    for section in drawn:
        files.write(out / "figures" / f"{section.name}.svg", figures.alone(section.svg).encode())
    files.write(out / "report.html", page.html(title, description, runs, titles, made).encode())
    files.write(out / "report.md", page.summary(title, runs, titles, made).encode())
    return len(drawn)


def names(runs: list[results.Run]) -> list[str]:
    """Return a name for each run: its host's, with the directory's where two would be alike."""
    hosts = [str(run.sessions[-1]["host"] if run.sessions else run.plan["profile"]["title"]) for run in runs]
    hosts = [
        run.plan["profile"]["title"] if run.plan["profile"]["name"] != "detected" else host
        for run, host in zip(runs, hosts, strict=True)
    ]
    if len(set(hosts)) == len(hosts):
        return hosts
    return [f"{host} ({run.directory})" for host, run in zip(hosts, runs, strict=True)]
