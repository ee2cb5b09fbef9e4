"""A host profile: its fields, and how it is read from YAML and written to it.

The dataclasses below are the one description of a profile: validation, the JSON Schema and the documentation
of fields are made from them.
"""

# ruff: noqa: RUF009 (entry returns a dataclasses.field)

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mpinn.system import yaml_files
from mpinn.system.errors import UsageError
from mpinn.system.schema import entry, json_schema, read

NAME = r"[a-z0-9][a-z0-9-]*"
CPU_LIST = r"\d+(-\d+)?(,\d+(-\d+)?)*"


@dataclass(frozen=True)
class Cluster:
    """Cores that are alike and share one clock."""

    name: str = entry("microarchitecture or model of its cores")
    cores: int = entry("physical cores", least=1, most=65536)
    threads: int = entry("hardware threads of all its cores", least=1, most=65536)
    cpus: str | None = entry("numbers that Linux gives its threads, such as 0-3", pattern=CPU_LIST, default=None)
    min_mhz: int | None = entry("lowest clock", unit="MHz", least=1, most=20000, default=None)
    base_mhz: int | None = entry(
        "clock expected under full load; slower means throttled", unit="MHz", least=1, most=20000, default=None
    )
    max_mhz: int | None = entry("highest clock", unit="MHz", least=1, most=20000, default=None)
    capacity: int | None = entry(
        "speed of a core that Linux schedules by; the fastest core has 1024", least=1, most=1024, default=None
    )


@dataclass(frozen=True)
class Cache:
    """Caches of one kind and size."""

    name: str = entry("level and kind", choices=("L1d", "L1i", "L1", "L2", "L3", "L4"))
    kib: int = entry("size of one", unit="KiB", least=1, most=2**22)
    count: int = entry("how many there are", least=1, most=65536)


@dataclass(frozen=True)
class Machine:
    """What the machine is."""

    architecture: str = entry("what uname -m says", choices=("x86_64", "armv7l", "aarch64"))
    bits: int = entry("width of an address in the programs it runs", choices=(32, 64))
    clusters: tuple[Cluster, ...] = entry("cores by kind and clock")
    processor: str | None = entry("processor or system on a chip", default=None)
    model: str | None = entry("name that the firmware gives the machine", default=None)
    os: str | None = entry("operating system", default=None)
    bogomips: float | None = entry("BogoMIPS of one core", least=0, default=None)
    caches: tuple[Cache, ...] = entry("caches, by kind and size", default=())
    memory_mib: int | None = entry("main memory", unit="MiB", least=1, most=2**30, default=None)
    memory: str | None = entry("kind of main memory", default=None)
    network_mbit: int | None = entry("fastest wired network", unit="Mbit/s", least=1, most=10**7, default=None)
    offline: str | None = entry("CPUs that are switched off", pattern=CPU_LIST, default=None)
    allowed: str | None = entry("CPUs that this process may use, if not all", pattern=CPU_LIST, default=None)
    cpu_quota: float | None = entry(
        "CPU time that the container may use", unit="seconds a second", least=0.001, most=65536, default=None
    )

    @property
    def cores(self) -> int:
        """Physical cores of all clusters."""
        return sum(cluster.cores for cluster in self.clusters)

    @property
    def threads(self) -> int:
        """Hardware threads of all clusters."""
        return sum(cluster.threads for cluster in self.clusters)


@dataclass(frozen=True)
class Oversubscribe:
    """Whether ranks may share hardware threads."""

    allowed: bool = entry("whether more ranks than slots may run")
    from_ranks: int = entry("smallest number of ranks that share hardware threads", least=2, most=2**20)


@dataclass(frozen=True)
class Mpi:
    """How MPI should be run on the machine."""

    slots: int = entry("ranks placed on it before the next host is filled", least=1, most=65536)
    max_ranks: int = entry("largest number of ranks worth running", least=1, most=2**20)
    oversubscribe: Oversubscribe = entry("more ranks than slots")
    wait_policy: str = entry("what a rank does that waits", choices=("yield", "spin"))
    bind_to: str = entry("what a rank is bound to", choices=("none", "core", "hwthread"))
    map_by: str = entry("order in which ranks are placed", choices=("slot", "core", "hwthread", "node"))


@dataclass(frozen=True)
class Limits:
    """What a valid measurement must keep to."""

    temperature_c: float | None = entry(
        "temperature from which the clock is lowered", unit="degrees Celsius", least=0, most=150, default=None
    )


@dataclass(frozen=True)
class Published:
    """A result that was published: one value, or the minimum, median and maximum of several."""

    metric: str = entry("what was measured", choices=("epoch_seconds", "speedup", "accuracy"))
    unit: str = entry("of the values; a speedup of 252 % is 2.52 times one worker's speed", choices=("s", "%"))
    source: str = entry("where it was published")
    workers: int | None = entry("workers", least=1, most=2**20, default=None)
    epochs: int | None = entry("epochs trained", least=1, default=None)
    set: str | None = entry("set that the accuracy is of", choices=("train", "test"), default=None)
    value: float | None = entry("the value", least=0, default=None)
    min: float | None = entry("minimum", least=0, default=None)
    median: float | None = entry("median", least=0, default=None)
    max: float | None = entry("maximum", least=0, default=None)
    seconds: float | None = entry("time that the epochs took", unit="s", least=0, default=None)
    note: str | None = entry("what else the source says of it", default=None)

    @property
    def middle(self) -> float | None:
        """The median of several values, or the one."""
        return self.value if self.median is None else self.median


@dataclass(frozen=True)
class Profile:
    """One machine, as one YAML file says it."""

    name: str = entry("name that commands take: lower case, digits, hyphens", pattern=NAME)
    title: str = entry("name for people")
    source: str = entry("where the data come from")
    machine: Machine = entry("what the machine is")
    mpi: Mpi = entry("how MPI should be run on it")
    ranks: tuple[int, ...] = entry("numbers of ranks to benchmark, ascending", least=1, most=2**20)
    limits: Limits = entry("what a valid measurement must keep to", default=Limits())
    published: tuple[Published, ...] = entry("published results", default=())

    @property
    def published_epochs(self) -> dict[int, float]:
        """Published seconds of an epoch, by workers."""
        told = [one for one in self.published if one.metric == "epoch_seconds"]
        return {one.workers: one.middle for one in told if one.workers and one.middle}


def load(path: Path) -> Profile:
    """Return the profile in a YAML file. Raises UsageError, one line with file, key and what was expected."""
    content = yaml_files.read(path)
    try:
        return parse(content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def parse(content: Any) -> Profile:
    """Return the profile that a mapping says. Raises UsageError naming the key and what was expected."""
    profile = read(Profile, content)
    for problem in contradictions(profile):
        raise UsageError(problem)
    return profile


def contradictions(profile: Profile) -> list[str]:
    """Return what the fields of a profile say against each other, each beginning with its dotted key."""
    machine, mpi, found = profile.machine, profile.mpi, []
    if machine.architecture == "armv7l" and machine.bits != 32:
        found.append("machine.bits: expected 32 on armv7l, got 64")
    for index, cluster in enumerate(machine.clusters):
        key = f"machine.clusters[{index}]"
        if cluster.threads < cluster.cores:
            found.append(f"{key}.threads: expected at least its {cluster.cores} cores, got {cluster.threads}")
        if not ascending(cluster.min_mhz, cluster.base_mhz, cluster.max_mhz):
            found.append(f"{key}.max_mhz: expected min_mhz <= base_mhz <= max_mhz")
    if mpi.max_ranks < mpi.slots:
        found.append(f"mpi.max_ranks: expected at least mpi.slots ({mpi.slots}), got {mpi.max_ranks}")
    if mpi.max_ranks > mpi.slots and not mpi.oversubscribe.allowed:
        found.append(f"mpi.max_ranks: expected mpi.slots ({mpi.slots}), as mpi.oversubscribe.allowed is false")
    if mpi.oversubscribe.from_ranks <= mpi.slots:
        found.append(f"mpi.oversubscribe.from_ranks: expected more than mpi.slots ({mpi.slots})")
    if list(profile.ranks) != sorted(set(profile.ranks)):
        found.append(f"ranks: expected ascending numbers, got {list(profile.ranks)}")
    if profile.ranks[-1] > mpi.max_ranks:
        found.append(f"ranks: expected at most mpi.max_ranks ({mpi.max_ranks}), got {profile.ranks[-1]}")
    for index, result in enumerate(profile.published):
        values = (result.value, result.min, result.median, result.max)
        if all(value is None for value in values):
            found.append(f"published[{index}].value: missing; expected value, or min, median and max")
        if not ascending(result.min, result.median, result.max):
            found.append(f"published[{index}].median: expected min <= median <= max")
    return found


def ascending(*values: float | None) -> bool:
    """Return whether the values that are known do not descend."""
    known = [value for value in values if value is not None]
    return known == sorted(known)


def dump(profile: Profile) -> str:
    """Return a profile as YAML that `load` reads back; what is unknown is left out."""
    return yaml.safe_dump(
        known(dataclasses.asdict(profile)), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )


def known(value: Any) -> Any:
    """Return plain data without what is None or empty, tuples as lists."""
    if isinstance(value, dict):
        kept = {key: known(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], {})}
    return [known(item) for item in value] if isinstance(value, list | tuple) else value


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a profile, for editors."""
    header = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mpinn host profile"}
    return header | json_schema(Profile)
