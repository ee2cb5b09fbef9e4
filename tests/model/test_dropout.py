"""Dropout: which units are dropped, and that what is left has the mean and the variance of before."""

import numpy as np
import pytest

from mpinn.model import dropout
from mpinn.model.activations import ACTIVATIONS
from mpinn.model.dropout import Drop


def test_the_draws_are_those_of_splitmix64() -> None:
    """The first numbers of the generator from 1234567, as its authors' reference program prints them."""
    states = [(1234567 + dropout.GOLDEN * n) & dropout.WORD for n in (1, 2, 3)]
    assert [dropout.mixed(state) for state in states] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_a_share_of_the_units_is_dropped_and_others_for_every_exemplar(rate: float) -> None:
    masks = np.array([dropout.kept(dropout.state_of(1, 1, exemplar, 1), 100, rate) for exemplar in range(300)])
    assert 1 - masks.mean() == pytest.approx(rate, abs=0.01)
    spread = np.sqrt(rate * (1 - rate) / 300)
    assert np.abs(1 - masks.mean(axis=0) - rate).max() <= 5 * spread
    assert rate == 0 or len({mask.tobytes() for mask in masks}) > 250


def test_everything_that_a_draw_depends_on_changes_it() -> None:
    about = (1, 2, 3, 4)
    others = [tuple(part + (i == place) for i, part in enumerate(about)) for place in range(4)]
    assert len({dropout.state_of(*one) for one in (about, *others, (2, 1, 3, 4))}) == 6


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate: float) -> None:
    """Of SELU's values of normal net inputs, which have mean 0 and variance 1."""
    rng = np.random.default_rng(0)
    phi = ACTIVATIONS["selu"].function(rng.standard_normal(10**6), 0.0)
    drop = Drop.of("selu", rate)
    given = np.where(rng.random(len(phi)) >= rate, drop.scale * phi + drop.shift, drop.dropped)
    assert given.mean() == pytest.approx(0, abs=0.01) and given.var() == pytest.approx(1, abs=0.02)


def test_plain_dropout_keeps_the_mean() -> None:
    drop = Drop.of("relu", 0.25)
    assert 0.75 * drop.scale == pytest.approx(1) and (drop.shift, drop.dropped) == (0, 0)
