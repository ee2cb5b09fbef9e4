"""The model: how long a round of training takes, on which hosts, over which network.

A round is a superstep (Valiant 1990, A bridging model for parallel computation): ranks learn, then merge, and the next
begins when all have the new master. On one host each rank has w workers, one after the other, and

    round = w (B exemplar + worker) + round'                                      (measured: machine.Speed)

Where a core has s > 1 ranks they take turns, and find the nearest caches full of the others' weights: each further rank
makes exemplar and worker longer by what the second one was measured to, up to three of them, and a round by
`core_shared`. Between hosts sums of n bytes travel, in a ring or by halving and doubling, whichever is
shorter (Thakur, Rabenseifner and Gropp 2005, Optimization of collective communication operations in MPICH), with
LogGP's parameters (Alexandrov et al. 1995): l for each message, s times as long where cores are shared, and G for each
byte, the gap of the link or what the processors need for it, whichever is longer:

    ring:      2 (H - 1) l + 2 (H - 1) / H n G               halving and doubling:   2 log2(H) l + the same

With --overlap messages travel while workers learn the next round: all of them if workers learn for so long that MPI
goes on with them in between, and no ranks share a core, where each message waits for other ranks' turns; else the
first. Not hidden is what processors do for them, and the few rounds that leave no merge under way; workers and rounds
have more to do then (measured, too). Hosts wait for the slowest of them, round by round: `simulation` draws how their
rounds vary.

Where a switch has no room for all of its links, SimGrid simulates the messages instead (`simgrid_allreduce`).

What it leaves out: cores of other speeds within a host, networks of several switches, a cluster's other jobs, the short
last round of an epoch, evaluation and snapshots.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bench.harness.estimate import EXEMPLARS, LIT
from bench.prediction.machine import Machine, Speed
from mpinn.merging import formats, overlap
from mpinn.model.network import Network

LEARNED_PIXELS = 717  # of 784, those that any exemplar lights: the others' weights do not travel
PAPERS = (784, 100, 10)
FRAME = 1538 / 1448  # bytes on Ethernet for one that MPI sends: headers of TCP, IP and frame, preamble and gap
CACHED = 3  # further ranks on a core, after which none finds anything of its own in the caches: measured up to so many
PROGRESS_EVERY = 32  # exemplars, after which MPI goes on with a merge that is under way (BETWEEN of the kernel)


@dataclass(frozen=True)
class Job:
    """What is trained."""

    workers: int
    worker_batch: int
    layers: tuple[int, ...] = PAPERS
    overlap: bool = False

    @property
    def rounds(self) -> int:
        """Rounds of an epoch."""
        return math.ceil(EXEMPLARS / (self.workers * self.worker_batch))

    @property
    def merge_bytes(self) -> int:
        """Bytes of the sums that travel between hosts."""
        first, *others = [(n + 1) * m for n, m in pairwise(self.layers)]
        lit = (min(LEARNED_PIXELS, self.layers[0]) + 1) / (self.layers[0] + 1)
        size = np.dtype(formats.choose(formats.usual(self.workers), self.workers, self.worker_batch).dtype).itemsize
        return round(size * (lit * first + sum(others)))


@dataclass(frozen=True)
class Cluster:
    """Hosts that are alike."""

    hosts: int
    ranks: int  # of a host
    cores: float  # of a host; less than 1 where hosts are no machines of their own
    link_mbits: float | None = None  # of each host's link, as it is called; None: as it was measured
    latency: float | None = None  # microseconds of a short message; None: as it was measured

    @property
    def size(self) -> int:
        """Ranks of all hosts."""
        return self.hosts * self.ranks

    @property
    def turns(self) -> float:
        """In which ranks learn that share a core: so many have one."""
        return max(1.0, self.ranks / self.cores)


class Round(NamedTuple):
    """A round without the variation of hosts, microseconds."""

    learn: float  # of the rank that has most workers
    host: float  # what a host needs in all, learning included
    wire: float  # what the merge between hosts needs, beside what is hidden behind learning


class Links(NamedTuple):
    """What messages between hosts take, microseconds."""

    message: float  # each
    byte: float  # and each byte of it, the processors' work included
    processors: float  # of a byte's, those in which no rank can learn


def round_of(machine: Machine, cluster: Cluster, job: Job, allreduce: float | None = None) -> Round:
    """Return what a full round takes; allreduce: microseconds between hosts, where they are not by formula."""
    speed = speed_of(machine, job.layers, min(cluster.ranks, cluster.cores))
    shared = cluster.turns
    workers = math.ceil(job.workers / cluster.size)
    learn = taking_turns(shared, machine.shared_exemplar) * workers * job.worker_batch * speed.exemplar
    more_worker, more_round = overlapping(machine, job)
    worker = speed.worker + more_worker + (between_hosts(machine, job) if cluster.hosts > 1 else 0.0)
    host = learn + taking_turns(shared, machine.shared_worker) * workers * worker + speed.round + more_round
    host += (shared - 1) * machine.core_shared
    if cluster.hosts == 1:
        return Round(learn, host, 0.0)
    found = links(machine, cluster)
    alone = by_formula(found, cluster.hosts, job.merge_bytes) if allreduce is None else allreduce
    wire = alone + shared * in_training(machine)
    if job.overlap:
        settled = math.ceil(job.rounds / overlap.SETTLE) / job.rounds  # of rounds, those that leave no merge under way
        travels = alone * (1 - found.processors / max(found.byte, 1e-12))
        if job.worker_batch < PROGRESS_EVERY or shared > 1:
            travels /= 2 * (cluster.hosts - 1)  # the first message of a ring; MPI goes on when learning is done
        wire -= (1 - settled) * min(learn, travels)
    return Round(learn, host, wire)


def taking_turns(ranks: float, two: float) -> float:
    """Return how many times as long something takes so many ranks that share a core; two: where they are two."""
    return ranks * (1 + (two / 2 - 1) * min(ranks - 1, CACHED))


def between_hosts(machine: Machine, job: Job) -> float:
    """Return what a worker takes longer where its term is added up before the master moves."""
    first, network = machine.speeds[0], machine.network
    more = network.worker - first.worker if network and network.worker is not None else 0.0
    return max(0.0, parameters(job.layers) / parameters(first.layers) * more)


def overlapping(machine: Machine, job: Job) -> tuple[float, float]:
    """Return what a worker and a round take longer under --overlap, by the weights of the network."""
    if not job.overlap:
        return 0.0, 0.0
    first = machine.speeds[0]
    size = parameters(job.layers) / parameters(first.layers)
    worker, round_ = machine.overlap_worker - first.worker, machine.overlap_round - first.round
    return max(0.0, size * worker), max(0.0, size * round_)


def links(machine: Machine, cluster: Cluster) -> Links:
    """Return what messages take on the cluster's links; machine.network is known."""
    network = machine.network
    assert network is not None
    slower = 0.0 if cluster.latency is None else cluster.latency - network.latency
    shared = cluster.turns
    message = max(0.0, shared * network.allreduce / 2 + slower)  # two hosts send two messages, of n / 2 bytes each
    processors = shared * max(0.0, network.allreduce_byte - gap(network.link_mbits))
    if cluster.link_mbits is None:
        return Links(message, shared * network.allreduce_byte, processors)
    return Links(message, max(FRAME * gap(cluster.link_mbits), processors), processors)


def by_formula(links: Links, hosts: int, size: int) -> float:
    """Return the microseconds of an Allreduce of so many bytes."""
    steps = min(2 * (hosts - 1), 2 * math.log2(hosts))
    return steps * links.message + 2 * (hosts - 1) / hosts * size * links.byte


def gap(mbits: float) -> float:
    """Return the microseconds of a byte at so many megabits a second."""
    return 8 / mbits


def in_training(machine: Machine) -> float:
    """Return what a round of two hosts takes longer than that of one and an Allreduce: they come to it one by one."""
    network = machine.network
    assert network is not None
    alone = network.allreduce + Job(2, 100).merge_bytes * network.allreduce_byte
    return max(0.0, network.round - machine.speeds[0].round - alone)


def speed_of(machine: Machine, layers: tuple[int, ...], ranks: float) -> Speed:
    """Return the times for a network on so many ranks of a host with a core each, measured or between measured ones."""
    same = sorted((one for one in machine.speeds if one.layers == layers), key=lambda one: one.ranks)
    papers = sorted(
        (one for one in machine.speeds if one.layers == machine.speeds[0].layers), key=lambda one: one.ranks
    )
    one = next((speed for speed in same if speed.ranks == 1), None) or of_layers(machine, layers)
    known = same if len(same) > 1 else papers
    base = known[0]

    def at(name: str) -> float:
        xs = np.log2([speed.ranks for speed in known])
        ratios = [getattr(speed, name) / max(getattr(base, name), 1e-9) for speed in known]
        return float(getattr(one, name) * np.interp(np.log2(max(ranks, 1)), xs, ratios))

    times = {name: at(name) for name in ("exemplar", "worker", "round")}
    return Speed(layers=layers, ranks=max(1, int(ranks)), worst_fit_percent=one.worst_fit_percent, **times)


def usual_pulse(machine: Machine, ranks: float) -> float | None:
    """Return the pulse of the slowest of so many cores at once when the machine was calibrated, if it is known."""
    known = sorted(
        (one.ranks, one.pulse) for one in machine.speeds if one.layers == machine.speeds[0].layers and one.pulse
    )
    if not known:
        return machine.pulse
    xs, pulses = zip(*known, strict=True)
    return float(np.interp(np.log2(max(ranks, 1)), np.log2(xs), pulses))


def of_layers(machine: Machine, layers: tuple[int, ...]) -> Speed:
    """Return the times on one rank for a network that was not measured: by its weights, and those an exemplar meets."""
    known = [speed for speed in machine.speeds if speed.ranks == 1]

    def line(name: str, size: list[float], at: float) -> float:
        terms = np.stack([np.ones(len(size)), np.array(size)], axis=1)
        found = np.linalg.lstsq(terms, np.array([getattr(speed, name) for speed in known]), rcond=None)[0]
        return float(max(found @ [1, at], 0.0))

    met = [weights_met(speed.layers) for speed in known]
    weights = [float(parameters(speed.layers)) for speed in known]
    times = {"exemplar": line("exemplar", met, weights_met(layers))}
    times |= {name: line(name, weights, parameters(layers)) for name in ("worker", "round")}
    return Speed(layers=layers, ranks=1, worst_fit_percent=0.0, **times)


def weights_met(layers: tuple[int, ...]) -> float:
    """Return how many weights an exemplar of MNIST meets: dark pixels' are left alone."""
    lit = LIT / 784 * layers[0]
    return float(sum(n * m for n, m in pairwise((lit, *layers[1:]))))


def parameters(layers: tuple[int, ...]) -> int:
    return Network(layers).parameters


def doublings(most: int) -> list[int]:
    """Return 1, 2, 4 and so on, and `most`."""
    return [2**power for power in range(most.bit_length()) if 2**power < most] + [most]
