"""Every setting of a training run: its default, its bounds, its help; from the command line and from YAML.

A setting is one field of `Config`. The command line, the YAML keys (the same names), `--show-config` and the
`config` of a result are all made from the fields here.
"""

import argparse
import dataclasses
import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from mpinn import law
from mpinn.activations import ACTIVATIONS
from mpinn.cli import Parser
from mpinn.errors import UsageError, nearest, yaml_problem
from mpinn.version import __version__


def setting(
    default: Any,
    help: str,
    kind: type = str,
    least: float = -math.inf,
    most: float = math.inf,
    choices: Sequence[str] = (),
    metavar: str | None = None,
    weights: bool = False,
) -> Any:
    """Describe a field: `kind` of one value, inclusive bounds, and whether the trained weights depend on it."""
    several = isinstance(default, tuple) or default is SEVERAL
    metadata = dict(
        help=help,
        kind=kind,
        least=least,
        most=most,
        choices=choices,
        metavar=metavar,
        several=several,
        weights=weights,
    )
    return field(default=None if default is SEVERAL else default, metadata=metadata)


SEVERAL: Any = object()  # the default of a list that is worked out later

LIST = "tag:yaml.org,2002:seq"
TINY = 5e-324  # the smallest positive number: a bound that excludes zero
BELOW_ONE = 1 - 2**-53
MOST_PARAMETERS = 2**30
FIRST_BATCH = 100
STALL = {"ulfm": (10.0, 60.0), "restart": (4.0, 8.0)}  # seconds to the warning, to the timeout


@dataclass(frozen=True)
class Config:
    """The settings of a run. None means: worked out from the data or from the number of ranks."""

    epochs: int = setting(5, "passes over the training set", int, 1)
    workers: int | None = setting(None, "logical workers (default: one a rank)", int, 1, weights=True)
    worker_batch: int | str = setting(
        100,
        "exemplars a worker learns between two merges; auto: by the number of workers and what a merge costs here",
        int,
        1,
        2**31 - 1,
        ("auto",),
        metavar="N|auto",
        weights=True,
    )
    learning_rate: float = setting(0.8, "eta, the step of stochastic gradient descent", float, TINY, 1e6, weights=True)
    l1: float = setting(1e-7, "lambda 1 of the elastic net", float, 0, 1e6, weights=True)
    l2: float = setting(1e-7, "lambda 2 of the elastic net", float, 0, 1e6, weights=True)
    alpha: float = setting(0.5, "alpha of ELU", float, 0, 1e6, weights=True)
    layers: tuple[int, ...] | None = setting(
        SEVERAL,
        "units of each layer (default: pixels 100 classes)",
        int,
        1,
        2**24,
        metavar="UNITS",
        weights=True,
    )
    activations: tuple[str, ...] | None = setting(
        SEVERAL,
        "activation of each layer, the input's first (default: identity elu ... softmax)",
        choices=tuple(ACTIVATIONS),
        metavar="NAME",
        weights=True,
    )
    bias: bool = setting(True, "leave out the bias units", bool, weights=True)
    layer_normalisation: bool = setting(True, "do not divide net inputs by the layer's size", bool, weights=True)
    loss: str = setting("quadratic", "loss", choices=("quadratic", "cross-entropy"), weights=True)
    merge: str = setting(
        "mean", "how workers' weights become the master's", choices=("mean", "block-momentum"), weights=True
    )
    block_momentum: float | None = setting(
        None,
        "mu of block momentum (default: by workers and worker batch)",
        float,
        0,
        BELOW_ONE,
        metavar="MU",
        weights=True,
    )
    learning_rate_scale: float | None = setting(
        None,
        "under block momentum a worker steps by so many times eta (default: by workers and batch; 1 with a given mu)",
        float,
        TINY,
        1e6,
        metavar="K",
        weights=True,
    )
    exchange: str = setting(
        "auto",
        "what ranks merge through: memory that the ranks of a node share, or Allreduce over all; to the same weights",
        choices=("auto", "shared-memory", "allreduce"),
    )
    balance: str = setting(
        "even",
        "workers of each rank: equally many, or by the speed measured in the first epoch",
        choices=("even", "measured"),
    )
    kernel: str = setting("auto", "how a worker learns a batch", choices=("auto", "native", "reference"))
    seed: int = setting(0, "of the initial weights and of the order of exemplars", int, 0, 2**63 - 1, weights=True)
    data: str | None = setting(
        None,
        "directory of IDX files, or of train.csv and test.csv; a CSV; an NPZ (default: MNIST)",
        metavar="PATH",
    )
    test_data: str | None = setting(None, "test set, where --data holds none or another is wanted", metavar="PATH")
    target_accuracy: float | None = setting(
        None, "stop when this accuracy is reached", float, 0, 100, metavar="PERCENT"
    )
    target_set: str = setting("test", "set on which the target is measured", choices=("train", "test"))
    evaluate_every: int = setting(1, "epochs between evaluations", int, 1)
    checkpoint: str | None = setting(
        None, "directory for snapshots, made if missing (default: that of --resume, else none)", metavar="DIR"
    )
    checkpoint_every: int = setting(1, "epochs between snapshots", int, 1)
    resume: str | None = setting(
        None,
        "go on from this snapshot, or from the newest good one of a directory, and save into that directory",
        metavar="PATH",
    )
    result: str | None = setting(None, "write the result file (JSON) here", metavar="FILE")
    fault_tolerance: str = setting(
        "off",
        "what a lost rank ends: off, the run; restart, the run too, soon and everywhere, for mpinn.launch to start it "
        "again; ulfm, the round, which the others do again (Open MPI 5)",
        choices=("off", "restart", "ulfm"),
    )
    min_ranks: int = setting(1, "under ulfm, end the run when fewer ranks are left", int, 1)
    check_replicas: int | None = setting(
        None,
        "rounds between two comparisons of the ranks' master weights (default: an epoch)",
        int,
        1,
        metavar="ROUNDS",
    )
    stall_warning: float | None = setting(
        None,
        "name a rank that has not moved for so long (default: restart 4, ulfm 10)",
        float,
        TINY,
        metavar="SECONDS",
    )
    stall_timeout: float | None = setting(
        None,
        "and take it for dead after so long (default: restart 8, ulfm 60)",
        float,
        TINY,
        metavar="SECONDS",
    )
    time_limit: float | None = setting(
        None, "stop after this time, with a snapshot where they are saved", float, TINY, metavar="SECONDS"
    )
    quiet: bool = setting(False, "print errors only", bool)
    log_level: str = setting("warning", "what is logged", choices=("debug", "info", "warning", "error"))
    debug: bool = setting(False, "show the traceback of an error", bool)


FIELDS = {f.name: f for f in dataclasses.fields(Config)}
WEIGHTS = [name for name, f in FIELDS.items() if f.metadata["weights"]]  # what the trained weights depend on


def check(name: str, value: Any, where: str) -> Any:
    """Return the value of a setting in its own type, or raise UsageError naming `where` it was given.

    A list becomes a tuple, a whole number is taken where a float is wanted.
    """
    about = FIELDS[name].metadata
    if value is None and FIELDS[name].default is None:
        return None
    if about["several"]:
        if not isinstance(value, list | tuple) or len(value) < 2:
            raise UsageError(f"{where}: expected a list of at least two, got {reprlib.repr(value)}")
        return tuple(check_one(about, item, where) for item in value)
    return check_one(about, value, where)


def check_one(about: Any, value: Any, where: str) -> Any:
    """Return one value in the type that the field's metadata `about` wants."""
    kind, words = about["kind"], about["choices"]
    if kind is not str and value in words:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = () if kind is str else words
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        raise UsageError(f"{where}: expected {' or '.join([wanted, *words])}, got {reprlib.repr(value)}")
    if kind is str and words and value not in words:
        raise UsageError(f"{where}: {reprlib.repr(value)} is none of {', '.join(words)}{nearest(value, words)}")
    if kind in (int, float) and not about["least"] <= value <= about["most"]:
        raise UsageError(f"{where}: {value!r} is out of bounds: {bounds(about)}")
    return value


def bounds(about: Any) -> str:
    """Return the bounds of a setting in words."""
    least = "more than 0" if about["least"] == TINY else f"at least {about['least']}"
    if about["most"] == math.inf:
        return least
    return f"{least} and " + ("less than 1" if about["most"] == BELOW_ONE else f"at most {about['most']:.16g}")


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def spelled(name: str, value: Any) -> str:
    """Return how a value of a setting is typed, after 'with' or 'without': 'with --layers 784 10'."""
    default = FIELDS[name].default
    if FIELDS[name].metadata["kind"] is bool:
        return f"{'without' if value == default else 'with'} {flag(name)}"
    if value is None:
        return f"without {option(name)}"
    words = value if isinstance(value, tuple) else (value,)
    return f"with {option(name)} {' '.join(map(str, words))}"


def flag(name: str) -> str:
    """Return the option that turns a true-or-false setting away from its default."""
    return option(f"no_{name}" if FIELDS[name].default else name)


def parser() -> argparse.ArgumentParser:
    """Return the command line of `python -m mpinn.train`."""
    parser = Parser(
        prog="python -m mpinn.train",
        description="Train a neural network by exemplar parallelism over MPI.",
        epilog="Example: mpirun -n 8 python -m mpinn.train --merge block-momentum --epochs 15 --result result.json. "
        "Exit status: 0 done; 1 failed while running; 2 asked wrongly; 130 or 143 interrupted.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for f in FIELDS.values():
        about, default = f.metadata, f.default
        text = about["help"] + ("" if default is None or about["kind"] is bool else f" (default: {default})")
        if about["kind"] is bool:
            parser.add_argument(flag(f.name), dest=f.name, action="store_const", const=not default, help=text)
        elif about["kind"] is str and about["choices"] and not about["several"]:
            parser.add_argument(option(f.name), dest=f.name, help=text, metavar="|".join(about["choices"]))
        else:
            metavar = about["metavar"] or {int: "N", float: "X", str: "TEXT"}[about["kind"]]
            nargs = "+" if about["several"] else None
            parser.add_argument(option(f.name), dest=f.name, help=text, metavar=metavar, nargs=nargs)
    parser.add_argument("--config", metavar="FILE", help="YAML file of these settings; what is typed goes before it")
    parser.add_argument("--show-config", action="store_true", help="print the settings as YAML and stop")
    parser.add_argument("--version", action="version", version=f"mpinn {__version__}")
    return parser


def read_number(name: str, text: Any) -> Any:
    """Return what was typed for a setting as its own type; text that is no number comes back as it is."""
    kind = FIELDS[name].metadata["kind"]
    if isinstance(text, list):
        return [read_number(name, item) for item in text]
    try:
        return kind(text) if kind in (int, float) else text
    except ValueError:
        return text


def read_yaml(path: str) -> dict[str, Any]:
    """Return the checked settings of a YAML file. Raises UsageError naming file and key."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; give --config a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid YAML: {yaml_problem(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected settings as 'key: value' lines, such as 'epochs: 5'")
    settings = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in FIELDS:
            raise UsageError(f"{path}: unknown key {str(key)!r}{nearest(name, FIELDS)}; --show-config lists all")
        if isinstance(value, str):
            value = read_number(name, value)  # YAML 1.1 reads 1e-7, without a dot, as text
        settings[name] = check(name, value, f"{path}: {key}")
    return settings


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what was typed: checked settings, and `config` and `show_config` where they were given.

    Raises UsageError; SystemExit after --help and --version.
    """
    known, unknown = parser().parse_known_args(arguments)
    if unknown:
        raise UsageError(f"unknown option {unknown[0]!r}{nearest(unknown[0], map(option, FIELDS))}; see --help")
    return {
        name: check(name, read_number(name, value), option(name)) if name in FIELDS else value
        for name, value in vars(known).items()
    }


def given(typed: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the user gave, by --config or by typing them, which goes first. Raises UsageError."""
    from_file = read_yaml(typed["config"]) if "config" in typed else {}
    return {**from_file, **{name: value for name, value in typed.items() if name in FIELDS}}


def resolve(config: Config, pixels: int, classes: int, exemplars: int, ranks: int) -> Config:
    """Return the configuration with every None worked out that has a value, or raise UsageError if it cannot work."""
    layers = config.layers or (pixels, 100, classes)
    if layers[0] != pixels or layers[-1] < classes:
        raise UsageError(
            f"--layers {' '.join(map(str, layers))} does not fit the data: {pixels} pixels and {classes} classes "
            f"need --layers {pixels} ... {classes}"
        )
    if sum((n + 1) * m for n, m in pairwise(layers)) > MOST_PARAMETERS:
        raise UsageError(f"--layers: more than {MOST_PARAMETERS} weights; take smaller layers")
    activations = config.activations or ("identity", *["elu"] * (len(layers) - 2), "softmax")
    if len(activations) != len(layers):
        raise UsageError(f"--activations: {len(activations)} given for {len(layers)} layers, the input's included")
    if activations[-1] != "softmax" or "softmax" in activations[:-1]:
        raise UsageError("--activations: the last layer takes softmax, and no other does")
    workers, worker_batch = config.workers or ranks, config.worker_batch
    if worker_batch == "auto":
        worker_batch = max(1, min(FIRST_BATCH, exemplars // workers))  # until a merge's price is known
    assert isinstance(worker_batch, int)
    most_workers = -(-exemplars // worker_batch)
    if workers > most_workers:
        raise UsageError(
            f"{workers} workers, but {exemplars} exemplars hold only {most_workers} worker batches of "
            f"{worker_batch}: take at most {most_workers} --workers"
            + (f", or --worker-batch {exemplars // workers} or less" if workers <= exemplars else "")
        )
    warning, timeout = config.stall_warning, config.stall_timeout
    if config.fault_tolerance == "restart" and config.checkpoint is None:
        raise UsageError("--fault-tolerance restart needs --checkpoint DIR, to go on from")
    if config.fault_tolerance in STALL:
        usual_warning, usual_timeout = STALL[config.fault_tolerance]
        timeout = usual_timeout if timeout is None else timeout
        warning = min(usual_warning, timeout) if warning is None else warning
    momentum, scale = config.block_momentum, config.learning_rate_scale
    if config.merge == "block-momentum":
        if scale is None:
            scale = law.learning_rate_scale(workers, worker_batch) if momentum is None else 1.0
        if momentum is None:
            momentum = law.block_momentum(workers, worker_batch, scale)
    for name in ("block_momentum", "learning_rate_scale"):
        if config.merge != "block-momentum" and getattr(config, name) is not None:
            raise UsageError(f"{option(name)} needs --merge block-momentum")
    if config.learning_rate * (scale or 1) * config.l2 >= 1:
        raise UsageError("--learning-rate times --l2 must be less than 1, or a weight flips its sign; lower --l2")
    return dataclasses.replace(
        config,
        layers=layers,
        activations=activations,
        workers=workers,
        worker_batch=worker_batch,
        block_momentum=momentum,
        learning_rate_scale=scale,
        stall_warning=warning,
        stall_timeout=timeout,
    )


class Dumper(yaml.SafeDumper):
    """Writes a tuple as a list on one line."""


Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_sequence(LIST, value, flow_style=True))


def show(config: Config) -> str:
    """Return the configuration as YAML that --config reads back, one setting a line."""
    settings = {name: getattr(config, name) for name in FIELDS}
    return yaml.dump(settings, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=math.inf)
