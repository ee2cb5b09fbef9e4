"""Which way a rank writes what others read: the one that took less time when both were tried."""

from collections.abc import Callable

import pytest

from mpinn.parallel import passing_on
from mpinn.parallel.passing_on import PERIOD, TRIAL, WORTH, PassingOn


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Callable[[PassingOn, float], None]:
    """Let writing take so many seconds."""
    now = [0.0]
    monkeypatch.setattr(passing_on, "perf_counter", lambda: now[0])

    def take(passing: PassingOn, seconds: float) -> None:
        now[0] += 1000.0  # of something else
        passing.begin()
        now[0] += seconds
        passing.end()

    return take


@pytest.mark.parametrize(
    ("in_place", "past", "chosen"),
    [(1.0, 2.0, False), (2.0, 1.0, True), (1.0, 1.0, False), (WORTH * 0.99, 1.0, False), (WORTH * 1.01, 1.0, True)],
)
def test_both_ways_are_tried_now_and_then_and_the_faster_is_kept(
    in_place: float, past: float, chosen: bool, take: Callable[[PassingOn, float], None]
) -> None:
    seconds, found, passing = (in_place, past), [], PassingOn()
    for _ in range(3 * PERIOD):
        found.append(passing.past)
        for _ in range(2):  # sums, and the master
            take(passing, seconds[passing.past])
        passing.next_round()
    assert found == 3 * ([False] * TRIAL + [True] * TRIAL + [chosen] * (PERIOD - 2 * TRIAL))


def test_only_the_last_round_of_a_trial_counts_and_cores_may_move(take: Callable[[PassingOn, float], None]) -> None:
    """The first finds lines where the other way has left them; and what was found holds until the next trial."""
    passing, seconds = PassingOn(), (1.0, 2.0)
    for number in range(2 * PERIOD):
        if number == PERIOD // 2:
            seconds = (3.0, 2.0)
        first_of_trial = number % PERIOD in (0, TRIAL)
        take(passing, 100.0 if first_of_trial else seconds[passing.past])
        assert passing.past == (number % PERIOD in range(TRIAL, 2 * TRIAL) or number >= PERIOD + 2 * TRIAL)
        passing.next_round()
