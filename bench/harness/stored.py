"""What the files of a result directory may say: they may come from other machines, and from other people."""

# ruff: noqa: RUF009 (entry returns a dataclasses.field)

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness.suite import NAME, PROGRAM, Suite, parse
from mpinn.hosts import profile
from mpinn.system import untrusted
from mpinn.system.errors import UsageError
from mpinn.system.schema import CHARACTERS, entry, plain, read, read_fields

VERDICTS = ("VALID", "DEGRADED", "INVALID")
SIMPLE = (str, int, float, type(None))  # bool is an int
COUNT = dict[str, Any](least=0, most=2**31 - 1)
WORD = r"[\w.-]*"
TEXT = rf"{CHARACTERS}*"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A host of a run."""

    OPEN = True
    host: str = entry("its name", pattern=TEXT)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What a result says of where it was measured, as far as bench looks at it."""

    OPEN = True
    kernel_id: str = entry("of the kernel", pattern=r"[\w.+-]*", default="")
    numerics: int | None = entry("of the bits", least=1, default=None)
    wait_policy: str = entry("how ranks wait", pattern=WORD, default="")
    same_kernel_everywhere: bool = entry("whether all ranks have one kernel", default=True)
    ranks: int = entry("ranks that learn", least=1, default=1)
    oversubscribed: bool = entry("whether ranks share cores", default=True)
    nodes: tuple[Node, ...] = entry("hosts", items=0, default=())


@dataclass(frozen=True, kw_only=True)
class HostConditions:
    """What a host did meanwhile (`conditions.between`), as far as a report looks at it."""

    OPEN = True
    host: str = entry("its name", pattern=TEXT)
    clock_mhz: float | None = entry("mean clock", default=None)
    temperature_c: float | None = entry("highest temperature", default=None)
    busy_with_others: float | None = entry("CPUs", default=None)
    steal_percent: float | None = entry("of the time", default=None)
    load_before: float | None = entry("load average", default=None)
    load_after: float | None = entry("load average", default=None)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A record (docs/bench.md)."""

    schema_version: int = entry("of records", least=1, most=1)
    suite: str = entry("suite", pattern=TEXT)
    experiment: str = entry("experiment", pattern=NAME)
    point: str = entry("point")
    repeat: int = entry("from 0", **COUNT)
    program: str = entry("what was run", pattern=PROGRAM)
    ranks: int = entry("ranks", least=1, most=2**20)
    workers: int | None = entry("workers", least=1, default=None)
    seed: int = entry("seed", least=0, default=0)
    options: dict[str, Any] = entry("settings of the point")
    length: int | None = entry("of the run, as the option that makes it longer says", least=1, default=None)
    wait_policy: str | None = entry("how ranks wait", pattern=WORD, default=None)
    verdict: str = entry("what to think of it", choices=VERDICTS)
    reasons: tuple[str, ...] = entry("of the verdict", items=0, pattern=TEXT)
    official: bool = entry("whether it was measured long enough")
    metrics: dict[str, float | None] = entry("by name")
    units: dict[str, str] = entry("by the names of metrics", pattern=TEXT)
    series: dict[str, tuple[float | None, ...]] = entry("values after each epoch", items=0)
    seconds: float = entry("measured work", unit="s")
    hosts: tuple[HostConditions, ...] = entry("what hosts did meanwhile", items=0)
    environment: Environment = entry("where it was measured")
    started: str = entry("date and time", pattern=TEXT)
    wall_seconds: float = entry("of the run", unit="s")
    command: str = entry("what was run", pattern=TEXT)
    result: str | None = entry("file that it left", pattern=TEXT, default=None)
    chain: str | None = entry("of this record and those before", pattern="[0-9a-f]{32}", default=None)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One `bench run` that added to a result directory."""

    OPEN = True
    started: str = entry("date and time", pattern=TEXT)
    host: str = entry("host", pattern=TEXT)
    processor: str = entry("processor", pattern=TEXT)
    architecture: str = entry("architecture", pattern=TEXT)
    system: str = entry("operating system", pattern=TEXT)
    mpinn: str = entry("version", pattern=TEXT)
    python: str = entry("version", pattern=TEXT)
    mpi: str = entry("library and version", pattern=TEXT)
    unfit: tuple[str, ...] = entry("what would disturb", items=0, pattern=TEXT)
    memory_mib: int | None = entry("memory", unit="MiB", default=None)
    commit: str | None = entry("of mpinn", pattern=TEXT, default=None)


@dataclass(frozen=True, kw_only=True)
class Sessions:
    sessions: tuple[Session, ...] = entry("of a run", items=0)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    points: dict[str, str] = entry("why a point could not be run", pattern=TEXT)


def record(content: Any) -> dict[str, Any]:
    """Return a record as it was written, what bench does not know left out. Raises UsageError."""
    found: dict[str, Any] = plain(read(Entry, content))
    for name, value in found["options"].items():
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, SIMPLE) for item in items):
            raise UsageError(f"options.{name}: expected a number, a text, true or false, or a list of them")
    if not found["metrics"].keys() <= found["units"].keys():
        raise UsageError("units: expected one for each of the metrics")
    return found


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a plan has beside suite and profile, and reports look at."""

    OPEN = True
    watts: float | None = entry("of the machine, as stated", least=0, most=1e9, unit="W", default=None)


def plan(content: Any) -> dict[str, Any]:
    """Return suite, profile and stated watts of a plan, with names that may name files. Raises UsageError."""
    if not isinstance(content, dict) or not isinstance(content.get("suite"), dict):
        raise UsageError("suite: expected a mapping ('key: value' lines)")
    about = dict(content["suite"])
    name, experiments = about.pop("name", ""), about.get("experiments")
    for experiment in experiments.values() if isinstance(experiments, dict) else ():
        for figure in listed(experiment, "figures"):
            if isinstance(figure, dict) and isinstance(figure.get("by"), str):
                figure["by"] = [figure["by"]]  # in older results it is one text
    read_fields(Suite, {"name": name}, "suite", complete=False)
    try:
        described = plain(parse(name, about))
    except UsageError as error:
        raise UsageError(f"suite.{error}") from None
    try:
        machine = plain(profile.parse(content.get("profile")))
    except UsageError as error:
        raise UsageError(f"profile.{error}") from None
    return {"suite": described, "profile": machine, "watts": read(Stated, content).watts}


def listed(content: Any, key: str) -> list[Any]:
    """Return the list at a key of what may be a mapping, or none."""
    found = content.get(key) if isinstance(content, dict) else None
    return found if isinstance(found, list) else []


def sessions(content: Any) -> list[dict[str, Any]]:
    """Return the sessions of a run. Raises UsageError."""
    found: list[dict[str, Any]] = plain(read(Sessions, {"sessions": content}))["sessions"]
    return found


def left_out(content: Any) -> dict[str, str]:
    """Return why points were left out. Raises UsageError."""
    return read(LeftOut, {"points": content}).points


READERS = {"plan": plan, "environment": sessions, "left_out": left_out}


def load(directory: Path, name: str) -> Any:
    """Return what is in one of the JSON files of a result directory, empty where it has none. Raises UsageError."""
    path = directory / f"{name}.json"
    if not path.exists() and not path.is_symlink():
        return [] if name == "environment" else {}
    content = untrusted.json_file(path)
    try:
        return READERS[name](content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}; restore the file, or measure with another --out") from None
