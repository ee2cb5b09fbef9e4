"""The published hosts, predicted: each as slow as its epoch of one worker says, with its cores."""

from bench.prediction import machine, model
from bench.prediction.machine import Machine
from bench.prediction.model import Cluster, Job
from bench.prediction.simulation import predict
from mpinn.hosts import library
from mpinn.hosts.profile import Profile, Published
from mpinn.system.terminal import Table

WORKER_BATCH = 100  # the paper's
COLUMNS = ("host", "workers", "published speedup", "predicted", "error")


def table(host: Machine) -> Table:
    """Return published speedups of epochs with more workers than one, and what the model says, host by host."""
    rows = []
    for profile in map(library.find, library.names()):
        alone = one_worker(profile)
        if alone is None:
            continue
        slow = machine.slowed(host, 1e6 * alone / model.EXEMPLARS, profile.title)
        for workers, speedup in sorted(speedups(profile, alone).items()):
            found = predicted(slow, profile, 1) / predicted(slow, profile, workers)
            error = f"{100 * (found / speedup - 1):+.0f}%"
            rows.append([profile.title, str(workers), f"{speedup:.2f}", f"{found:.2f}", error])
    return Table("Published speedups over one worker, and predicted ones", COLUMNS, rows)


def one_worker(profile: Profile) -> float | None:
    """Return the published seconds of an epoch of one worker."""
    return next((seconds_of(one) for one in profile.published if epoch_of(one) and one.workers == 1), None)


def epoch_of(one: Published) -> bool:
    return one.metric == "epoch_seconds" and seconds_of(one) is not None


def seconds_of(one: Published) -> float | None:
    return one.value if one.median is None else one.median


def speedups(profile: Profile, alone: float) -> dict[int, float]:
    """Return the published speedups by workers: as they are told, or of the epochs."""
    told = {
        one.workers: one.value / 100
        for one in profile.published
        if one.metric == "speedup" and one.workers and one.value
    }
    epochs = {
        one.workers: alone / seconds
        for one in profile.published
        if epoch_of(one) and one.workers and one.workers > 1 and (seconds := seconds_of(one))
    }
    return epochs | told


def predicted(host: Machine, profile: Profile, workers: int) -> float:
    """Return the seconds of an epoch with a worker a rank."""
    return predict(host, Cluster(1, workers, profile.machine.cores), Job(workers, WORKER_BATCH)).epoch_seconds
