"""What a run does beyond its plan: longer runs, disturbed ones again, more repeats of what is unstable."""

from typing import Any

import pytest

from bench.harness import steps
from bench.harness.suite import Point

MOST = 8  # repeats


def point(name: str = "a", **changes: Any) -> Point:
    about = dict(name=name, experiment="e", program="train", mpi=True, ranks=1, workers=1, options={"epochs": 5})
    about |= dict(repeats=3, seeds=False, oracle_epochs=None, minimum_seconds=2.0, lengthen="epochs")
    about |= dict(figures=("epoch_seconds",), seconds=None, wait_policy=None, checks=())
    return Point(**{**about, **changes})


def record(repeat: int, value: float = 1.0, name: str = "a", **changes: Any) -> dict[str, Any]:
    good = dict(point=name, repeat=repeat, verdict="VALID", official=True, seconds=3.0, length=None)
    return good | {"metrics": {"epoch_seconds": value}} | changes


STEADY = [record(repeat, 1 + repeat / 100) for repeat in range(3)]


def asked(*found: dict[str, Any], **changes: Any) -> list[tuple[str, int]]:
    return [(one.name, repeat) for one, repeat in steps.more([point(**changes)], found, MOST)]


def test_every_repeat_runs_each_point_once_in_an_order_of_its_own() -> None:
    points = [point(name) for name in "abcdef"] + [point("once", repeats=1)]
    found = steps.planned(points)
    assert [repeat for _, repeat in found] == [0] * 7 + [1] * 6 + [2] * 6
    names = ["".join(one.name[0] for one, repeat in found if repeat == number) for number in (1, 2)]
    assert sorted(names[0]) == sorted(names[1]) == list("abcdef")
    assert names[0] != names[1]


def test_nothing_is_left_where_all_is_good() -> None:
    assert asked(*STEADY) == []


@pytest.mark.parametrize("bad", [{"verdict": "DEGRADED"}, {"official": False}])
def test_what_was_disturbed_or_too_short_is_measured_again_at_most_three_times(bad: dict[str, Any]) -> None:
    disturbed = record(1, **bad)
    assert asked(STEADY[0], disturbed, STEADY[2]) == [("a", 1)]
    assert asked(STEADY[0], disturbed, STEADY[2], disturbed) == [("a", 1)]
    assert asked(STEADY[0], disturbed, STEADY[2], disturbed, disturbed) == []
    assert asked(STEADY[0], disturbed, STEADY[2], STEADY[1]) == []  # the last one stands


def test_points_are_asked_for_together_in_a_seeded_order() -> None:
    points = [point("left out"), *map(point, "abcdef")]
    found = [record(0, name=name, verdict="DEGRADED") for name in "abcdef"] + [record(1, name="a", official=False)]
    turn = steps.more(points, found, MOST)
    assert sorted((one.name, repeat) for one, repeat in turn) == [("a", 0), ("a", 1), *((name, 0) for name in "bcdef")]
    assert turn == steps.more(points, found, MOST) != sorted(turn, key=lambda step: (step[0].name, step[1]))
    assert steps.planned(points) == steps.planned(points)


def test_an_unstable_point_has_one_repeat_more_up_to_the_most() -> None:
    wide = [record(repeat, 1 + repeat % 2 / 5) for repeat in range(MOST)]
    assert asked(*wide[:3]) == [("a", 3)]
    assert asked(*wide[: MOST - 1]) == [("a", MOST - 1)]
    assert asked(*wide) == []
    assert asked(*wide, repeats=MOST + 1) == [("a", MOST)]  # more than the most were planned
    assert asked(*wide[:3], figures=("test_accuracy",)) == []  # a figure that no record has


@pytest.mark.parametrize(("most", "enough"), [(1.048, True), (1.055, False)])
def test_a_point_is_steady_where_the_ratio_of_two_such_is_stable(most: float, enough: bool) -> None:
    """Of three values the interval is all that they span: 4.7 and 5.4 % of the median, half of 10 % or more."""
    values = (1.0, (1 + most) / 2, most)
    assert asked(*[record(repeat, value) for repeat, value in enumerate(values)]) == ([] if enough else [("a", 3)])


def test_only_what_measures_speed_is_measured_better() -> None:
    assert asked(record(0, verdict="DEGRADED"), lengthen=None) == []
    assert asked(record(0, verdict="INVALID"), record(1, verdict="DEGRADED")) == []
    assert asked() == []  # a point that was left out


@pytest.mark.parametrize(
    "seconds, length, expected",
    [
        (1.0, None, 1 + 12),  # 4 measured epochs took 1 second: 2 need 8, and a margin of a half
        (1.0, 9, 1 + 24),  # 8 took one second
        (0.001, None, 100),  # never more than 20 times as long
    ],
)
def test_a_short_run_is_made_long_enough(seconds: float, length: int | None, expected: int) -> None:
    short = record(0, official=False, seconds=seconds, length=length)
    assert steps.length_by(point(), [short], warm_up=1) == expected
    assert steps.of_length(point(), expected).options == {"epochs": expected}


def test_a_length_that_is_enough_is_kept_and_the_last_run_of_the_point_decides() -> None:
    found = [record(0, official=False, seconds=1.0), record(1, length=11), record(0, name="b", official=False)]
    assert steps.length_by(point(), found, 1) == 11
    assert steps.length_by(point(), [], 1) is None and steps.length_by(point(lengthen=None), found, 1) is None
    assert steps.length_by(point(), [record(0)], 1) == 5
    assert steps.length_by(point(), [record(0, seconds=0.0, official=False)], 1) is None  # it failed
    assert steps.length_by(point(options={}), [record(0)], 1) == 5  # the default of training
    assert steps.of_length(point(), None) == point()


def test_a_program_has_no_epochs_to_warm_up() -> None:
    program = point(program="kernel_speed", lengthen="turns", options={"turns": 4})
    assert steps.length_by(program, [record(0, official=False, seconds=1.0)], 1) == 12
