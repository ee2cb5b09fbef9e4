"""Suites: what their files may say, what they come to, and what --set changes."""

from pathlib import Path

import pytest
import yaml

from bench.harness import oracle, suite
from bench.harness.suite import load, names, points
from bench.report import kinds
from bench.report.sections import TABLES
from mpinn.hosts.library import find
from mpinn.system.errors import UsageError
from tests.bench.suites import write_suite

BOARD = find("banana-pi-m3")


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("host", ["banana-pi-m3", "lenovo-yoga-2", "detected"])
def test_every_suite_that_ships_comes_to_points_with_names_of_their_own(name: str, host: str) -> None:
    found = points(load(name, []), find(host))
    assert found and len({point.name for point in found}) == len(found)
    for point in found:
        assert point.ranks <= find(host).mpi.max_ranks


def test_ranks_of_a_cluster_are_those_of_its_hosts() -> None:
    found = points(load("network", []), BOARD, hosts=3)
    ranks = {point.experiment: point.ranks for point in found}
    assert ranks == {"formats": 3, "overlap": 3, "all-ranks": 3 * BOARD.mpi.slots}


def test_every_kind_of_figure_that_a_suite_may_ask_for_is_one_that_the_report_draws() -> None:
    assert set(suite.KINDS) == set(kinds.KINDS) and set(TABLES) <= set(suite.KINDS)


def test_lists_make_a_point_of_each_combination(tmp_path: Path) -> None:
    content = yaml.safe_load(write_suite(tmp_path).read_text())
    content["experiments"] = {
        "grid": {
            "title": "Grid",
            "ranks": ["slots", 1],
            "workers": [16, "ranks"],
            "options": {"worker_batch": [10, 20], "layers": [[144, 20, 5], [144, 30, 5]], "learning_rate": 0.5},
        }
    }
    (tmp_path / "grid.yml").write_text(yaml.safe_dump(content))
    found = points(load(str(tmp_path / "grid.yml"), []), BOARD)
    assert len(found) == 2 * 2 * 2 * 2
    assert {(point.ranks, point.workers) for point in found} == {(1, 16), (1, 1), (8, 16), (8, 8)}
    first = found[0]
    assert first.name == "grid/ranks=1,workers=16,worker_batch=10,layers=144-20-5"
    assert first.options["learning_rate"] == 0.5 and first.options["epochs"] == 3


def test_a_schedule_ends_with_the_run_and_not_with_its_oracle(tmp_path: Path) -> None:
    options = {"schedule": ["constant", "cosine", "one-cycle"], "epochs": 7}
    content = {"title": "x", "description": "x", "repeats": 1, "experiments": {"x": {"title": "x", "options": options}}}
    (tmp_path / "x.yml").write_text(yaml.safe_dump(content))
    found = points(load(str(tmp_path / "x.yml"), []), BOARD)
    assert [point.options.get("schedule_epochs") for point in found] == [None, 7, 7]
    words = oracle.command(found[1], 0, 1, tmp_path / "r.json")
    assert words[words.index("--schedule-epochs") + 1] == "7" and words[words.index("--epochs") + 1] == "1"


def test_host_stands_for_the_profiles_ranks() -> None:
    ranks = [point.ranks for point in points(load("scaling", []), BOARD) if point.experiment == "growing"]
    assert ranks == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    "change, get, wanted",
    [
        ("repeats=7", lambda p: p.repeats, {7}),
        ("epochs=9", lambda p: p.options["epochs"], {9}),
        ("ranks=[1, 2, 4]", lambda p: p.ranks, {1, 2, 4}),
        ("workers=3", lambda p: p.workers, {3}),
        ("experiments.strong.repeats=5", lambda p: p.repeats, {2, 5}),
        ("options.worker_batch=25", lambda p: p.options["worker_batch"], {25}),
    ],
)
def test_set_changes_the_points(tmp_path: Path, change: str, get, wanted: set[int]) -> None:  # type: ignore[no-untyped-def]
    found = points(load(str(write_suite(tmp_path)), [change]), BOARD)
    assert {get(point) for point in found} == wanted


def test_an_included_suites_experiments_can_be_changed_too() -> None:
    found = points(load("paper", ["experiments.messages.ranks=3", "epochs=2"]), BOARD)
    assert [point.ranks for point in found if point.experiment == "messages"] == [3]
    assert {point.options["epochs"] for point in found if point.program == "train"} == {2}


@pytest.mark.parametrize(
    "change", ["repeats", "repeats=", "nonsense=3", "experiments.none.ranks=3", "epochs=[", "repeats=-1"]
)
def test_a_change_that_cannot_be_made_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(UsageError):
        points(load(str(write_suite(tmp_path)), [change]), BOARD)


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("repeats", 0, "repeats"),
        ("title", None, "title"),
        ("surprise", 1, "surprise"),
        ("experiments", {}, "experiments"),
        ("experiments", {"a": {"title": "A", "ranks": 0}}, "experiments.a.ranks"),
        ("experiments", {"a": {"title": "A", "workers": "many"}}, "experiments.a.workers"),
        ("experiments", {"a": {"title": "A", "options": {"epoch": 3}}}, "did you mean 'epochs'"),
        ("experiments", {"a": {"title": "A", "options": {"epochs": "three"}}}, "experiments.a.options.epochs"),
        ("experiments", {"a": {"title": "A", "options": {"result": "x"}}}, "experiments.a.options.result"),
        ("experiments", {"a": {"title": "A", "program": "os;rm"}}, "experiments.a.program"),
        ("experiments", {"a": {"title": "A", "figures": [{"kind": "pie"}]}}, "experiments.a.figures[0].kind"),
        ("experiments", {"a": 3}, "experiments.a"),
        ("experiments", [1], "experiments: expected a mapping"),
        ("options", [1], "options: expected a mapping"),
        ("experiments", {"a": {"title": "A", "options": [1]}}, "options: expected a mapping"),
        ("experiments", {"a": {"title": "A", "lengthen": "epoch"}}, "lengthen: no option 'epoch'"),
        ("experiments", {"a": {"title": "A", "program": "x", "options": {"n": 1}, "lengthen": "m"}}, "no option 'm'"),
    ],
)
def test_a_bad_suite_is_refused_by_file_and_key(tmp_path: Path, key: str, value: object, said: str) -> None:
    for changes in ({}, {"include": ["lessons"]} if value else {}):
        path = write_suite(tmp_path, **{key: value, **changes})
        with pytest.raises(UsageError) as refused:
            points(load(str(path), []), BOARD)
        assert str(path) in str(refused.value) or "experiments" in str(refused.value)
        assert said in str(refused.value)
    with pytest.raises(UsageError):
        points(load(str(path), ["worker_batch=1"]), BOARD)


def test_an_unknown_suite_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="did you mean 'scaling'"):
        load("scalings", [])


def test_options_of_training_that_bench_gives_itself_are_not_a_suites() -> None:
    assert set(suite.RESERVED) >= {"workers", "seed", "result"}
