"""Schedules of the learning rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.merging import rates
from mpinn.merging.rates import SCHEDULES, Plan, factor


@given(st.floats(0, 1))
def test_half_a_cosine(x: float) -> None:
    assert rates.half_cosine(x) == pytest.approx((1 + math.cos(math.pi * x)) / 2, abs=1e-9)


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 30), st.lists(st.floats(0, 100), max_size=30))
def test_a_factor_is_between_0_and_1(name: str, passed: float, accuracies: list[float]) -> None:
    assert 0 <= factor(Plan(name, epochs=15, decay=0.5, every=2), passed, accuracies) <= 1


@pytest.mark.parametrize(
    "plan, expected",
    [
        (Plan("constant"), [1, 1, 1, 1]),
        (Plan("step", decay=0.1, every=2), [1, 1, 0.1, 0.01]),
        (Plan("exponential", decay=0.5), [1, 1, 0.25, 0.0625]),
        (Plan("cosine", epochs=4), [1, (1 + math.cos(math.pi / 8)) / 2, 0.5, 0]),
        (Plan("one-cycle", epochs=4), [0.04, 0.04 + 0.96 * 0.125 / 0.3, (1 + math.cos(math.pi * 0.2 / 0.7)) / 2, 0]),
    ],
    ids=lambda value: value.name if isinstance(value, Plan) else "",
)
def test_schedules_by_hand(plan: Plan, expected: list[float]) -> None:
    """At the start, in the first epoch, after two epochs, after four."""
    found = [factor(plan, passed, []) for passed in (0.0, 0.5, 2.0, 4.0)]
    assert found == pytest.approx(expected, abs=1e-8)


def test_a_plateau_is_so_many_epochs_that_were_not_better() -> None:
    rising = [90.0, 91, 92, 93]
    assert rates.plateaus(rising, 2) == 0
    assert rates.plateaus([*rising, 93], 2) == 0
    assert rates.plateaus([*rising, 93, 92.9], 2) == 1
    assert rates.plateaus([*rising, 93, 92.9, 92, 91], 2) == 2
    assert rates.plateaus([*rising, 93, 94, 93, 93.5], 2) == 1
    assert factor(Plan("plateau", decay=0.5, every=2), 6.0, [*rising, 93, 92.9]) == 0.5


def test_warming_up_is_by_exemplars() -> None:
    assert [rates.warming(n, 400) for n in (100, 400, 500)] == [0.25, 1, 1]
    assert rates.warming(1, 0) == 1
