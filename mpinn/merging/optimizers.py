"""What moves the master along a direction that all workers have found together: a gradient, or the mean of their steps.

The direction d is minus the gradient of the loss, the mean over the exemplars of a round (`--merge gradient`), or the
mean of the workers' steps, which FedOpt (Reddi et al. 2021, arXiv:2003.00295) and SlowMo (Wang et al. 2020,
arXiv:1910.00643) take for one: then the rate is that of the merge, and block momentum (`merging.block_momentum`) is
`nesterov` at rate 1, but for its rounding. t is the number of the round, from 1; beta^t is made by multiplications
alone (`power`).

All of it is float32, one operation after another, none fused: so the C in kernels/c/optimizers.c has the same bits. A
moment smaller than 2^-80 becomes 0, and so does a direction below 2^-38: no square is a denormal number.

To add an optimizer, write its function and put it into the table; the native kernel then declines it. In C it is one
`case`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray

SMALLEST = np.float32(2.0**-38)
LEAST_MOMENT = np.float32(2.0**-80)
FASTER, SLOWER = 1.2, 0.5  # of Rprop's steps
SHORTEST, LONGEST = 1e-6, 50.0


class Hyper(NamedTuple):
    """The settings of optimizers, by their usual names; each takes those that it knows."""

    momentum: float  # mu
    beta1: float
    beta2: float
    epsilon: float


class Optimizer(NamedTuple):
    """change(d, moments, c) returns what is added to the weights, and moves the moments, in place.

    d (n,), moments (len(moments), n) float32; c: what `numbers(hyper, rate, t)` returns, as float32.
    """

    change: Callable[[Array, Array, Array], Array]
    numbers: Callable[[Hyper, float, int], tuple[float, ...]]
    moments: tuple[str, ...]  # names of the vectors that it remembers
    hyper: dict[str, float]  # the settings that it has, and their usual values
    rate: float  # the usual one, of gradients
    merge_rate: float  # and of merged steps
    compares: bool = False  # whether the last of its numbers is 1 where the loss has risen since the round before


def power(base: float, exponent: int) -> float:
    """Return base^exponent by squaring: the same bits everywhere, which `pow` of C libraries does not promise."""
    found = 1.0
    while exponent:
        if exponent & 1:
            found *= base
        base *= base
        exponent >>= 1
    return found


def kept(moment: Array) -> Array:
    """Return a moment without what is next to nothing."""
    moment[np.abs(moment) < LEAST_MOMENT] = 0
    return moment


def sgd(d: Array, moments: Array, c: Array) -> Array:
    return c[0] * d


def momentum(d: Array, moments: Array, c: Array) -> Array:
    """V <- mu V + d; W <- W + rate V: heavy ball (Polyak 1964), as PyTorch has it."""
    (v,) = moments
    v[:] = kept(c[1] * v + d)
    return c[0] * v


def nesterov(d: Array, moments: Array, c: Array) -> Array:
    """V <- mu V + d; W <- W + rate (d + mu V): Nesterov 1983, in the form of Sutskever et al. 2013 (ICML)."""
    (v,) = moments
    v[:] = kept(c[1] * v + d)
    return c[0] * (d + c[1] * v)


def adagrad(d: Array, moments: Array, c: Array) -> Array:
    """S <- S + d^2; W <- W + rate d / (sqrt S + eps): Duchi, Hazan and Singer 2011 (JMLR 12)."""
    (s,) = moments
    s[:] = kept(s + d * d)
    return (c[0] * d) / (np.sqrt(s) + c[1])


def rmsprop(d: Array, moments: Array, c: Array) -> Array:
    """S <- beta2 S + (1 - beta2) d^2; W <- W + rate d / (sqrt S + eps): Tieleman and Hinton 2012 (Coursera, 6.5)."""
    (s,) = moments
    s[:] = kept(c[1] * s + c[2] * (d * d))
    return (c[0] * d) / (np.sqrt(s) + c[3])


def move_both(d: Array, moments: Array, c: Array) -> tuple[Array, Array]:
    """M <- beta1 M + (1 - beta1) d; S <- beta2 S + (1 - beta2) d^2; return both."""
    m, s = moments
    m[:] = kept(c[0] * m + c[1] * d)
    s[:] = kept(c[2] * s + c[3] * (d * d))
    return m, s


def adam(d: Array, moments: Array, c: Array) -> Array:
    """W <- W + rate / (1 - beta1^t) M / (sqrt(S / (1 - beta2^t)) + eps): Kingma and Ba 2015, arXiv:1412.6980."""
    m, s = move_both(d, moments, c)
    return (c[6] * m) / (np.sqrt(s) * c[4] + c[5])


def nadam(d: Array, moments: Array, c: Array) -> Array:
    """As Adam, with beta1 / (1 - beta1^(t + 1)) M + (1 - beta1) / (1 - beta1^t) d for M: Dozat 2016 (ICLR workshop).

    Without his schedule of beta1.
    """
    m, s = move_both(d, moments, c)
    return (c[6] * m + c[7] * d) / (np.sqrt(s) * c[4] + c[5])


def rprop(d: Array, moments: Array, c: Array) -> Array:
    """A step of its own for each weight, by the sign of d alone: Igel and Hüsken 2000 (NC).

    Longer while the sign stays, shorter where it changes; there d counts as 0 in this round and the next. Where the
    loss has risen, too, c[5] is 1, and the step before is taken back: iRprop+. Without losses to compare it is iRprop-.
    """
    before, step = moments
    if c[0] > 0:
        step[:] = c[0]
    turned = d * before
    back = np.where(turned < 0, -np.sign(before) * step, np.float32(0)) * c[5]
    step[:] = np.where(turned > 0, np.minimum(step * c[1], c[4]), step)
    step[:] = np.where(turned < 0, np.maximum(step * c[2], c[3]), step)
    before[:] = np.where(turned < 0, np.float32(0), d)
    return back + np.where(before > 0, step, np.where(before < 0, -step, np.float32(0)))


def numbers_of_both(h: Hyper, t: int) -> tuple[float, ...]:
    return (h.beta1, 1 - h.beta1, h.beta2, 1 - h.beta2, 1 / math.sqrt(1 - power(h.beta2, t)), h.epsilon)


def numbers_of_adam(h: Hyper, rate: float, t: int) -> tuple[float, ...]:
    return (*numbers_of_both(h, t), rate / (1 - power(h.beta1, t)))


def numbers_of_nadam(h: Hyper, rate: float, t: int) -> tuple[float, ...]:
    next_, now = 1 - power(h.beta1, t + 1), 1 - power(h.beta1, t)
    return (*numbers_of_both(h, t), rate * h.beta1 / next_, rate * (1 - h.beta1) / now)


def numbers_of_rprop(h: Hyper, rate: float, t: int) -> tuple[float, ...]:
    return (rate if t == 1 else 0.0, FASTER, SLOWER, SHORTEST, LONGEST, 0.0)


BOTH = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
HEAVY = {"momentum": 0.9}
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(sgd, lambda h, rate, t: (rate,), (), {}, 1.0, 1.0),
    "momentum": Optimizer(momentum, lambda h, rate, t: (rate, h.momentum), ("velocity",), HEAVY, 0.1, 0.3),
    "nesterov": Optimizer(nesterov, lambda h, rate, t: (rate, h.momentum), ("velocity",), HEAVY, 0.1, 0.3),
    "adagrad": Optimizer(adagrad, lambda h, rate, t: (rate, h.epsilon), ("squares",), {"epsilon": 1e-10}, 0.03, 0.1),
    "rmsprop": Optimizer(
        rmsprop,
        lambda h, rate, t: (rate, h.beta2, 1 - h.beta2, h.epsilon),
        ("squares",),
        {"beta2": 0.99, "epsilon": 1e-8},
        0.002,
        0.03,
    ),
    "adam": Optimizer(adam, numbers_of_adam, ("mean", "squares"), BOTH, 0.002, 0.03),
    "nadam": Optimizer(nadam, numbers_of_nadam, ("mean", "squares"), BOTH, 0.002, 0.03),
    "rprop": Optimizer(rprop, numbers_of_rprop, ("before", "step"), {}, 0.001, 0.001, compares=True),
}
SCALED = ("sgd", "momentum", "nesterov")  # those whose steps are as long as the direction is


def move(name: str, weights: Array, moments: Array, d: Array, a1: float, a2: float, numbers: Array) -> None:
    """Shrink the weights by the elastic net, and move them along d, in place.

    The shrink does not go through the moments, as in AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101). weights, d
    (n,), moments (moments, n) float32; a1, a2: the rate times lambda 1 and 2, float32; numbers (k,) float32.
    """
    d = np.where(np.abs(d) < SMALLEST, np.float32(0), d)
    with np.errstate(over="ignore", invalid="ignore"):  # of weights that run away
        change = OPTIMIZERS[name].change(d, moments, numbers)
        shrunk = weights - np.clip(weights, -np.float32(a1), np.float32(a1))
        weights[:] = (shrunk - np.float32(a2) * shrunk) + change
