"""What was typed, and what stands in a YAML file, as checked options; and options as YAML."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import mpinn
from mpinn.config.options import FIELDS, TYPES, Options, check
from mpinn.config.spelling import flag, option
from mpinn.system import schema, yaml_files
from mpinn.system.command_line import Parser
from mpinn.system.errors import UsageError, nearest

LIST = "tag:yaml.org,2002:seq"


def parser() -> argparse.ArgumentParser:
    """Return the command line of `python -m mpinn.train`."""
    parser = Parser(
        prog="python -m mpinn.train",
        description="Train a neural network by exemplar parallelism over MPI.",
        epilog="Example: mpirun -n 8 python -m mpinn.train --merge block-momentum --epochs 15 --result result.json. "
        "Exit status: 0 done; 1 failed while running; 2 wrong usage; 4 done, but the target was missed or training was "
        "dead; 130 or 143 interrupted.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in FIELDS.items():
        about, default, hint = field.metadata, field.default, TYPES[name]
        text = about["help"] + ("" if default is None or hint is bool else f" (default: {default})")
        if hint is bool and default is None:
            parser.add_argument(option(name), action=argparse.BooleanOptionalAction, help=text)
        elif hint is bool:
            parser.add_argument(flag(name), dest=name, action="store_const", const=not default, help=text)
        elif hint is str and about["choices"]:
            parser.add_argument(option(name), dest=name, help=text, metavar="|".join(about["choices"]))
        else:
            metavar = about.get("metavar") or {int: "N", float: "X"}[hint]
            nargs = "+" if schema.is_list(hint) else None
            parser.add_argument(option(name), dest=name, help=text, metavar=metavar, nargs=nargs)
    parser.add_argument("--config", metavar="FILE", help="YAML file of these settings; options typed override it")
    parser.add_argument("--show-config", action="store_true", help="print the settings as YAML and stop")
    parser.add_argument("--version", action="version", version=f"mpinn {mpinn.__version__}")
    return parser


def as_number(name: str, text: Any) -> Any:
    """Return what was typed for an option as a number, where the option takes one and it is one."""
    if isinstance(text, list):
        return [as_number(name, item) for item in text]
    try:
        return int(text) if schema.takes_integers(TYPES[name]) else text
    except ValueError:
        return text


def read_yaml(path: str) -> dict[str, Any]:
    """Return the checked settings of a YAML file. Raises UsageError that names file and key."""
    settings = {}
    for key, value in yaml_files.read(Path(path)).items():
        name = str(key).replace("-", "_")
        if name not in FIELDS:
            raise UsageError(f"{path}: unknown key {str(key)!r}{nearest(name, FIELDS)}; --show-config lists all")
        settings[name] = check(name, value, f"{path}: {key}")
    return settings


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what was typed: checked options, and `config` and `show_config` where they were given.

    Raises UsageError; SystemExit after --help and --version.
    """
    known, unknown = parser().parse_known_args(arguments)
    if unknown:
        raise UsageError(f"unknown option {unknown[0]!r}{nearest(unknown[0], map(option, FIELDS))}; see --help")
    return {
        name: check(name, as_number(name, value), option(name)) if name in FIELDS else value
        for name, value in vars(known).items()
    }


def given(typed: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the user gave, by --config or by typing them; the latter win. Raises UsageError."""
    from_file = read_yaml(typed["config"]) if "config" in typed else {}
    return {**from_file, **{name: value for name, value in typed.items() if name in FIELDS}}


class Dumper(yaml.SafeDumper):
    """Writes a tuple as a list on one line."""


Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_sequence(LIST, value, flow_style=True))


def show(options: Options) -> str:
    """Return the options as YAML that --config reads back, one a line."""
    content = {name: getattr(options, name) for name in FIELDS}
    return yaml.dump(content, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=math.inf)
