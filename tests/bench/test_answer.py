"""The answer that a report opens with."""

from pathlib import Path
from typing import Any

import pytest

from bench.analysis.results import Run
from bench.report import answer
from tests.bench.record import RECORD

MERIT = {"seconds": "1.2", "target": "97", "how": "2 ranks"}


def run(*records: dict[str, Any], figures: tuple[dict[str, Any], ...] = ({"kind": "speedup"},), cores: int = 4) -> Run:
    profile = {"title": "a board", "machine": {"clusters": [{"cores": cores - 1}, {"cores": 1}]}}
    suite = {"title": "Scaling", "experiments": {"p": {"title": "Strong", "figures": list(figures)}}}
    sessions = [{"started": "2026-11-25T23:00:00+00:00"}, {"started": "2026-11-26T01:00:00+00:00"}]
    return Run(Path(), {"suite": suite, "profile": profile}, sessions, {}, list(records))


def measured(ranks: int, seconds: float, **changes: Any) -> dict[str, Any]:
    metrics = {"epoch_seconds": seconds, "native_microseconds": 3.14159}
    return RECORD | {"ranks": ranks, "point": f"p/ranks={ranks}", "metrics": metrics} | changes


def test_the_title_names_suite_machine_and_day() -> None:
    assert answer.title(run()) == "Scaling: a board, 2026-11-26"


def test_where_all_is_right_it_works_and_says_how_fast() -> None:
    found = run(measured(1, 1.0), measured(2, 0.6), measured(4, 0.4), measured(8, 0.1))
    assert answer.sentences(found, MERIT) == [
        "It works: all 4 results are right.",
        "On 4 ranks an epoch takes 0.4 s, 2.50 times as fast as on one: efficiency 62%.",  # eight have no core each
        "1.2 s of training to 97% on the test set (2 ranks).",
        "Nothing disturbed them, and all are long enough to be official.",
    ]


def test_an_unstable_speedup_is_called_so() -> None:
    found = run(measured(1, 1.0), measured(1, 1.3, repeat=1), measured(2, 0.5), measured(2, 0.51, repeat=1))
    assert answer.speed(found).endswith("efficiency 114%. It is unstable: repeats differ by more than a tenth.")


def test_a_wrong_result_is_the_first_thing_said_and_no_speed_of_it() -> None:
    found = run(measured(1, 1.0), measured(4, 0.1, verdict="INVALID"))
    said = answer.sentences(found, None)
    assert said[0] == "It does not work as it should: 1 of 2 results is wrong (INVALID)."
    assert not any("On 4 ranks" in one for one in said)


def test_what_was_disturbed_or_too_short_is_said() -> None:
    found = run(measured(1, 1.0, verdict="DEGRADED"), measured(2, 0.6, official=False), measured(2, 0.6, repeat=1))
    assert answer.sentences(found, None)[-1] == (
        "But 1 of 3 results was disturbed (DEGRADED) and 1 is too short to be official."
    )


@pytest.mark.parametrize(
    ("watts", "meter", "how"),
    [
        (20.0, None, "at 20 W, as stated"),
        (None, "rapl", "of the processor, without memory and power supply"),
        (None, "ina", "of the board, by its sensors"),
    ],
)
def test_what_an_epoch_costs_is_said_with_what_was_measured(watts: float | None, meter: str | None, how: str) -> None:
    power = {"watts": 20.0, "exemplars_per_joule": 5000.0, "epoch_joules": 12.0, "epoch_seconds": 0.6}
    hosts = [RECORD["hosts"][0] | {"meter": meter}] if RECORD["hosts"] else [{"meter": meter}]
    found = run(measured(1, 1.0), measured(2, 0.6, metrics=power, hosts=hosts))
    found.plan["watts"] = watts
    assert answer.speed(found).endswith(f"efficiency 83%. It takes 12 J ({how}): 5,000 exemplars a joule.")
    assert "J (" not in answer.speed(run(measured(1, 1.0), measured(2, 0.6)))


@pytest.mark.parametrize("figures", [({"kind": "table", "y": ["nothing", "native_microseconds"]},)])
def test_without_a_speedup_the_first_figure_is_told(figures: tuple[dict[str, Any], ...]) -> None:
    assert answer.speed(run(measured(1, 1.0), figures=figures)) == "Strong (ranks=1): native, µs 3.142."
    several = run(*(measured(ranks, 1.0) for ranks in (1, 2, 4, 8)), figures=figures)
    assert answer.speed(several) == "Strong (ranks=4): native, µs 3.142."  # eight have no core each


def test_one_core_or_nothing_at_all() -> None:
    assert answer.speed(run(measured(1, 1.0), measured(2, 0.6), cores=1)) == ""
    assert answer.sentences(run(), None) == ["Nothing was measured yet."]
