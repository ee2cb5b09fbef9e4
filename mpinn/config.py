"""Every setting of a training run: its default, its bounds, its help; from the command line and from YAML.

`Options` is what the user gave, `Settings` what a run works with; `resolve` makes the one from the other. The command
line, the YAML keys (the same names), `--show-config` and the `config` of a result are all made from the fields below.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

import mpinn
from mpinn.merging import formats, law
from mpinn.merging.formats import FORMATS
from mpinn.merging.optimizers import OPTIMIZERS, SCALED, Hyper
from mpinn.merging.rates import SCHEDULES, Plan
from mpinn.model.activations import ACTIVATIONS
from mpinn.model.losses import LOSSES
from mpinn.model.network import GREY_LEVELS, INITIAL, Network
from mpinn.system import schema, yaml_files
from mpinn.system.command_line import Parser
from mpinn.system.errors import UsageError, nearest
from mpinn.system.schema import entry

LIST = "tag:yaml.org,2002:seq"
MOST_PARAMETERS = 2**30
MERGES = ("mean", "block-momentum", "gradient")
LEARNING_RATE = 0.8  # of a worker, the paper's
PLAIN_RATE = 0.01  # of a network without layer normalisation
PAPERS_HIDDEN = 100  # units
STALL = {"ulfm": (10.0, 60.0), "restart": (4.0, 8.0)}  # seconds to the warning, to the timeout


@dataclass(frozen=True)
class Options:
    """What the user gave. None means: to be resolved, from the data or the number of ranks.

    Fields marked `weights` are those on which the trained weights depend.
    """

    epochs: int = entry("passes over the training set", least=1, default=5)
    workers: int | None = entry("logical workers (default: one a rank)", least=1, weights=True, default=None)
    worker_batch: int | str = entry(
        "exemplars a worker learns between two merges; auto: by the number of workers and what a merge costs here; "
        "all: one round an epoch",
        least=1,
        most=2**31 - 1,
        choices=("auto", "all"),
        metavar="N|auto|all",
        weights=True,
        default=100,
    )
    learning_rate: float | None = entry(
        f"eta: of a worker's steps (default: by network, {LEARNING_RATE} for the paper's), or of the optimizer's under "
        "--merge gradient (default: by optimizer)",
        above=0,
        most=1e6,
        weights=True,
        default=None,
    )
    layer_rates: tuple[float, ...] | None = entry(
        "by which the learning rate of each layer of weights is multiplied (default: 1)",
        least=0,
        most=1e6,
        metavar="X",
        weights=True,
        default=None,
    )
    worker_momentum: float = entry(
        "momentum of a worker's steps, from rest in every worker batch", least=0, below=1, weights=True, default=0.0
    )
    schedule: str = entry(
        "how the learning rate changes: multiplied every so many epochs, every epoch, or where the training set's "
        "accuracy does not rise; or falling to nothing",
        choices=tuple(SCHEDULES),
        weights=True,
        default="constant",
    )
    decay: float | None = entry(
        "by which step, exponential and plateau multiply it (default: 0.1, 0.95, 0.5)",
        above=0,
        below=1,
        metavar="FACTOR",
        weights=True,
        default=None,
    )
    decay_epochs: int | None = entry(
        "epochs between two steps, or of a plateau (default: 10, 3)", least=1, metavar="N", weights=True, default=None
    )
    schedule_epochs: int | None = entry(
        "epochs over which cosine and one-cycle go (default: --epochs)",
        least=1,
        metavar="N",
        weights=True,
        default=None,
    )
    warm_up: int = entry(
        "exemplars over which the learning rate rises from 0", least=0, most=2**53, metavar="N", weights=True, default=0
    )
    l1: float = entry("lambda 1 of the elastic net", least=0, most=1e6, weights=True, default=1e-7)
    l2: float = entry("lambda 2 of the elastic net", least=0, most=1e6, weights=True, default=1e-7)
    alpha: float = entry("alpha of ELU", least=0, most=1e6, weights=True, default=0.5)
    layers: tuple[int, ...] | None = entry(
        "units of each layer (default: pixels 100 classes)",
        least=1,
        most=2**24,
        items=2,
        metavar="UNITS",
        weights=True,
        default=None,
    )
    activations: tuple[str, ...] | None = entry(
        "activation of each layer, the input's first (default: identity elu ... softmax)",
        choices=tuple(ACTIVATIONS),
        items=2,
        metavar="NAME",
        weights=True,
        default=None,
    )
    bias: bool = entry("leave out the bias units", weights=True, default=True)
    layer_normalisation: bool | None = entry(
        "divide net inputs by the layer's size, as in the paper (default: with one hidden layer or none, where "
        "workers step, but for selu)",
        weights=True,
        default=None,
    )
    loss: str = entry("loss", choices=tuple(LOSSES), weights=True, default="quadratic")
    initial: str | None = entry(
        "initial weights: uniform in +-0.1 (default with layer normalisation), or as wide as a layer's inputs, or "
        "inputs and outputs, ask for (default: lecun)",
        choices=tuple(INITIAL),
        weights=True,
        default=None,
    )
    input_divisor: int | None = entry(
        "what grey levels are divided by (default with layer normalisation: the layer's size, else 255)",
        least=1,
        most=2**24,
        metavar="N",
        weights=True,
        default=None,
    )
    dropout: float = entry(
        "share of the hidden units that an exemplar is learned without (with selu: alpha dropout)",
        least=0,
        below=1,
        weights=True,
        default=0.0,
    )
    merge: str = entry(
        "what is merged: workers' weights, of which the mean is the master's or its direction; or gradients",
        choices=MERGES,
        weights=True,
        default="mean",
    )
    optimizer: str | None = entry(
        "what moves the master along the merged gradient (default: sgd), or along the mean of the workers' steps "
        "(default: nothing, the mean is the master)",
        choices=tuple(OPTIMIZERS),
        weights=True,
        default=None,
    )
    merge_rate: float | None = entry(
        "rate of the optimizer under --merge mean (default: by optimizer)",
        above=0,
        most=1e6,
        weights=True,
        default=None,
    )
    momentum: float | None = entry(
        "mu of the optimizers momentum and nesterov (default: 0.9)",
        least=0,
        below=1,
        metavar="MU",
        weights=True,
        default=None,
    )
    beta1: float | None = entry(
        "decay of the mean of gradients: adam, nadam (default: 0.9)", least=0, below=1, weights=True, default=None
    )
    beta2: float | None = entry(
        "decay of the mean of squares: adam, nadam (default: 0.999), rmsprop (0.99)",
        least=0,
        below=1,
        weights=True,
        default=None,
    )
    epsilon: float | None = entry(
        "added to the root of the squares: adam, nadam, rmsprop (default: 1e-8), adagrad (1e-10)",
        least=1e-20,
        most=1e6,
        weights=True,
        default=None,
    )
    block_momentum: float | None = entry(
        "mu of block momentum (default: by workers and worker batch)",
        least=0,
        below=1,
        metavar="MU",
        weights=True,
        default=None,
    )
    learning_rate_scale: float | None = entry(
        "under block momentum a worker steps by so many times eta (default: by workers and batch; 1 with a given mu)",
        above=0,
        most=1e6,
        metavar="K",
        weights=True,
        default=None,
    )
    merge_format: str | None = entry(
        "sum up steps as whole numbers, or weights as float64 (default: int16 up to 128 workers, int32 beyond and for "
        "gradients)",
        choices=tuple(FORMATS),
        weights=True,
        default=None,
    )
    overlap: bool = entry(
        "let the merge of a round travel between hosts while the next round is learned; many workers then bear a "
        "smaller worker batch",
        weights=True,
        default=False,
    )
    exchange: str = entry(
        "what ranks merge through: memory that the ranks of a node share, or Allreduce over all; to the same weights",
        choices=("auto", "shared-memory", "allreduce"),
        default="auto",
    )
    learning_ranks: str = entry(
        "the ranks that learn: all, or of each node as many as it has cores, while the others rest; to the same "
        "weights",
        choices=("all", "cores"),
        default="all",
    )
    balance: str = entry(
        "workers of each rank: equally many, or by the speed measured in the first epoch",
        choices=("even", "measured"),
        default="even",
    )
    kernel: str = entry("how a worker learns a batch", choices=("auto", "native", "reference"), default="auto")
    seed: int = entry(
        "of the initial weights and of the order of exemplars", least=0, most=2**63 - 1, weights=True, default=0
    )
    data: str | None = entry(
        "directory of IDX files, or of train.csv and test.csv; a CSV; an NPZ (default: MNIST)",
        metavar="PATH",
        default=None,
    )
    test_data: str | None = entry(
        "test set, where --data holds none or another is wanted", metavar="PATH", default=None
    )
    target_accuracy: float | None = entry(
        "stop when this accuracy is reached", least=0, most=100, metavar="PERCENT", default=None
    )
    target_set: str = entry("set on which the target is measured", choices=("train", "test"), default="test")
    evaluate_every: int = entry("epochs between evaluations", least=1, default=1)
    checkpoint: str | None = entry(
        "directory for snapshots, made if missing (default: that of --resume, else none)", metavar="DIR", default=None
    )
    checkpoint_every: int = entry("epochs between snapshots", least=1, default=1)
    resume: str | None = entry(
        "go on from this snapshot, or from the newest good one of a directory, and save into that directory",
        metavar="PATH",
        default=None,
    )
    result: str | None = entry("write the result file (JSON) here", metavar="FILE", default=None)
    fault_tolerance: str = entry(
        "what a lost rank ends: off, the run; restart, the run too, soon and everywhere, for mpinn.launch to start it "
        "again; ulfm, the round, which the others do again (Open MPI 5)",
        choices=("off", "restart", "ulfm"),
        default="off",
    )
    min_ranks: int = entry("under ulfm, end the run when fewer ranks are left", least=1, default=1)
    check_replicas: int | None = entry(
        "rounds between two comparisons of the ranks' master weights (default: an epoch)",
        least=1,
        metavar="ROUNDS",
        default=None,
    )
    stall_warning: float | None = entry(
        "name a rank that has not moved for so long (default: restart 4, ulfm 10)",
        above=0,
        metavar="SECONDS",
        default=None,
    )
    stall_timeout: float | None = entry(
        "and take it for dead after so long (default: restart 8, ulfm 60)", above=0, metavar="SECONDS", default=None
    )
    time_limit: float | None = entry(
        "stop after this time, with a snapshot where they are saved", above=0, metavar="SECONDS", default=None
    )
    quiet: bool = entry("print errors only", default=False)
    log_level: str = entry("what is logged", choices=("debug", "info", "warning", "error"), default="warning")
    debug: bool = entry("show the traceback of an error", default=False)


FIELDS = schema.fields(Options)
TYPES = schema.hints(Options)
WEIGHTS = [name for name, f in FIELDS.items() if f.metadata.get("weights")]


@dataclass(frozen=True, kw_only=True)
class Settings(Options):
    """What a run works with: options of which nothing that the run needs is left open."""

    workers: int
    worker_batch: int
    learning_rate: float
    layer_normalisation: bool
    initial: str
    layers: tuple[int, ...]
    activations: tuple[str, ...]
    merge_format: str

    @property
    def network(self) -> Network:
        return network_of(vars(self))

    @property
    def step(self) -> float:
        """The learning rate with which a worker steps."""
        return self.learning_rate * (self.learning_rate_scale or 1.0)

    @property
    def gradients(self) -> bool:
        """Whether workers take gradients, instead of steps."""
        return self.merge == "gradient"

    @property
    def rule(self) -> str:
        """What moves the master, of `merging.rules`."""
        return rule_of(self.merge, self.optimizer)

    @property
    def master_rate(self) -> float:
        """The rate of the optimizer that moves the master."""
        return self.learning_rate if self.gradients else self.merge_rate or 0.0

    @property
    def hyper(self) -> Hyper:
        """The settings of the optimizer; 0 those that it has not."""
        return Hyper(self.momentum or 0.0, self.beta1 or 0.0, self.beta2 or 0.0, self.epsilon or 0.0)

    @property
    def plan(self) -> Plan:
        """The schedule of the learning rate."""
        return Plan(self.schedule, self.schedule_epochs, self.decay, self.decay_epochs)

    @property
    def determines_weights(self) -> dict[str, Any]:
        """The settings on which the trained weights depend, by name."""
        return {name: getattr(self, name) for name in WEIGHTS}


def rule_of(merge: str, optimizer: str | None) -> str:
    """Return what moves the master, of `merging.rules`, under resolved settings."""
    return merge if merge == "block-momentum" else optimizer or "mean"


def network_of(settings: dict[str, Any]) -> Network:
    """Return the network that resolved settings, by name, describe."""
    return Network(
        tuple(settings["layers"]),
        tuple(settings["activations"]),
        settings["alpha"],
        settings["bias"],
        settings["layer_normalisation"],
        settings["loss"],
        settings["initial"],
        settings["input_divisor"],
        settings["dropout"],
    )


def check(name: str, value: Any, where: str) -> Any:
    """Return the value of an option in its own type. Raises UsageError that names `where` it was given."""
    found = schema.check(Options, name, value, where)
    if name == "target_accuracy" and found is not None and 0 < found < 1:
        raise UsageError(f"{where} {found:g}: a percentage; is {100 * found:g} meant?")
    return found


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def flag(name: str) -> str:
    """Return the option that turns a true-or-false setting away from its default, or where it has none, on."""
    return option(f"no_{name}" if FIELDS[name].default else name)


def words(options: dict[str, Any]) -> list[str]:
    """Return options, by name, as the command line of training takes them."""
    found = []
    for name, value in options.items():
        if isinstance(value, bool):
            found += [flag(name) if value or FIELDS[name].default else option(f"no_{name}")] * (
                value != FIELDS[name].default
            )
        else:
            found += [option(name), *map(str, value if isinstance(value, list | tuple) else [value])]
    return found


def spelled(name: str, value: Any) -> str:
    """Return how a value of an option is typed, after 'with' or 'without': 'with --layers 784 10'."""
    if TYPES[name] is bool and FIELDS[name].default is not None:
        return f"{'without' if value == FIELDS[name].default else 'with'} {flag(name)}"
    return f"without {option(name)}" if value is None else f"with {' '.join(words({name: value}))}"


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


def resolve(options: Options, worker_batch: int, pixels: int, classes: int, exemplars: int, ranks: int) -> Settings:
    """Return the settings that options come to, for a training set of so many exemplars and on so many ranks.

    worker_batch: that of the options, or what `auto` was found to be. Raises UsageError where settings contradict.
    """
    layers = options.layers or (pixels, 100, classes)
    activations = options.activations or ("identity", *["elu"] * (len(layers) - 2), "softmax")
    check_network(layers, activations, options.loss, pixels, classes)
    workers = options.workers or ranks
    check_workers(workers, worker_batch, exemplars)
    if options.fault_tolerance == "restart" and options.checkpoint is None:
        raise UsageError("--fault-tolerance restart needs --checkpoint DIR, to go on from")
    if options.learning_ranks == "cores" and options.fault_tolerance == "ulfm":
        raise UsageError("--learning-ranks cores: a rank that rests cannot be lost; leave out --fault-tolerance ulfm")
    warning, timeout = stall_seconds(options)
    momentum, scale = momentum_and_scale(options, workers, worker_batch)
    optimizer = optimizer_of(options)
    network = network_settings(options, layers, activations)
    rate = options.learning_rate
    if rate is None:
        rate = usual_rate(options, optimizer["optimizer"], layers, activations, network["layer_normalisation"])
    if rate * (scale or 1) * options.l2 >= 1:
        raise UsageError("--learning-rate times --l2 must be less than 1, or a weight flips its sign; lower --l2")
    resolved = dict(layers=layers, activations=activations, workers=workers, worker_batch=worker_batch)
    resolved |= dict(block_momentum=momentum, learning_rate_scale=scale, stall_warning=warning, stall_timeout=timeout)
    resolved |= dict(merge_format=merge_format(options, workers), learning_rate=rate)
    resolved |= network | optimizer | schedule_of(options)
    rule = rule_of(options.merge, optimizer["optimizer"])
    if options.overlap and (problem := overlap_problem(workers, options.merge_format, rule)):
        raise UsageError(problem)
    return Settings(**{**vars(options), **resolved})


def network_settings(options: Options, layers: tuple[int, ...], activations: tuple[str, ...]) -> dict[str, Any]:
    """Return how the network is scaled and begins: the paper's way where it works, up to one hidden layer.

    Through more layers its small weights and divisors let nothing pass, in neither direction; SELU keeps its scale by
    itself; and what follows gradients follows those of the plain network. Raises UsageError.
    """
    if options.layer_rates is not None and len(options.layer_rates) != len(layers) - 1:
        raise UsageError(f"--layer-rates: {len(options.layer_rates)} given for {len(layers) - 1} layers of weights")
    normalised = options.layer_normalisation
    if normalised is None:
        normalised = len(layers) <= 3 and "selu" not in activations and options.merge != "gradient"
    found = {"layer_normalisation": normalised, "initial": options.initial or ("uniform" if normalised else "lecun")}
    divisor = options.input_divisor or (None if normalised else GREY_LEVELS - 1)
    return found | {"input_divisor": divisor}


def usual_rate(
    options: Options, optimizer: str | None, layers: tuple[int, ...], activations: tuple[str, ...], normalised: bool
) -> float:
    """Return a learning rate at which networks learn, by measurement (docs/results.md): of workers or, where they take
    gradients, of the optimizer.

    A step of a layer's net inputs goes, with layer normalisation, with one over its units; and a narrow layer has fewer
    that could make up for one that has gone too far. Under cross-entropy, and with SELU, steps are longer.
    """
    narrow = min(1.0, (min(layers[1:-1], default=PAPERS_HIDDEN) + 1) / (PAPERS_HIDDEN + 1))
    steep = 4 if options.loss == "cross-entropy" else 1
    if options.merge == "gradient" and optimizer:
        return OPTIMIZERS[optimizer].rate / (steep if optimizer in SCALED else 1)
    if "selu" in activations:
        steep = 8
    longer = steep / (1 - options.worker_momentum)
    return (LEARNING_RATE * narrow ** (4 / 3) if normalised else PLAIN_RATE * narrow) / longer


def merge_format(options: Options, workers: int) -> str:
    """Return the format in which so many workers' results are summed up. Raises UsageError."""
    if options.merge_format == "int16" and workers > formats.MOST_OF_INT16:
        raise UsageError(
            f"--merge-format int16: {workers} workers leave too few bits for a step; take int32, or at most "
            f"{formats.MOST_OF_INT16} --workers"
        )
    return options.merge_format or ("int32" if options.merge == "gradient" else formats.usual(workers))


def optimizer_of(options: Options) -> dict[str, Any]:
    """Return the optimizer and its settings, None for those that it has not. Raises UsageError."""
    name = options.optimizer
    if name is not None and options.merge == "block-momentum":
        raise UsageError(
            "--merge block-momentum is an optimizer, nesterov on merged weights; leave out --optimizer, or take "
            "--merge mean"
        )
    if name is None and options.merge == "gradient":
        name = "sgd"
    usual = OPTIMIZERS[name].hyper if name else {}
    found: dict[str, Any] = {"optimizer": name}
    for setting in Hyper._fields:
        asked = getattr(options, setting)
        if asked is not None and setting not in usual:
            having = [one for one, about in OPTIMIZERS.items() if setting in about.hyper]
            raise UsageError(f"{option(setting)} needs --optimizer {' or '.join(having)}")
        found[setting] = usual.get(setting) if asked is None else asked
    merging_steps = name is not None and options.merge == "mean"
    if options.worker_momentum and options.merge == "gradient":
        raise UsageError("--worker-momentum: under --merge gradient workers make no steps; take --optimizer momentum")
    if options.merge_rate is not None and not merging_steps:
        raise UsageError("--merge-rate needs --merge mean and an --optimizer")
    usual_rate = OPTIMIZERS[name].merge_rate if name and merging_steps else None
    return found | {"merge_rate": usual_rate if options.merge_rate is None else options.merge_rate}


def schedule_of(options: Options) -> dict[str, Any]:
    """Return the settings of the schedule, None those that it has not. Raises UsageError."""
    usual, _ = SCHEDULES[options.schedule]
    last = options.epochs if usual.to_the_end else None
    found: dict[str, Any] = {}
    for setting, value in {"decay": usual.decay, "decay_epochs": usual.every, "schedule_epochs": last}.items():
        asked = getattr(options, setting)
        if asked is not None and value is None:
            raise UsageError(f"{option(setting)}: --schedule {options.schedule} has no such setting")
        found[setting] = value if asked is None else asked
    if options.schedule == "plateau" and options.evaluate_every != 1:
        raise UsageError("--schedule plateau looks at the accuracy of every epoch; leave out --evaluate-every")
    return found


def overlap_problem(workers: int, merge_format: str | None, rule: str) -> str:
    """Return why merges cannot go on while workers learn, or an empty string; rule: what moves the master."""
    if rule in OPTIMIZERS:
        return "--overlap needs --merge mean or block-momentum, without an --optimizer: nothing else was tried with it"
    if workers == 1:
        return "--overlap needs --workers 2 or more: one worker's merge is not sent"
    if merge_format == "float64":
        return "--overlap needs --merge-format int16 or int32: a worker goes on from its own step"
    return ""


def check_network(layers: tuple[int, ...], activations: tuple[str, ...], loss: str, pixels: int, classes: int) -> None:
    """Raise UsageError unless a network of these layers can learn images of so many pixels and classes."""
    if layers[0] != pixels or layers[-1] < classes:
        raise UsageError(
            f"--layers {' '.join(map(str, layers))} does not fit the data: {pixels} pixels and {classes} classes "
            f"need --layers {pixels} ... {classes}"
        )
    if sum((n + 1) * m for n, m in pairwise(layers)) > MOST_PARAMETERS:
        raise UsageError(f"--layers: more than {MOST_PARAMETERS} weights; take smaller layers")
    if len(activations) != len(layers):
        raise UsageError(f"--activations: {len(activations)} given for {len(layers)} layers, the input's included")
    if "softmax" in activations[:-1]:
        raise UsageError("--activations: the last layer may take softmax, and no other")
    if activations[-1] not in LOSSES[loss].outputs:
        raise UsageError(
            f"--activations ... {activations[-1]}: --loss {loss} takes {' or '.join(LOSSES[loss].outputs)} for the "
            "last layer"
        )


def check_workers(workers: int, worker_batch: int, exemplars: int) -> None:
    """Raise UsageError unless every worker has an exemplar in a full round."""
    most = -(-exemplars // worker_batch)
    if workers > most:
        raise UsageError(
            f"{workers} workers, but {exemplars} exemplars hold only {most} worker batches of "
            f"{worker_batch}: take at most {most} --workers"
            + (f", or --worker-batch {exemplars // workers} or less" if workers <= exemplars else "")
        )


def stall_seconds(options: Options) -> tuple[float | None, float | None]:
    """Return after how many seconds of silence a rank is named, and taken for dead; None where it is not watched."""
    warning, timeout = options.stall_warning, options.stall_timeout
    if options.fault_tolerance in STALL:
        usual_warning, usual_timeout = STALL[options.fault_tolerance]
        timeout = usual_timeout if timeout is None else timeout
        warning = min(usual_warning, timeout) if warning is None else warning
    return warning, timeout


def momentum_and_scale(options: Options, workers: int, worker_batch: int) -> tuple[float | None, float | None]:
    """Return mu and the scale of the learning rate under block momentum, None elsewhere. Raises UsageError."""
    momentum, scale = options.block_momentum, options.learning_rate_scale
    if options.merge != "block-momentum":
        for name in ("block_momentum", "learning_rate_scale"):
            if getattr(options, name) is not None:
                raise UsageError(f"{option(name)} needs --merge block-momentum")
        return None, None
    limits = law.of(options.overlap)
    if scale is None:
        scale = limits.learning_rate_scale(workers, worker_batch) if momentum is None else 1.0
    if momentum is None:
        momentum = limits.momentum(workers, worker_batch, scale)
    return momentum, scale


class Dumper(yaml.SafeDumper):
    """Writes a tuple as a list on one line."""


Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_sequence(LIST, value, flow_style=True))


def show(options: Options) -> str:
    """Return the options as YAML that --config reads back, one a line."""
    content = {name: getattr(options, name) for name in FIELDS}
    return yaml.dump(content, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=math.inf)


def as_settings(result_config: dict[str, Any]) -> Settings:
    """Return the settings that the `config` of a result file holds."""
    given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in result_config.items()}
    return Settings(**({"initial": "uniform"} | given))  # there was no other
