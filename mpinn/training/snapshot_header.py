"""The header of a snapshot: what it may say, and that it does not contradict itself."""

# ruff: noqa: RUF009 (entry returns a dataclasses.field)

from dataclasses import dataclass
from typing import Any

from mpinn import config
from mpinn.merging.formats import FIRST_EXPONENT, LAST_EXPONENT
from mpinn.merging.master import FIRST
from mpinn.merging.rules import RULES
from mpinn.model.losses import MOST
from mpinn.system.errors import UsageError
from mpinn.system.schema import entry, read

SCHEMA_VERSION = 8  # 2, which knew block momentum's velocity only, 3, of float64 merges, and 4 to 7 are read, too
MOST_EPOCHS = 16_000  # of a history: of a longer run the last ones are kept
MOST_ROUNDS = 2**31 - 1
RESOLVED = (  # settings that a run has, and options may leave open
    *("workers", "worker_batch", "learning_rate", "layer_normalisation", "initial", "layers", "activations"),
    "merge_format",
)
SECONDS: dict[str, Any] = dict(unit="s")  # differences of clocks: a hair below 0 is no lie
PERCENT: dict[str, Any] = dict(least=0, most=100, unit="%", default=None)
EPOCH: dict[str, Any] = dict(least=1, most=MOST_ROUNDS)
ROUND: dict[str, Any] = dict(least=0, most=MOST_ROUNDS)


@dataclass(frozen=True)
class Spread:
    min: float = entry("shortest of any rank", **SECONDS)
    mean: float = entry("mean over the ranks", **SECONDS)
    max: float = entry("longest of any rank", **SECONDS)


@dataclass(frozen=True)
class Phases:
    think: Spread = entry("forward pass")
    train: Spread = entry("backward pass and update")
    merge: Spread = entry("merging")
    wait: Spread = entry("waiting for other ranks")


@dataclass(frozen=True)
class Part:
    """Of an epoch under way (parallel.phases)."""

    train_seconds: float = entry("time of its rounds so far", **SECONDS)
    phases: Phases = entry("where it went")
    learn: Spread | None = entry("thinking and training together", default=None)
    clipped: int = entry("worker batches whose steps were cut", least=0, default=0)


@dataclass(frozen=True)
class Epoch:
    """A row of the result's `epochs`."""

    epoch: int = entry("its number", **EPOCH)
    train_accuracy: float | None = entry("on the training set", **PERCENT)
    test_accuracy: float | None = entry("on the test set", **PERCENT)
    loss: float | None = entry("mean of its exemplars as they were learned", least=0, most=MOST, default=None)
    classes_named: int | None = entry("classes that any training exemplar is given", least=1, most=2**24, default=None)
    saturated_percent: float | None = entry("units that are saturated", **PERCENT)
    train_seconds: float = entry("time of its rounds", default=0.0, **SECONDS)
    phases: Phases | None = entry("where it went", default=None)
    learn: Spread | None = entry("thinking and training together", default=None)
    clipped: int = entry("worker batches whose steps were cut", least=0, default=0)
    evaluate_seconds: float = entry("time of its evaluation", default=0.0, **SECONDS)
    weights_sha256: str = entry("of the weights after it", pattern="[0-9a-f]{64}", default="")


@dataclass(frozen=True)
class Divergence:
    """An entry of the result's `divergences`."""

    epoch: int = entry("where weights ran away", **EPOCH)
    round: int = entry("where weights ran away", **ROUND)
    seen: str = entry("what was seen")
    back_to_epoch: int = entry("with which the run went on", **EPOCH)
    block_momentum: float = entry("from there on", least=0, below=1)


@dataclass(frozen=True)
class Failure:
    """An entry of the result's `failures`."""

    when: str = entry("date and time")
    cause: str = entry("what failed")
    epoch: int = entry("where the run was", **EPOCH)
    round: int = entry("where the run was", **ROUND)
    seconds_lost: float = entry("what was done again", **SECONDS)
    rank: int | None = entry("of the start", least=0, most=2**31 - 1, default=None)
    host: str | None = entry("of the rank", default=None)


@dataclass(frozen=True)
class History:
    """What a state remembers beside weights."""

    epochs: tuple[Epoch, ...] = entry("the result's", items=0)
    divergences: tuple[Divergence, ...] = entry("the result's", items=0)
    failures: tuple[Failure, ...] = entry("the result's", items=0)
    seconds: float = entry("wall time of the run", **SECONDS)
    partial: Part | None = entry("of the epoch under way", default=None)
    loss: int | None = entry("of its exemplars so far", least=0, most=2**63 - 1, default=None)


@dataclass(frozen=True)
class Header:
    """All of a snapshot but its vectors."""

    schema_version: int = entry("of this format", least=2, most=SCHEMA_VERSION)
    id: str = entry("of the state", pattern="[0-9a-f]{12}")
    settings: dict[str, Any] = entry("those on which weights depend")
    data: str = entry("fingerprint of the training set", pattern="[0-9a-f]*")
    kernel_id: str = entry("of the kernel", pattern=r"[\w.+-]*")
    epoch: int = entry("to go on with", **EPOCH)
    round: int = entry("rounds of it already done", **ROUND)
    moments: tuple[str, ...] = entry("vectors that the rule of merging remembers", items=0)
    good: bool = entry("whether the last good weights are there")
    good_epoch: int = entry("to go on with from there", **EPOCH)
    history: History = entry("what the run has come to")
    job: str = entry("that wrote it", pattern="[0-9a-f]*", default="")
    numerics: int | None = entry("of the bits", least=1, default=None)
    exponent: int = entry("of the last round's steps", least=FIRST_EXPONENT, most=LAST_EXPONENT, default=FIRST)
    loss: int = entry("of the last round's exemplars", least=0, most=2**63 - 1, default=0)


def checked(content: Any) -> tuple[Header, dict[str, Any]]:
    """Return the header that a JSON value is, and its settings in their own types. Raises UsageError."""
    if not isinstance(content, dict):
        raise UsageError("no header")
    schema = content.get("schema_version")
    if type(schema) is int and schema > SCHEMA_VERSION:
        raise UsageError(f"written by a newer mpinn (schema {schema}); update mpinn")
    if type(schema) is int and schema < 2:
        raise UsageError(f"written by an older mpinn (schema {schema}); start anew")
    try:
        header = read(Header, as_now(content))
        settings = settings_of(header)
        check_numbers(header)
    except UsageError as error:
        raise UsageError(f"damaged snapshot: {error}; take an earlier one") from None
    held, rule = list(header.moments), config.rule_of(settings["merge"], settings["optimizer"])
    if held != list(RULES[rule].moments):
        raise UsageError(f"holds {held}, but {rule} remembers {list(RULES[rule].moments)}; start anew")
    return header, settings


def as_now(content: dict[str, Any]) -> dict[str, Any]:
    """Return a header of an earlier schema as one of today."""
    schema = content.get("schema_version")
    if schema in (2, 3, 4, 5) and isinstance(content.get("settings"), dict):
        then: dict[str, Any] = {
            "schedule": "constant",
            "warm_up": 0,
            "worker_momentum": 0.0,
            "dropout": 0.0,
            "initial": "uniform",
        }
        then |= {} if content["settings"].get("layer_normalisation") else {"input_divisor": 1}
        then |= {} if schema == 5 else {"overlap": False}
        then |= {} if schema in (4, 5) else {"merge_format": "float64"}
        content = content | {"settings": then | content["settings"]}
    if schema != 2:
        return content
    velocity = content.get("velocity")
    header = {key: value for key, value in content.items() if key != "velocity"}
    return header | {"moments": ["velocity"] if velocity is True else [], "good": velocity}


def settings_of(header: Header) -> dict[str, Any]:
    """Return the settings on which weights depend, none of them left open. Raises UsageError."""
    found = {name: config.check(name, header.settings.get(name), f"settings.{name}") for name in config.WEIGHTS}
    for name in RESOLVED:
        if found[name] in (None, "auto", "all"):
            raise UsageError(f"settings.{name}: missing")
    layers = found["layers"]
    config.check_network(layers, found["activations"], found["loss"], layers[0], layers[-1])
    return found


def check_numbers(header: Header) -> None:
    """Raise UsageError where the epochs of a header contradict each other."""
    rows, done = [row.epoch for row in header.history.epochs], header.epoch - 1
    if rows != list(range(done - min(done, MOST_EPOCHS) + 1, done + 1)):
        raise UsageError(f"history.epochs: expected a row for each of the {done:,} epochs that are done")
    if header.good_epoch > header.epoch + 1:
        raise UsageError(f"good_epoch: expected at most {header.epoch + 1}, got {header.good_epoch}")
