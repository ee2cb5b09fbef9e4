"""`python -m bench`: the verbs of the benchmark."""

import argparse
from typing import Any

from bench.analysis import compare, export
from bench.harness import fitness, run_suite, suite
from bench.prediction import calibrate, predict
from bench.publish import gallery, pack, verify
from bench.report import command, timeline
from mpinn import __version__
from mpinn.system.command_line import Parser, run_command


def add_list(commands: Any) -> None:
    parser = commands.add_parser(
        "list", help="the suites", description="List the suites that ship, and their experiments."
    )
    parser.set_defaults(command=list_suites)


def list_suites(asked: argparse.Namespace) -> int:
    """Print the suites."""
    for name in suite.names():
        found = suite.load(name, [])
        print(f"{name:14} {found.title}")
        for experiment, about in found.experiments.items():
            print(f"               {experiment:20} {about['title']}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; return the exit status. Raises MpinnError."""
    parser = Parser(
        prog="python -m bench",
        description="Measure this machine by training on it: suites of experiments, with figures one can publish.",
        epilog="Example: python -m bench run smoke --out results/smoke && python -m bench report results/smoke",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mpinn {__version__}")
    commands = parser.add_subparsers(metavar="VERB", required=True)
    add_list(commands)
    for module in (run_suite, fitness, command, timeline, compare, export, calibrate, predict, pack, verify, gallery):
        module.add_parser(commands)
    asked = parser.parse_args(arguments)
    status: int = asked.command(asked)
    return status


if __name__ == "__main__":
    run_command(main)
