"""What the user may give: every option, with its default, its bounds and its help."""

from dataclasses import dataclass
from typing import Any

from mpinn.merging.formats import FORMATS
from mpinn.merging.optimizers import OPTIMIZERS
from mpinn.merging.rates import SCHEDULES
from mpinn.model.activations import ACTIVATIONS
from mpinn.model.losses import LOSSES
from mpinn.model.network import INITIAL
from mpinn.system import schema
from mpinn.system.errors import UsageError
from mpinn.system.schema import entry

MERGES = ("mean", "block-momentum", "gradient")
LEARNING_RATE = 0.8  # of a worker, the paper's


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
    trace: str | None = entry(
        "write here what every rank did when, for ui.perfetto.dev and bench timeline (gzipped if FILE ends in .gz)",
        metavar="FILE",
        default=None,
    )
    trace_rounds: int = entry("of how many rounds, the run's first, --trace tells", least=1, default=1000)
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


def check(name: str, value: Any, where: str) -> Any:
    """Return the value of an option in its own type. Raises UsageError that names `where` it was given."""
    found = schema.check(Options, name, value, where)
    if name == "target_accuracy" and found is not None and 0 < found < 1:
        raise UsageError(f"{where} {found:g}: a percentage; is {100 * found:g} meant?")
    return found
