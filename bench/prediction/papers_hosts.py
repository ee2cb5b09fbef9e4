"""The published hosts, predicted: each as slow as its epoch of one worker says, with its cores."""

from bench.prediction import machine, model
from bench.prediction.machine import Machine
from bench.prediction.model import Cluster, Job
from bench.prediction.simulation import predict
from mpinn.hosts import library
from mpinn.hosts.profile import Profile
from mpinn.system.terminal import Table

WORKER_BATCH = 100  # the paper's
COLUMNS = ("host", "workers", "published speedup", "predicted", "error")


def table(host: Machine) -> Table:
    """Return published speedups of epochs with more workers than one, and what the model says, host by host."""
    rows = []
    for profile in map(library.find, library.names()):
        alone = profile.published_epochs.get(1)
        if alone is None:
            continue
        slow = machine.slowed(host, 1e6 * alone / model.EXEMPLARS, profile.title)
        for workers, speedup in sorted(speedups(profile).items()):
            found = predicted(slow, profile, 1) / predicted(slow, profile, workers)
            error = f"{100 * (found / speedup - 1):+.0f}%"
            rows.append([profile.title, str(workers), f"{speedup:.2f}", f"{found:.2f}", error])
    return Table("Published speedups over one worker, and predicted ones", COLUMNS, rows)


def speedups(profile: Profile) -> dict[int, float]:
    """Return the published speedups by workers: as they are told, or of the epochs."""
    epochs = profile.published_epochs
    told = {one.workers: one.value / 100 for one in profile.published if one.metric == "speedup" and one.value}
    of_epochs = {workers: epochs[1] / seconds for workers, seconds in epochs.items() if workers > 1}
    return of_epochs | {workers: speedup for workers, speedup in told.items() if workers}


def predicted(host: Machine, profile: Profile, workers: int) -> float:
    """Return the seconds of an epoch with a worker a rank."""
    return predict(host, Cluster(1, workers, profile.machine.cores), Job(workers, WORKER_BATCH)).epoch_seconds
