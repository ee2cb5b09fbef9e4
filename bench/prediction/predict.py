"""`bench predict`: how long training would take on hosts like a calibrated one, and where more of them stop paying."""

import argparse
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from bench.prediction import calibrate, machine, model, papers_hosts
from bench.prediction.machine import Machine, Network
from bench.prediction.model import Cluster, Job
from bench.prediction.simulation import Predicted, predict
from mpinn.hosts import library
from mpinn.hosts.profile import Profile
from mpinn.merging import law, worker_batch
from mpinn.merging.worker_batch import MergeCost
from mpinn.system import files, terminal
from mpinn.system.errors import UsageError
from mpinn.system.terminal import Table
from mpinn.system.words import counted

# To 97 % of MNIST's test set with the paper's network, where block momentum's law holds: the median of 35 runs, five
# seeds each of seven ways (bench/results/epyc-vm/merge); the fewest are 5, the most 8.
EPOCHS_TO_97 = 7
PAYS = 1.1  # times as fast, that twice as many hosts must be at least
MOST_HOSTS = 2**16
NETWORK = re.compile(r"(\d+(?:\.\d+)?)(mbit|gbit)")
FIRST_BATCH = 100
SIMGRID = Path(__file__).with_name("simgrid_allreduce.py")


class Point(NamedTuple):
    """A number of hosts, and what was predicted for them."""

    cluster: Cluster
    job: Job
    found: Predicted
    speedup: float  # over one rank


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "predict",
        help="how long training would take on a cluster",
        description="Predict the time of an epoch with block momentum over hosts like one that `bench calibrate` has "
        "measured: 1, 2, 4 and so on. bench/prediction/model.py says how, and what it leaves out.",
    )
    number = whole
    parser.add_argument("--machine", type=Path, metavar="FILE", help="its calibration (default: this machine's)")
    parser.add_argument("--profile", metavar="NAME", help="host profile: its cores and its network")
    parser.add_argument(
        "--exemplar-microseconds", type=positive, metavar="US", help="the hosts are slower or faster: this is stated"
    )
    parser.add_argument("--hosts", type=number, default=16, metavar="N", help="up to so many (default: 16)")
    parser.add_argument("--ranks", type=number, metavar="N", help="of each host (default: its cores)")
    parser.add_argument("--cores", type=positive, metavar="N", help="of each host (default: the machine's)")
    parser.add_argument("--network", type=network, metavar="RATE", help="of each link, as 100mbit or 2.5gbit")
    parser.add_argument(
        "--switch", type=network, metavar="RATE", help="of all links together: SimGrid simulates how they share it"
    )
    parser.add_argument("--latency", type=positive, metavar="US", help="of a short message (default: as calibrated)")
    parser.add_argument("--workers", type=number, metavar="N", help="logical workers (default: one a rank)")
    parser.add_argument("--worker-batch", default="auto", metavar="N|auto", help="exemplars between two merges")
    parser.add_argument(
        "--layers", type=number, nargs="+", default=model.PAPERS, metavar="UNITS", help="of the network"
    )
    parser.add_argument("--overlap", action="store_true", help="let a merge travel while the next round is learned")
    parser.add_argument("--watts", type=positive, metavar="W", help="power of a host under load, as you measured it")
    parser.add_argument(
        "--published", action="store_true", help="predict the speedups that were published of other hosts instead"
    )
    parser.add_argument("--figure", type=Path, metavar="SVG", help="draw speedup over hosts")
    parser.set_defaults(command=command)


def whole(text: str) -> int:
    """Return a whole number above 0. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or not 0 < int(text[:20]) <= MOST_HOSTS:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST_HOSTS:,}, got {text!r}")
    return int(text)


def positive(text: str) -> float:
    """Return a number above 0. Raises argparse.ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e12:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def network(text: str) -> float:
    """Return a rate in Mbit/s. Raises argparse.ArgumentTypeError."""
    found = NETWORK.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected a rate such as 100mbit or 2.5gbit, got {text!r}")
    return float(found[1]) * (1000 if found[2] == "gbit" else 1)


def command(asked: argparse.Namespace) -> int:
    """Print what is predicted; return the exit status. Raises UsageError, MpinnError."""
    profile = library.find(asked.profile) if asked.profile else None
    host = machine_of(asked, profile)
    if asked.published:
        terminal.show(papers_hosts.table(host))
        return 0
    rate = asked.network or (profile.machine.network_mbit if profile else None)
    if asked.hosts > 1 and host.network is None:
        host = with_stated_network(rate, asked.latency, host)
    check_layers(asked.layers)
    cores = asked.cores or (profile.machine.cores if profile else host.cores)
    ranks = asked.ranks or max(1, int(cores))
    clusters = [Cluster(hosts, ranks, cores, rate, asked.latency) for hosts in model.doublings(asked.hosts)]
    planned = [(cluster, job_of(asked, host, cluster)) for cluster in clusters]
    points = predicted(host, planned, simulated(host, planned, asked.switch) if asked.switch else {})
    terminal.show(table(asked, host, points))
    for line in words(host, points):
        print(line)
    if asked.figure:
        draw(asked.figure, points)
    return 0


def machine_of(asked: argparse.Namespace, profile: Profile | None) -> Machine:
    """Return the kind of host that is asked for. Raises UsageError."""
    own = beside(asked.profile) if asked.profile else None
    path = asked.machine or own or calibrate.place()
    if not (asked.machine or path.exists()):
        raise UsageError(f"{path}: not there: run python -m bench calibrate first, or give --machine FILE")
    found = machine.load(path)
    if profile and not (asked.exemplar_microseconds or asked.machine or own or library.fits(profile)):
        raise UsageError(
            f"--profile {profile.name}: this machine is none, and its calibration says nothing of it; run python -m "
            "bench calibrate on one and give --machine FILE, or state --exemplar-microseconds"
        )
    if asked.exemplar_microseconds is None:
        return found
    title = profile.title if profile else "a host"
    stated = f"{title}, stated to take {asked.exemplar_microseconds:g} us an exemplar ({found.title}: measured)"
    return machine.slowed(found, asked.exemplar_microseconds, stated)


def beside(name: str) -> Path | None:
    """Return the calibration that lies beside a host profile, as NAME.calibration.json, if there is one."""
    path = Path(name).with_suffix("") if name.endswith((".yml", ".yaml")) else library.directory() / name
    found = path.with_name(f"{path.name}.{calibrate.FILE}")
    return found if found.exists() else None


def with_stated_network(rate: float | None, latency: float | None, host: Machine) -> Machine:
    """Return a machine with the network that is stated, which takes none of its processors' time. Raises UsageError.

    rate: Mbit/s; latency: microseconds.
    """
    if rate is None or latency is None:
        raise UsageError(
            f"{host.title}: the network between hosts was not measured; calibrate with --hostfile, state --network and "
            "--latency, or give --hosts 1"
        )
    network = Network(
        latency=latency,
        link_mbits=rate,
        allreduce=2 * latency,
        allreduce_byte=model.FRAME * model.gap(rate),
        round=host.speeds[0].round,
    )
    title = f"{host.title}; network stated, not measured"
    return dataclasses.replace(host, network=network, title=title)


def check_layers(layers: Sequence[int]) -> None:
    """Raise UsageError unless this is a network that MNIST can be learned with."""
    first, last = model.PAPERS[0], model.PAPERS[-1]
    if len(layers) < 2 or (layers[0], layers[-1]) != (first, last):
        got = " ".join(map(str, layers))
        raise UsageError(f"--layers: expected {first} ... {last}, MNIST's pixels and classes, got {got}")


def job_of(asked: argparse.Namespace, host: Machine, cluster: Cluster) -> Job:
    """Return what is trained on a cluster. Raises UsageError."""
    workers = asked.workers or cluster.size
    if workers > model.EXEMPLARS:
        raise UsageError(f"{workers:,} workers, more than MNIST's {model.EXEMPLARS:,} exemplars; give --workers")
    return Job(workers, batch_of(asked, host, cluster, workers), tuple(asked.layers), asked.overlap)


def predicted(host: Machine, planned: list[tuple[Cluster, Job]], allreduces: dict[int, float]) -> list[Point]:
    """Return what is predicted; allreduces: microseconds by hosts, where they are not by formula."""
    points = []
    for cluster, job in planned:
        found = predict(host, cluster, job, allreduces.get(cluster.hosts))
        alone = predict(host, Cluster(1, 1, cluster.cores), job)
        points.append(Point(cluster, job, found, alone.epoch_seconds / found.epoch_seconds))
    return points


def simulated(host: Machine, planned: list[tuple[Cluster, Job]], switch: float) -> dict[int, float]:
    """Return the microseconds of an Allreduce by hosts, as SimGrid has them; switch: Mbit/s of all links together.

    Raises UsageError where SimGrid is not installed.
    """
    several = [(cluster, job) for cluster, job in planned if cluster.hosts > 1]
    if not several:
        return {}
    links = model.links(host, several[0][0])
    asked = {
        "sizes": [[cluster.hosts, job.merge_bytes] for cluster, job in several],
        "message": 1e-6 * links.message,
        "link": 1e6 / links.byte,
        "switch": 1e6 / (model.FRAME * model.gap(switch)),
    }
    for python in (sys.executable, "/usr/bin/python3"):
        ran = subprocess.run([python, SIMGRID], input=json.dumps(asked), capture_output=True, text=True)
        if ran.returncode == 0:
            seconds = json.loads(ran.stdout.splitlines()[-1])
            return {cluster.hosts: 1e6 * one for (cluster, _), one in zip(several, seconds, strict=True)}
    raise UsageError("--switch needs SimGrid: apt install python3-simgrid, or leave it out")


def batch_of(asked: argparse.Namespace, host: Machine, cluster: Cluster, workers: int) -> int:
    """Return the worker batch: as given, or as `auto` would choose it there. Raises UsageError."""
    most = model.EXEMPLARS // workers
    if asked.worker_batch != "auto":
        batch = whole_of(asked.worker_batch, "--worker-batch")
        if batch > most:
            raise UsageError(f"--worker-batch {batch}: {workers} workers have at most {most} exemplars of MNIST each")
        return batch
    first = Job(workers, min(FIRST_BATCH, most), tuple(asked.layers))
    learn, whole, wire = model.round_of(host, cluster, first)
    exposed = None
    if asked.overlap:
        hiding = model.round_of(host, cluster, dataclasses.replace(first, overlap=True))
        exposed = hiding.host - hiding.learn
    cost = MergeCost(learn / first.worker_batch, whole - learn + wire, exposed)
    largest = worker_batch.largest("block-momentum", workers, model.EXEMPLARS, asked.overlap)
    return worker_batch.cheapest(cost, largest, asked.overlap)


def whole_of(text: str, option: str) -> int:
    """Return a whole number above 0. Raises UsageError."""
    try:
        return whole(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{option}: {error}, or auto") from None


def seconds_to_97(point: Point) -> float | None:
    """Return the seconds to 97 % of the test set; None where no law tells how many epochs that takes."""
    job = point.job
    limits = law.of(job.overlap)
    most = limits.most_scale(job.workers) * limits.memory  # workers^2 x worker batch
    learns = job.workers == 1 or job.workers**2 * job.worker_batch <= most
    return EPOCHS_TO_97 * point.found.epoch_seconds if learns and job.layers == model.PAPERS else None


def table(asked: argparse.Namespace, host: Machine, points: list[Point]) -> Table:
    """Return a row a number of hosts."""
    columns = ["hosts", "ranks", "workers", "batch", "round ms", "epoch s", "5 to 95%", "speedup", "efficiency"]
    columns += ["balance", "serialisation", "merge", "s to 97%", *(["J to 97%"] if asked.watts else [])]
    rows = []
    for one in points:
        found, soon = one.found, seconds_to_97(one)
        rows.append(
            [
                *map(str, (one.cluster.hosts, one.cluster.size, one.job.workers, one.job.worker_batch)),
                f"{1e-3 * found.round_microseconds:.3g}",
                f"{found.epoch_seconds:.3g}",
                f"{found.low:.3g} to {found.high:.3g}",
                f"{one.speedup:.1f}",
                *(f"{value:.2f}" for value in found.efficiency),
                "not known" if soon is None else f"{soon:.3g}",
            ]
        )
        if asked.watts:
            rows[-1].append("not known" if soon is None else f"{asked.watts * one.cluster.hosts * soon:.3g}")
    return Table(f"{host.title}: predicted, not measured", columns, rows)


def words(host: Machine, points: list[Point]) -> list[str]:
    """Return what limits, and where more hosts stop paying."""
    last = points[-1]
    said = [f"On {counted(last.cluster.hosts, 'host')} most of what is not learning goes to this: {last.found.limits}."]
    paid = points[0]
    for before, after in pairwise(points):
        if after.speedup < before.speedup * PAYS ** (after.cluster.hosts / before.cluster.hosts - 1):
            break
        paid = after
    if paid is not last:
        said.append(
            f"Beyond {counted(paid.cluster.hosts, 'host')} more stop paying: twice as many are not a tenth faster."
        )
    if any(seconds_to_97(one) is None for one in points):
        said.append("Seconds to 97% are not known where no law says how many epochs that takes.")
    said.append(f"Calibrated {host.measured} on {host.processor}: {host.kernel_id}, {host.mpi}.")
    return said


def draw(path: Path, points: list[Point]) -> None:
    """Draw speedup over hosts. Raises UsageError where the report's packages are missing, MpinnError."""
    try:
        from bench.report import figures
    except ImportError as error:
        raise UsageError(f"{error}: a figure needs more packages: pip install 'mpinn-bench[bench]'") from None
    ranks = points[0].cluster.ranks
    line = figures.Line("predicted", [one.cluster.hosts for one in points], [one.speedup / ranks for one in points])
    svg = figures.lines([line], "hosts", "speedup over one rank / ranks of a host", ideal=True, log=True)
    files.write(path, figures.alone(svg).encode())
    print(path)
