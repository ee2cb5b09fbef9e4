"""How the learning rate changes in the course of a run: a factor of it for each round, between 0 and 1.

Made of multiplications and additions alone, so that it is the same on every machine. To add a schedule, write its
function and put it into the table.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mpinn.merging.optimizers import power

RISE = 0.3  # of a cycle: from BEGIN to the full rate
BEGIN = 0.04


class Plan(NamedTuple):
    """A schedule with its settings, None where it has them not."""

    name: str
    epochs: int | None = None  # over which the rate falls to nothing
    decay: float | None = None  # by which the rate is multiplied
    every: int | None = None  # epochs between two such steps, or without progress


class Usual(NamedTuple):
    """What a schedule's settings are by default; None: it has no such setting."""

    decay: float | None = None
    every: int | None = None
    to_the_end: bool = False  # whether it falls to nothing, at the end of the run or of --schedule-epochs


# passed: epochs, with fractions; accuracies: on the training set, of the epochs that are done
Factor = Callable[[Plan, float, Sequence[float]], float]


def half_cosine(x: float) -> float:
    """Return (1 + cos(pi x)) / 2 for x from 0 to 1, within 1e-9: cos^2 of half the angle, by its Taylor series."""
    angle = 1.5707963267948966 * min(x, 1.0)
    term = cosine = 1.0
    for n in range(1, 9):
        term *= -angle * angle / ((2 * n - 1) * (2 * n))
        cosine += term
    return cosine * cosine


def one_cycle(x: float) -> float:
    """Rise and fall to nothing: Smith and Topin 2018, arXiv:1708.07120; as PyTorch's OneCycleLR, but straight up."""
    return BEGIN + (1 - BEGIN) * x / RISE if x < RISE else half_cosine((x - RISE) / (1 - RISE))


def plateaus(accuracies: Sequence[float], every: int) -> int:
    """Return how often `every` epochs in a row have not been better than the best before them."""
    best, waited, found = -1.0, 0, 0
    for accuracy in accuracies:
        waited = 0 if accuracy > best else waited + 1
        best = max(best, accuracy)
        if waited == every:
            found, waited = found + 1, 0
    return found


# name -> its usual settings, and the factor. cosine: Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts
SCHEDULES: dict[str, tuple[Usual, Factor]] = {
    "constant": (Usual(), lambda plan, passed, accuracies: 1.0),
    "step": (
        Usual(0.1, 10),
        lambda plan, passed, accuracies: power(plan.decay or 0.0, int(passed) // (plan.every or 1)),
    ),
    "exponential": (Usual(0.95), lambda plan, passed, accuracies: power(plan.decay or 0.0, int(passed))),
    "cosine": (Usual(to_the_end=True), lambda plan, passed, accuracies: half_cosine(passed / (plan.epochs or 1))),
    "one-cycle": (Usual(to_the_end=True), lambda plan, passed, accuracies: one_cycle(passed / (plan.epochs or 1))),
    "plateau": (
        Usual(0.5, 3),
        lambda plan, passed, accuracies: power(plan.decay or 0.0, plateaus(accuracies, plan.every or 1)),
    ),
}


def factor(plan: Plan, passed: float, accuracies: Sequence[float]) -> float:
    """Return the factor of the learning rate after so many epochs; accuracies: of those that are done."""
    return SCHEDULES[plan.name][1](plan, passed, accuracies)


def warming(exemplars: int, warm_up: int) -> float:
    """Return the factor of a round with which so many exemplars have been learned, at first over `warm_up` of them."""
    return min(1.0, exemplars / warm_up) if warm_up else 1.0
