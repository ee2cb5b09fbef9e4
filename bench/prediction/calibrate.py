"""`bench calibrate`: measure once what a machine is good for, and between hosts their network."""

import argparse
import dataclasses
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from bench.harness import measure, result_file
from bench.harness.progress import Progress
from bench.harness.result_file import Measured
from bench.prediction import model
from bench.prediction.machine import FILE, SCHEMA_VERSION, SIZES, Machine, Message, Network, Speed
from bench.prediction.model import PAPERS, doublings
from bench.prediction.pulse import of_each_core
from mpinn.hosts import hostfile
from mpinn.hosts.launcher import VENDORS, Launcher, command_line, find_launcher
from mpinn.hosts.library import DETECTED, find
from mpinn.hosts.profile import Mpi, Profile
from mpinn.parallel import mpi_library
from mpinn.system import files
from mpinn.system.errors import MpinnError, UsageError
from mpinn.training import environment

LAYERS = ((784, 30, 10), (784, 300, 10), (784, 300, 100, 10))  # beside the paper's: on one rank
TURNS = 7  # of every kind of round
EXPECTED = 8.0  # seconds of a run
PATIENCE = 900.0


def place() -> Path:
    """Return where this host's calibration is kept, if not elsewhere."""
    return Path("results") / platform.node() / FILE


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="measure what this machine is good for, for predict",
        description="Time rounds of training on one rank up to one a core, with small and large networks, and with two "
        "ranks on each core; with a hostfile the network between hosts, too. A minute or two on an idle machine.",
    )
    parser.add_argument("--host", default=DETECTED, metavar="NAME", help="host profile (default: this machine's)")
    parser.add_argument("--hostfile", type=Path, metavar="FILE", help="hosts, as `mpinn.hosts hostfile` writes them")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"where it is kept (default: results/HOST/{FILE})")
    parser.set_defaults(command=calibrate)


def calibrate(asked: argparse.Namespace) -> int:
    """Measure, and write what was measured; return the exit status. Raises MpinnError, UsageError."""
    profile, launcher = find(asked.host), find_launcher()
    mpi_library.check_launcher(launcher.path, VENDORS[launcher.vendor])
    hosts = hostfile.count(asked.hostfile)
    out = asked.out or place()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out.parent}: cannot be made: {error.strerror}; give --out another place") from None
    files.check_writable(out.parent, "--out")
    machine = measured(profile, launcher, asked.hostfile if hosts > 1 else None)
    files.write_json(out, dataclasses.asdict(machine))
    for line in told(machine):
        print(line)
    many = "16" if machine.network else "1"
    print(f"{out}; next: python -m bench predict --machine {out} --hosts {many}")
    return 0


def measured(profile: Profile, launcher: Launcher, hosts: Path | None) -> Machine:
    """Return what was measured on this host, and with a hostfile between its hosts. Raises MpinnError."""
    cores = min(profile.machine.cores, len(os.sched_getaffinity(0)))
    first, *others = [(PAPERS, ranks) for ranks in doublings(cores)]
    asked = [first, *others, *others, *((layers, 1) for layers in LAYERS), *others]
    starts: dict[str, float] = {}
    core_pulses = of_each_core()
    tries: dict[tuple[tuple[int, ...], int], list[dict[str, Any]]] = {one: [] for one in asked}
    with Progress([EXPECTED] * (len(asked) + 2 + bool(hosts))) as progress:

        def run(
            title: str,
            mpi: Mpi,
            ranks: int,
            layers: tuple[int, ...],
            hosts: Path | None = None,
            more: Sequence[str] = (),
        ) -> dict[str, Any]:
            progress.start(title)
            left, seconds = rounds(mpi, launcher, ranks, layers, hosts, more)
            if layers == PAPERS and hosts is None:
                starts.setdefault(str(ranks), seconds - left["seconds"])
            progress.end(f"measured  {title}")
            return left

        for layers, ranks in asked:
            title = f"{'-'.join(map(str, layers))}, {ranks} ranks"
            tries[layers, ranks].append(run(title, profile.mpi, ranks, layers))
        overlapping = run("1 rank, merges beside learning", profile.mpi, 1, PAPERS, more=["--overlap"])
        unbound = dataclasses.replace(profile.mpi, bind_to="none", wait_policy="yield")
        sharing = run("two ranks on each core", unbound, 2 * cores, PAPERS, more=["--cores", str(cores)])
        between = []
        if hosts:
            count = hostfile.count(hosts)
            between = [run(f"between {count} hosts", profile.mpi, count, PAPERS, hosts)]
    # The usual ones: at any moment a machine may be slower, or faster, than it mostly is.
    found = {key: sorted(lefts, key=pulse_in)[len(lefts) // 2] for key, lefts in tries.items()}
    pulse = median(pulse_in(left) for left in [overlapping, *(found[key] for key in found if key[1] == 1)])
    pulses = {key: pulse if key[1] == 1 else pulse_in(left) for key, left in found.items()}
    speeds = {key: speed(*key, left["metrics"], pulses[key]) for key, left in found.items()}
    alone, every = found[first], found[PAPERS, cores]
    each = speeds[PAPERS, cores]  # core has one rank
    beside = speed(PAPERS, 1, overlapping["metrics"], pulse)
    shared = speed(PAPERS, 2 * cores, sharing["metrics"], pulses[PAPERS, cores])
    return Machine(
        schema_version=SCHEMA_VERSION,
        title=profile.title,
        processor=environment.processor(),
        cores=cores,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=environment.commit(),
        kernel_id=alone["environment"]["kernel_id"],
        mpi=f"{VENDORS[launcher.vendor]} {launcher.version}",
        wait_policy=profile.mpi.wait_policy,
        speeds=tuple(speeds.values()),
        overlap_worker=beside.worker,
        overlap_round=beside.round,
        core_shared=max(0.0, shared.round - each.round),
        shared_exemplar=times(shared.exemplar, each.exemplar),
        shared_worker=times(shared.worker, each.worker),
        variation=tuple(every["series"]["variation"]),
        start_seconds=starts,
        core_pulses=tuple(core_pulses),
        messages=by_size(every["series"].get("node_messages", [])),
        pulse=pulse,
        network=network_of(between[0], pulse) if between else None,
    )


def rounds(
    mpi: Mpi, launcher: Launcher, ranks: int, layers: tuple[int, ...], hosts: Path | None, more: Sequence[str]
) -> tuple[dict[str, Any], float]:
    """Run the program that times rounds; return what it left, and the seconds from its start to its end.

    Raises MpinnError.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        words = ["-m", f"{measure.PROGRAMS}.calibration", "--layers", *map(str, layers)]
        words += ["--epochs", str(TURNS), "--result", str(result), *more]
        line = command_line(mpi, launcher, ranks, hosts, [sys.executable, *words])
        began = monotonic()
        failure = measure.start(line, PATIENCE)
        seconds = monotonic() - began
        left = result_file.load(result, Measured)
    if failure or not left:
        raise MpinnError(f"calibration on {ranks} ranks: {failure or 'it ended before it was complete'}")
    return left, seconds


def pulse_in(left: dict[str, Any]) -> float:
    return float(left["metrics"]["pulse_microseconds"])


def speed(layers: tuple[int, ...], ranks: int, metrics: dict[str, float], pulse: float) -> Speed:
    """Return the times that were measured, scaled to a moment at which the machine had this pulse."""
    scale = pulse / metrics["pulse_microseconds"]
    return Speed(
        layers=layers,
        ranks=ranks,
        exemplar=metrics["exemplar_microseconds"] * scale,
        worker=metrics["worker_microseconds"] * scale,
        round=metrics["round_microseconds"] * scale,
        pulse=pulse,
        worst_fit_percent=metrics["worst_fit_percent"],
    )


def times(shared: float, alone: float) -> float:
    """Return how many times as long something takes two ranks that share a core."""
    return max(1.0, shared / alone) if alone else 2.0


def by_size(microseconds: Sequence[float]) -> tuple[Message, ...]:
    return tuple(Message(bytes=size, time=time) for size, time in zip(SIZES, microseconds, strict=False))


def network_of(left: dict[str, Any], pulse: float) -> Network:
    """Return the network that was measured; what processors do is scaled, as in `speed`."""
    metrics = left["metrics"]
    there = speed(PAPERS, 1, metrics, pulse)
    return Network(
        latency=metrics["latency_microseconds"],
        link_mbits=metrics["link_mbits_per_second"],
        allreduce=metrics["allreduce_microseconds"],
        allreduce_byte=1e-3 * metrics["allreduce_nanoseconds_a_byte"],
        worker=there.worker,
        round=there.round,
        messages=by_size(left["series"]["host_messages"]),
    )


def told(machine: Machine) -> Iterator[str]:
    """Yield what was measured, in words."""
    yield f"{machine.title}, {machine.cores} cores; {machine.kernel_id}, {machine.mpi}"
    for one in machine.speeds:
        layers = "-".join(map(str, one.layers))
        yield (
            f"{layers:16} {one.ranks:3} ranks: {one.exemplar:6.2f} us an exemplar, {one.worker:6.1f} a worker, "
            f"{one.round:6.1f} a round (within {one.worst_fit_percent:.0f}%)"
        )
    if machine.core_pulses:
        at_once = model.usual_pulse(machine, machine.cores)
        yield (
            f"cores alone: {', '.join(f'{one:.2f}' for one in machine.core_pulses)} us an exemplar"
            f"; all at once, the slowest: {at_once:.2f}"
        )
    yield f"with merges beside learning: {machine.overlap_worker:.0f} us a worker, {machine.overlap_round:.0f} a round"
    yield (
        f"two ranks on each core: {machine.shared_exemplar:.2f} times an exemplar, {machine.shared_worker:.2f} times a "
        f"worker, {machine.core_shared:.0f} us a round more"
    )
    starts = ", ".join(f"{seconds:.2f} s with {ranks} ranks" for ranks, seconds in machine.start_seconds.items())
    yield f"start and end: {starts}"
    if machine.messages:
        yield f"messages between ranks of a host: {in_words(machine.messages)}"
    if machine.network:
        found = machine.network
        yield (
            f"network: {found.latency:.0f} us, {found.link_mbits:,.0f} Mbit/s; Allreduce {found.allreduce:.0f} us "
            f"and {1e3 * found.allreduce_byte:.2f} ns a byte; {found.worker or 0:.0f} us a worker, "
            f"{found.round:.0f} a round"
        )
        if found.messages:
            yield f"messages between hosts: {in_words(found.messages)}"


def in_words(messages: Sequence[Message]) -> str:
    *_, longest = messages
    sizes = ", ".join(f"{one.time:.2f} us of {one.bytes:,} bytes" for one in messages[:-1])
    return f"{sizes}; {longest.bytes / longest.time / 1e3:.2f} GB/s in {longest.bytes:,} bytes"
