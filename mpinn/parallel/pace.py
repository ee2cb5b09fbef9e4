"""What changes from round to round: the learning rate, and the numbers of the rule that moves the master."""

from collections.abc import Sequence

import numpy as np

from mpinn.config import Settings
from mpinn.merging import rates
from mpinn.merging.master import Master
from mpinn.merging.optimizers import OPTIMIZERS
from mpinn.parallel.schedule import Schedule

NONE = np.zeros(0)


class Pace:
    """Pure functions of where a run is: so a run that is resumed, or does rounds again, goes on as it would have."""

    def __init__(self, settings: Settings, schedule: Schedule, weighs: bool) -> None:
        """weighs: whether workers' terms are weights, and not steps, where they are no gradients."""
        self.settings = settings
        self.schedule = schedule
        self.from_weights = weighs and not settings.gradients
        self.step = settings.step
        self.rule = settings.rule
        self.changes = settings.schedule != "constant" or settings.warm_up > 0
        self.steps_change = self.changes and not settings.gradients

    def factor(self, epoch: int, done: int, accuracies: Sequence[float]) -> float:
        """Return by what the learning rate is multiplied in the round after `done` ones of an epoch.

        accuracies: on the training set, after each epoch before.
        """
        if not self.changes:
            return 1.0
        settings, schedule = self.settings, self.schedule
        before = (epoch - 1) * schedule.exemplars + done * schedule.round_size
        passed = before / schedule.exemplars
        warm = rates.warming(before + schedule.counts(done).all, settings.warm_up)
        return rates.factor(settings.plan, passed, accuracies) * warm

    def numbers(self, master: Master, epoch: int, done: int, factor: float) -> np.ndarray:
        """Return what the rule has to know to move the master by that round, (k,) float64: see `merging.rules`."""
        settings, rule = self.settings, self.rule
        if rule not in OPTIMIZERS:
            return np.array([master.momentum]) if rule == "block-momentum" else NONE
        t = (epoch - 1) * self.schedule.rounds + done + 1
        rate = settings.master_rate * (factor if settings.gradients else 1.0)
        shrink = rate if settings.gradients else 0.0  # workers that step have shrunk their weights
        own = OPTIMIZERS[rule].numbers(settings.hyper, rate, t)
        return np.array([float(self.from_weights), shrink * settings.l1, shrink * settings.l2, *own])
