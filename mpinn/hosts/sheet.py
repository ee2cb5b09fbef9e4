"""Profiles for people: plain, aligned text."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from mpinn.hosts.profile import Cluster, Profile, Published
from mpinn.system.terminal import Table, aligned
from mpinn.system.words import counted

WIDTH = 110  # columns
METRICS = {"epoch_seconds": "one epoch", "speedup": "speedup", "accuracy": "accuracy"}


def listing(profiles: Iterable[Profile]) -> Table:
    """Return a table of profiles, a row each."""
    rows = []
    for profile in profiles:
        machine, mpi = profile.machine, profile.mpi
        numbers = (machine.cores, machine.threads, mpi.slots, mpi.max_ranks)
        rows.append((profile.name, machine.architecture, *map(str, numbers), profile.title))
    return Table("", ("NAME", "ARCHITECTURE", "CORES", "THREADS", "SLOTS", "MAX RANKS", "TITLE"), rows)


def sheet(profile: Profile) -> str:
    """Return a profile as a sheet to read: the machine, how MPI runs on it, and published results."""
    parts = [profile.title, facts(machine_facts(profile)), facts(mpi_facts(profile))]
    if profile.published:
        parts.append("Published\n" + aligned([published_row(result) for result in profile.published]))
        parts.append(facts([("Source", source) for source in dict.fromkeys(r.source for r in profile.published)]))
    return "\n\n".join(parts)


def machine_facts(profile: Profile) -> list[tuple[str, str]]:
    machine = profile.machine
    memory = [amount(machine.memory_mib, "MiB"), f"({machine.memory})" if machine.memory else ""]
    return [
        ("Profile", profile.name),
        ("Source", profile.source),
        ("Architecture", f"{machine.architecture}, {machine.bits} bit"),
        ("Processor", machine.processor or ""),
        ("Model", machine.model or ""),
        ("System", machine.os or ""),
        *(("Cluster", describe(cluster)) for cluster in machine.clusters),
        ("BogoMIPS", amount(machine.bogomips)),
        *((f"{cache.name} cache", f"{cache.count} x {cache.kib} KiB") for cache in machine.caches),
        ("Memory", " ".join(memory).strip()),
        ("Network", amount(machine.network_mbit, "Mbit/s")),
        ("Offline CPUs", machine.offline or ""),
        ("Allowed CPUs", machine.allowed or ""),
        ("CPU quota", amount(machine.cpu_quota, "seconds a second")),
        ("Throttles from", amount(profile.limits.temperature_c, "degrees Celsius")),
    ]


def mpi_facts(profile: Profile) -> list[tuple[str, str]]:
    mpi = profile.mpi
    shared = f"{'allowed' if mpi.oversubscribe.allowed else 'not allowed'}; threads are shared from"
    return [
        ("Slots", f"{mpi.slots}, at most {mpi.max_ranks} ranks"),
        ("Oversubscription", f"{shared} {mpi.oversubscribe.from_ranks} ranks on"),
        ("Waiting ranks", mpi.wait_policy),
        ("Binding", f"to {mpi.bind_to}, mapped by {mpi.map_by}"),
        ("Ranks to benchmark", " ".join(map(str, profile.ranks))),
    ]


def describe(cluster: Cluster) -> str:
    """Return a cluster in one line."""
    parts = [f"{cluster.cores} x {cluster.name}"]
    if cluster.threads > cluster.cores:
        parts.append(f"{cluster.threads} threads")
    if cluster.cpus:
        parts.append(f"CPUs {cluster.cpus}")
    if cluster.max_mhz:
        parts.append(
            f"{cluster.min_mhz} to {cluster.max_mhz} MHz" if cluster.min_mhz else f"up to {cluster.max_mhz} MHz"
        )
    if cluster.base_mhz:
        parts.append(f"{cluster.base_mhz} MHz under load")
    if cluster.capacity:
        parts.append(f"capacity {cluster.capacity}")
    return ", ".join(parts)


def published_row(result: Published) -> tuple[str, ...]:
    """Return the cells of a published result: metric, workers, epochs, values, note."""
    values = f"{amount(result.value)} {result.unit}"
    if result.median is not None:
        values = f"{amount(result.median)} {result.unit} ({amount(result.min)} to {amount(result.max)})"
    notes = [f"on the {result.set} set" if result.set else "", result.note or ""]
    if result.seconds:
        notes.append(f"in {amount(result.seconds)} s")
    return (
        METRICS[result.metric],
        counted(result.workers, "worker") if result.workers else "",
        counted(result.epochs, "epoch") if result.epochs else "",
        values,
        "; ".join(filter(None, notes)),
    )


def amount(value: Any, unit: str = "") -> str:
    """Return a number with its unit, or an empty string if it is unknown."""
    return "" if value is None else f"{value:.10g} {unit}".strip()


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return labels and what they say, the long ones wrapped; a label that has nothing to say is left out."""
    indent = 2 + max(len(label) for label, _ in rows)
    lines = []
    for label, said in rows:
        if said:
            first, *rest = textwrap.wrap(said, WIDTH - indent, break_on_hyphens=False)
            lines += [label.ljust(indent) + first, *(" " * indent + line for line in rest)]
    return "\n".join(lines)
