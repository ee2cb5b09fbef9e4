"""What a machine is good for, as `bench calibrate` measures it and keeps it in a JSON file."""

# ruff: noqa: RUF009 (entry returns a dataclasses.field)

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness.stored import TEXT, WORD
from mpinn.system import untrusted
from mpinn.system.errors import UsageError
from mpinn.system.schema import entry, read

SCHEMA_VERSION = 1
FILE = "calibration.json"
SIZES = (1, 2**10, 2**13, 2**16, 2**19, 2**22)  # bytes of messages between two ranks
MICROSECONDS: dict[str, Any] = dict(least=0, most=1e12, unit="us")
TIMES: dict[str, Any] = dict(least=1, most=1000, default=2.0)  # 2: they take turns, and nothing else


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The times of which a round is made on so many ranks of one host, each with a core of its own."""

    layers: tuple[int, ...] = entry("units of each layer", least=1, most=2**24, items=2)
    ranks: int = entry("ranks", least=1, most=65536)
    exemplar: float = entry("to learn one exemplar", above=0, most=1e12, unit="us")
    worker: float = entry(
        "more for each worker of a rank: it begins, and its term is made and added up", **MICROSECONDS
    )
    round: float = entry("more for each round: ranks meet, and the master moves", **MICROSECONDS)
    pulse: float | None = entry(
        "of an exemplar by the kernel alone, on as many cores at once, the slowest",
        above=0,
        most=1e12,
        unit="us",
        default=None,
    )
    worst_fit_percent: float = entry("by which a measured round differs from what these say", least=0, unit="%")


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message from one rank to another."""

    bytes: int = entry("its size", least=1, most=2**40)
    time: float = entry("one way: half of there and back", **MICROSECONDS)


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network between hosts, as it was measured (LogGP: latency, overhead, gap a byte)."""

    latency: float = entry("of a message of one byte", **MICROSECONDS)
    link_mbits: float = entry("of every host at once, both ways", above=0, most=1e9, unit="Mbit/s")
    allreduce: float = entry("of an Allreduce of two hosts, however short", **MICROSECONDS)
    allreduce_byte: float = entry("more for each byte", **MICROSECONDS)
    worker: float | None = entry("more for each worker of a rank, one rank a host", **MICROSECONDS, default=None)
    round: float = entry("a round of one rank a host, as above", **MICROSECONDS)
    messages: tuple[Message, ...] = entry("between two hosts, by size", items=0, default=())


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One kind of host."""

    schema_version: int = entry("of this file", least=1, most=SCHEMA_VERSION)
    title: str = entry("name for people", pattern=TEXT)
    processor: str = entry("processor", pattern=TEXT)
    cores: int = entry("physical cores", least=1, most=65536)
    measured: str = entry("date and time", pattern=TEXT)
    commit: str | None = entry("of mpinn", pattern=TEXT, default=None)
    kernel_id: str = entry("of the kernel", pattern=r"[\w.+-]*")
    mpi: str = entry("library and version", pattern=TEXT)
    wait_policy: str = entry("how ranks waited", pattern=WORD)
    speeds: tuple[Speed, ...] = entry("by network and ranks; the first is the paper's network on one rank")
    overlap_worker: float = entry(
        "of a worker with --overlap, on one rank: it goes on from where it is", **MICROSECONDS
    )
    overlap_round: float = entry("of a round with --overlap, on one rank", **MICROSECONDS)
    core_shared: float = entry("a round takes longer for each further rank on a core", **MICROSECONDS)
    shared_exemplar: float = entry("times as long an exemplar takes two ranks that share a core", **TIMES)
    shared_worker: float = entry("times as long a worker takes two ranks that share a core", **TIMES)
    variation: tuple[float, ...] = entry("quantiles of the rounds' times, as shares of their mean", least=0, items=2)
    start_seconds: dict[str, float] = entry("from mpirun to its end, without work, by ranks", least=0, unit="s")
    pulse: float | None = entry(
        "of an exemplar by the kernel alone, when it was measured", above=0, most=1e12, unit="us", default=None
    )
    core_pulses: tuple[float, ...] = entry(
        "of an exemplar by the kernel alone, on each core", above=0, most=1e12, unit="us", items=0, default=()
    )
    messages: tuple[Message, ...] = entry("between two ranks of a host, by size", items=0, default=())
    network: Network | None = entry("between hosts", default=None)


def beside(directory: Path) -> Path | None:
    """Return the calibration that lies in a result directory, or in the one above it, if there is one."""
    places = [directory / FILE, directory.resolve().parent / FILE]
    return next((path for path in places if path.exists()), None)


def load(path: Path) -> Machine:
    """Return the machine in a file. Raises UsageError that names file and key."""
    content = untrusted.json_file(path)
    try:
        return parse(content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}; python -m bench calibrate writes such a file") from None


def parse(content: Any) -> Machine:
    """Return the machine that a calibration tells, whoever wrote it. Raises UsageError that names the key."""
    machine = read(Machine, content)
    if machine.speeds[0].ranks != 1:
        raise UsageError("speeds[0].ranks: expected 1")
    return machine


def slowed(machine: Machine, exemplar: float, title: str) -> Machine:
    """Return a machine that takes so many microseconds for an exemplar, and as many times as long for all it does."""
    factor = exemplar / machine.speeds[0].exemplar
    speeds = tuple(
        dataclasses.replace(one, exemplar=factor * one.exemplar, worker=factor * one.worker, round=factor * one.round)
        for one in machine.speeds
    )
    others = {name: factor * getattr(machine, name) for name in ("overlap_worker", "overlap_round", "core_shared")}
    network = machine.network
    if network:  # what its links take stays
        worker = None if network.worker is None else factor * network.worker
        round_ = network.round + speeds[0].round - machine.speeds[0].round
        network = dataclasses.replace(network, worker=worker, round=round_)
    return dataclasses.replace(machine, title=title, speeds=speeds, network=network, **others)
