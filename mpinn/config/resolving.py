"""What options come to on so many ranks and for these data; and which of them contradict each other."""

from itertools import pairwise
from typing import Any

from mpinn.config.options import LEARNING_RATE, Options
from mpinn.config.settings import Settings, rule_of
from mpinn.config.spelling import option
from mpinn.merging import formats, law
from mpinn.merging.optimizers import OPTIMIZERS, SCALED, Hyper
from mpinn.merging.rates import SCHEDULES
from mpinn.model.losses import LOSSES
from mpinn.model.network import GREY_LEVELS
from mpinn.system.errors import UsageError

MOST_PARAMETERS = 2**30
PLAIN_RATE = 0.01  # of a network without layer normalisation
PAPERS_HIDDEN = 100  # units
STALL = {"ulfm": (10.0, 60.0), "restart": (4.0, 8.0)}  # seconds to the warning, to the timeout


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
    """Return a learning rate at which networks learn: a worker's or, where workers take gradients, the optimizer's.

    By measurement (docs/results.md). A step of a layer's net inputs goes, with layer normalisation, with one over its
    units; and a narrow layer has fewer that could make up for one that has gone too far. Under cross-entropy, and with
    SELU, steps are longer.
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
    of_merge = OPTIMIZERS[name].merge_rate if name and merging_steps else None
    return found | {"merge_rate": of_merge if options.merge_rate is None else options.merge_rate}


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
