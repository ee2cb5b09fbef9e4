"""Optimizers: each against its formula as published, in float64 and written out here."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mpinn.merging import optimizers
from mpinn.merging.optimizers import OPTIMIZERS, Hyper, power

Array = np.ndarray
RATE, STEPS, SIZE = 0.01, 12, 50
HYPER = Hyper(momentum=0.9, beta1=0.9, beta2=0.99, epsilon=1e-6)


def published(name: str, gradients: list[Array]) -> Iterator[Array]:
    """Yield theta after each step of minimising along gradients: the algorithms as their papers state them."""
    theta, mu, b1, b2, eps = np.zeros(SIZE), *HYPER
    v = m = s = before = np.zeros(SIZE)
    size = np.full(SIZE, RATE)
    for t, g in enumerate(gradients, start=1):
        match name:
            case "sgd":
                theta = theta - RATE * g
            case "momentum":
                v = mu * v - RATE * g
                theta = theta + v
            case "nesterov":  # Sutskever et al. 2013, in terms of the point at which the gradient is taken
                v = mu * v - RATE * g
                theta = theta + mu * v - RATE * g
            case "adagrad":
                s = s + g**2
                theta = theta - RATE * g / (np.sqrt(s) + eps)
            case "rmsprop":
                s = b2 * s + (1 - b2) * g**2
                theta = theta - RATE * g / (np.sqrt(s) + eps)
            case "adam":
                m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2
                theta = theta - RATE * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps)
            case "nadam":
                m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2
                ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
                theta = theta - RATE * ahead / (np.sqrt(s / (1 - b2**t)) + eps)
            case "rprop":
                for i in range(SIZE):
                    if g[i] * before[i] > 0:
                        size[i] = min(1.2 * size[i], 50)
                    elif g[i] * before[i] < 0:
                        size[i], g[i] = max(0.5 * size[i], 1e-6), 0
                    theta[i] -= math.copysign(size[i], g[i]) if g[i] else 0
                before = g
        yield theta.copy()


def gradients(seed: int) -> list[Array]:
    """Return some that keep their sign for a while, of very different sizes, and some that are 0."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-4, 1, SIZE)
    found = [scale * (np.sin(0.4 * t + np.arange(SIZE)) + 0.3 * rng.standard_normal(SIZE)) for t in range(STEPS)]
    for one in found:
        one[rng.random(SIZE) < 0.05] = 0
    return [one.astype(np.float32).astype(np.float64) for one in found]


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_steps_are_those_of_the_published_formula(name: str) -> None:
    weights = np.zeros(SIZE, np.float32)
    moments = np.zeros((len(OPTIMIZERS[name].moments), SIZE), np.float32)
    expected = list(published(name, gradients(1)))
    for t, g in enumerate(gradients(1), start=1):
        c = np.array(OPTIMIZERS[name].numbers(HYPER, RATE, t), np.float32)
        optimizers.move(name, weights, moments, (-g).astype(np.float32), 0.0, 0.0, c)
        np.testing.assert_allclose(weights, expected[t - 1], rtol=2e-5, atol=2e-6, err_msg=f"step {t}")
    assert np.abs(weights).max() > 5 * RATE or name == "sgd"


def test_rprop_takes_a_step_back_where_the_sign_turns_and_the_loss_has_risen() -> None:
    """Algorithm 3 of Igel and Hüsken 2000, iRprop+, written out here; it differs from iRprop-."""
    moments, plain_moments = np.zeros((2, 2, SIZE), np.float32)
    weights, plain = np.zeros((2, SIZE), np.float32)
    theta, before, last, size = np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE), np.full(SIZE, RATE)
    for t, g in enumerate(gradients(1), start=1):
        own = OPTIMIZERS["rprop"].numbers(HYPER, RATE, t)
        risen = t % 3 == 0
        optimizers.move("rprop", plain, plain_moments, (-g).astype(np.float32), 0.0, 0.0, np.array(own, np.float32))
        c = np.array([*own[:-1], float(risen)], np.float32)
        optimizers.move("rprop", weights, moments, (-g).astype(np.float32), 0.0, 0.0, c)
        for i in range(SIZE):
            if g[i] * before[i] > 0:
                size[i] = min(1.2 * size[i], 50)
                last[i] = -math.copysign(size[i], g[i])
                theta[i] += last[i]
            elif g[i] * before[i] < 0:
                size[i] = max(0.5 * size[i], 1e-6)
                theta[i] -= last[i] if risen else 0
                g[i] = 0
            else:
                last[i] = -math.copysign(size[i], g[i]) if g[i] else 0
                theta[i] += last[i]
        before = g
        np.testing.assert_allclose(weights, theta, rtol=2e-5, atol=2e-6, err_msg=f"step {t}")
    assert np.abs(weights - plain).max() > RATE


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_elastic_net_shrinks_and_does_not_go_through_the_moments(name: str) -> None:
    weights = np.array([1.0, -1.0, 1e-4], np.float32)
    moments = np.zeros((len(OPTIMIZERS[name].moments), 3), np.float32)
    c = np.array(OPTIMIZERS[name].numbers(HYPER, RATE, 1), np.float32)
    optimizers.move(name, weights, moments, np.zeros(3, np.float32), 1e-3, 1e-2, c)
    np.testing.assert_allclose(weights, [0.999 * 0.99, -0.999 * 0.99, 0.0], rtol=1e-6)
    assert not moments[: 1 if name != "rprop" else 0].any()


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_no_number_becomes_denormal(name: str) -> None:
    """Directions die away; moments follow, to 0 in the end or to where they are normal numbers."""
    weights = np.ones(8, np.float32)
    moments = np.zeros((len(OPTIMIZERS[name].moments), 8), np.float32)
    tiny = float(np.finfo(np.float32).tiny)
    for t in range(1, 2000):
        d = (10.0 ** -(t / 20) * np.ones(8)).astype(np.float32)
        c = np.array(OPTIMIZERS[name].numbers(HYPER, RATE, t), np.float32)
        optimizers.move(name, weights, moments, d, 0.0, 0.0, c)
        assert ((moments == 0) | (np.abs(moments) >= tiny)).all()


def test_a_direction_that_is_no_number_does_not_vanish() -> None:
    for name, one in OPTIMIZERS.items():
        weights, moments = np.ones(1, np.float32), np.zeros((len(one.moments), 1), np.float32)
        c = np.array(one.numbers(HYPER, RATE, 1), np.float32)
        optimizers.move(name, weights, moments, np.array([np.nan], np.float32), 0.0, 0.0, c)
        assert name == "rprop" or np.isnan(weights).all()


@pytest.mark.parametrize("base", [0.0, 0.5, 0.9, 0.999])
def test_a_power_is_a_power(base: float) -> None:
    for exponent in (0, 1, 2, 3, 10, 1000):
        assert power(base, exponent) == pytest.approx(base**exponent, rel=1e-13)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_what_an_optimizer_has_is_what_its_numbers_depend_on(name: str) -> None:
    """So no setting is offered that does nothing, and none does something unseen."""
    numbers: Callable[[Hyper], tuple[float, ...]] = lambda hyper: OPTIMIZERS[name].numbers(hyper, RATE, 3)  # noqa: E731
    for setting in Hyper._fields:
        changed = HYPER._replace(**{setting: 0.5})
        assert (numbers(changed) != numbers(HYPER)) == (setting in OPTIMIZERS[name].hyper)
