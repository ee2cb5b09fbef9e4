"""An epoch, round by round: hosts vary as they were measured to, and each round lasts as long as the slowest needs."""

from typing import NamedTuple

import numpy as np

from bench.prediction import model
from bench.prediction.machine import Machine
from bench.prediction.model import EXEMPLARS, Cluster, Job
from mpinn.parallel.phases import Efficiency

EPOCHS = 20
MOST_DRAWN = 2**24  # rounds of hosts


class Predicted(NamedTuple):
    """An epoch of training."""

    round_microseconds: float  # mean
    epoch_seconds: float  # mean
    low: float  # seconds of an epoch, 5 %
    high: float  # 95 %
    efficiency: Efficiency
    limits: str  # what takes most of the time that is not learning


def predict(machine: Machine, cluster: Cluster, job: Job, allreduce: float | None = None) -> Predicted:
    """Return what an epoch takes, from EPOCHS simulated ones (fewer, and fewer rounds, where hosts are very many).

    allreduce: microseconds between hosts, where they are not by formula.
    """
    learn, host, wire = model.round_of(machine, cluster, job, allreduce)
    drawn_rounds = max(1, min(job.rounds, MOST_DRAWN // cluster.hosts))  # of an epoch
    epochs = int(np.clip(MOST_DRAWN // (drawn_rounds * cluster.hosts), 1, EPOCHS))
    random = np.random.default_rng(0)
    quantiles = np.linspace(0, 1, len(machine.variation))
    slowest, mean = np.empty((epochs, drawn_rounds)), np.empty((epochs, drawn_rounds))
    for epoch in range(epochs):
        drawn = np.interp(random.random((drawn_rounds, cluster.hosts)), quantiles, machine.variation)
        slowest[epoch], mean[epoch] = drawn.max(axis=1), drawn.mean(axis=1)
    rounds = host * slowest + wire
    full = EXEMPLARS / (job.workers * job.worker_batch)  # rounds of an epoch; the last may be short
    epoch = 1e-6 * full * rounds.mean(axis=1)
    low, high = np.quantile(epoch, [0.05, 0.95])
    waited = host * float((slowest - mean).mean())
    efficiency = efficiency_of(cluster, job, learn, waited, float(rounds.mean()))
    lost = {
        "too few workers for the ranks": learn * (1 - efficiency.balance),
        "hosts wait for the slowest": waited,
        "merging on a host": host - learn,
        "the network": wire,
    }
    return Predicted(
        float(rounds.mean()), float(epoch.mean()), float(low), float(high), efficiency, max(lost, key=lost.__getitem__)
    )


def efficiency_of(cluster: Cluster, job: Job, learn: float, waited: float, whole: float) -> Efficiency:
    """Return the efficiencies (parallel.phases) of rounds; where ranks share cores, of the cores."""
    most = -(-job.workers // cluster.size)
    balance = job.workers / cluster.size / most
    return Efficiency(balance * learn / whole, balance, learn / (learn + waited), (learn + waited) / whole)
