"""The result that a run leaves for bench: complete, or none."""

# ruff: noqa: RUF009 (entry returns a dataclasses.field)

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness.stored import TEXT, Environment
from mpinn.system import untrusted
from mpinn.system.errors import UsageError
from mpinn.system.schema import entry, plain, read

PERCENT = dict[str, Any](least=0, most=100, unit="%", default=None)
SECONDS = dict[str, Any](unit="s")


@dataclass(frozen=True, kw_only=True)
class Mean:
    OPEN = True
    mean: float = entry("over ranks", **SECONDS)


@dataclass(frozen=True, kw_only=True)
class Phases:
    think: Mean = entry("forward pass")
    train: Mean = entry("backward pass and update")
    merge: Mean = entry("merging")
    wait: Mean = entry("waiting for other ranks")


@dataclass(frozen=True, kw_only=True)
class Learn(Mean):
    max: float = entry("longest of any rank", **SECONDS)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    OPEN = True
    epoch: int = entry("its number", least=1)
    train_accuracy: float | None = entry("on the training set", **PERCENT)
    test_accuracy: float | None = entry("on the test set", **PERCENT)
    train_seconds: float = entry("of its rounds", least=0, **SECONDS)
    evaluate_seconds: float = entry("of its evaluation", **SECONDS)
    phases: Phases = entry("where the time went")
    learn: Learn | None = entry("thinking and training together", default=None)
    weights_sha256: str = entry("of the weights after it", pattern="[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Data:
    OPEN = True
    train: int = entry("exemplars of the training set", least=1)


@dataclass(frozen=True, kw_only=True)
class Memory:
    OPEN = True
    pss_mib_mean: float | None = entry("of a rank", unit="MiB", default=None)


@dataclass(frozen=True, kw_only=True)
class Training:
    """What `mpinn.train` leaves, as far as bench looks at it (docs/result.md)."""

    OPEN = True
    status: str = entry("how it ended", pattern=TEXT)
    config: dict[str, Any] = entry("settings")
    environment: Environment = entry("where it ran")
    data: Data = entry("what it learned")
    epochs: tuple[Epoch, ...] = entry("epochs")
    rounds_per_epoch: int = entry("rounds", least=1)
    start: dict[str, float] = entry("seconds of the parts of the start")
    total_seconds: float = entry("wall time", **SECONDS)
    memory: Memory | None = entry("of the ranks", default=None)


@dataclass(frozen=True, kw_only=True)
class Check:
    name: str = entry("what was checked", pattern=TEXT)
    passed: bool = entry("whether it was right")
    detail: str = entry("what was found", pattern=TEXT)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a program of bench leaves (`program.write`)."""

    metrics: dict[str, float | None] = entry("by name")
    units: dict[str, str] = entry("by the names of metrics", pattern=TEXT)
    series: dict[str, tuple[float | None, ...]] = entry("further values", items=0)
    checks: tuple[Check, ...] = entry("tests of what was measured", items=0)
    environment: Environment = entry("where it ran")
    seconds: float = entry("timed work", **SECONDS)


@dataclass(frozen=True, kw_only=True)
class Oracle(Training):
    """The serial oracle's result, as bench keeps it."""

    kernel_error: float = entry("how far its kernel is from the reference", least=0)


def load(path: Path, kind: type = Training) -> dict[str, Any]:
    """Return a result as it was written, {} where there is none or it says something else than its kind.

    Open MPI may end with status 0 when it has lost a host: what is not complete is no result.
    """
    try:
        found = untrusted.json_file(path)
        checked = plain(read(kind, found))
    except UsageError:
        return {}
    whole: dict[str, Any] = {**found, **checked, "environment": found["environment"]}
    return whole if whole.get("status") != "running" else {}
