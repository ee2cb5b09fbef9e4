"""Rounds of training as a program measures them: the ranks that learn, and the seconds of each round."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter, sleep

import numpy as np

from bench.prediction.pulse import pulse
from mpinn import config
from mpinn.config import Options
from mpinn.datasets import Dataset
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.phases import RoundMerged
from mpinn.parallel.round import Team
from mpinn.parallel.stop_requests import Listener
from mpinn.parallel.world import World
from mpinn.training import setup
from mpinn.training.state import RunState

NAP = 1e-3  # seconds between two looks whether the others are there


def team_of(world: World, options: Options, data: Dataset) -> Team:
    """Return the ranks as one learner, as training makes it of options. Raises UsageError, on every rank."""
    assert isinstance(options.worker_batch, int)
    about = (data.pixels, data.classes, len(data.train_labels), world.size)
    settings = world.on_root(partial(config.resolve, options, options.worker_batch, *about))
    kernel = world.on_all(partial(setup.choose_kernel, settings))
    return Team(world, settings, kernel, data, RunState.beginning(settings).master, Listener(None))


def first(data: Dataset, exemplars: int) -> Dataset:
    """Return a data set whose training set is the first exemplars of another's."""
    return dataclasses.replace(
        data, train_images=data.train_images[:exemplars], train_labels=data.train_labels[:exemplars]
    )


def timed(team: Team, epoch: int) -> np.ndarray:
    """Do the rounds of an epoch; return the seconds of each, from the merge before to its own, on this rank."""
    ends: list[float] = []

    def note(event: RoundMerged) -> None:
        ends.append(perf_counter())

    team.train(epoch, 0, note)
    return np.diff(ends)


def pulse_of(world: World, cores: float) -> float:
    """Return the pulse of the slowest core in use, microseconds an exemplar: all beat at once, as in a round.

    cores: of each host; as many of its ranks beat, while the others sleep.
    """
    found = pulse() if world.node.rank < max(1, cores) else 0.0
    done = world.comm.Ibarrier()
    while not done.Test():
        sleep(NAP)
    return float(world.comm.allreduce(found, MPI.MAX))


def in_turn(teams: Sequence[Team], epochs: int, after: Callable[[], None] = lambda: None) -> list[np.ndarray]:
    """Return the seconds of the rounds of each team, (epochs, rounds - 1); teams take turns, an epoch each.

    after: is called after each of these epochs.
    """
    spent: list[list[np.ndarray]] = [[] for _ in teams]
    for epoch in range(1, epochs + 1):
        for team, found in zip(teams, spent, strict=True):
            found.append(timed(team, epoch))
            after()
    return [np.array(one) for one in spent]
