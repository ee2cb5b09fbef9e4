"""Analysis: what records come to, on records made by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.analysis import results
from bench.analysis.results import Run
from bench.harness import oracle, records
from bench.harness.records import Record
from bench.harness.suite import Check, Point
from mpinn.system.errors import UsageError
from tests.bench.record import RECORD


def record(point: str, repeat: int, seconds: float, **changes: Any) -> Record:
    name, _, settings = point.partition("/")
    ranks = int(settings.partition("=")[2] or 1)
    return {
        "experiment": name,
        "point": point,
        "repeat": repeat,
        "program": "train",
        "ranks": ranks,
        "workers": ranks,
        "options": {},
        "verdict": "VALID",
        "official": True,
        "metrics": {"epoch_seconds": seconds},
        "series": {"test_accuracy": [90.0, None, 97.5], "train_seconds": [seconds] * 3},
    } | changes


RECORDS = [
    record(f"strong/ranks={ranks}", repeat, 10 / ranks + repeat / 100) for repeat in range(3) for ranks in (16, 2, 1)
]


def test_rows_are_ordered_by_number_and_not_by_word() -> None:
    found = results.rows(RECORDS, "strong", "epoch_seconds")
    assert [row.records[0]["ranks"] for row in found] == [1, 2, 16]
    assert found[0].spread == (10, 10.01, 10.02, 3)


def test_a_row_is_of_one_experiment_and_of_the_records_that_have_the_metric() -> None:
    others = [record("weak/ranks=1", 0, 3.0), record("strong/ranks=1", 3, 0.0, metrics={"memory_mib": 7.0})]
    found = results.rows([*RECORDS, *others], "strong", "epoch_seconds")
    assert [(row.point, row.spread.repeats) for row in found] == [(f"strong/ranks={n}", 3) for n in (1, 2, 16)]
    assert found[0].values("epoch_seconds").tolist() == [10.0, 10.01, 10.02]
    assert [row.point for row in results.rows(others, "strong", "memory_mib")] == ["strong/ranks=1"]
    assert list(results.by_point([*RECORDS, *others])) == [*(f"strong/ranks={n}" for n in (16, 2, 1)), "weak/ranks=1"]


def test_rows_are_ordered_by_program_ranks_workers_words_and_numbers() -> None:
    ordered = [
        record("e/1", 0, 1.0, program="peers.go", ranks=9),
        record("e/2", 0, 1.0, program="train", ranks=1, workers=None),
        record("e/3", 0, 1.0, ranks=1, workers=1, options={"layers": [784, 9, 10], "merge": "block-momentum"}),
        record("e/4", 0, 1.0, ranks=1, workers=1, options={"layers": [784, 100, 10], "merge": "block-momentum"}),
        record("e/5", 0, 1.0, ranks=1, workers=1, options={"layers": [784, 9, 10], "merge": "mean"}),
        record("e/6", 0, 1.0, ranks=1, workers=2),
        record("e/7", 0, 1.0, ranks=2, workers=1),
    ]
    for one in ordered:
        one["experiment"] = "e"
    for found in (ordered, ordered[::-1]):
        assert [row.point for row in results.rows(found, "e", "epoch_seconds")] == [f"e/{n}" for n in range(1, 8)]


def test_what_points_may_differ_in() -> None:
    one = record("e/ranks=2", 0, 1.0, workers=8, options={"worker_batch": 50, "ranks": 4})
    asked = ("workers", "worker_batch", "ranks", "merge", "law", "degree")
    assert [results.setting(one, name) for name in asked] == [8, 50, 4, None, 3200, 8]
    assert results.setting(record("e/ranks=1", 0, 1.0, workers=8), "law") == 6400  # 100 where nothing is said
    assert results.setting(record("e/ranks=2", 0, 1.0, workers=None), "degree") == 2
    assert results.setting(record("e/ranks=1", 0, 1.0, workers=None), "degree") == 1
    assert results.setting(record("e/ranks=3", 0, 1.0, workers=2), "degree") == 3


def test_a_result_directory_is_opened_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="makes them"):
        results.open_run(tmp_path / "absent")
    records.append(tmp_path, RECORD)
    run = results.open_run(tmp_path)
    assert (run.plan, run.sessions, run.left_out) == ({}, [], {})
    assert [one["point"] for one in run.records] == ["p"]
    (tmp_path / "left_out.json").write_text(json.dumps({"go": "no Go"}))
    assert results.open_run(tmp_path).left_out == {"go": "no Go"}
    (tmp_path / "left_out.json").write_text("{")
    with pytest.raises(UsageError, match=r"left_out\.json: "):
        results.open_run(tmp_path)


def test_a_row_is_unofficial_if_any_run_behind_it_is() -> None:
    short = record("strong/ranks=1", 9, 1.0, official=False)
    (good,), (mixed,) = (results.rows([*RECORDS[2::3], *more], "strong", "epoch_seconds") for more in ([], [short]))
    assert not results.unofficial(good) and results.unofficial(mixed)


def test_speedup_is_over_the_point_with_one() -> None:
    curve = results.scaling(RECORDS, "strong", "epoch_seconds", "ranks")
    assert [one.x for one in curve] == [1, 2, 16]
    assert [one.speedup.value for one in curve] == pytest.approx([1, 2, 15.9], rel=0.01)
    assert curve[1].efficiency == pytest.approx(1, rel=0.01)
    assert results.serial_fraction(curve, cores=2) == pytest.approx(0, abs=0.01)
    assert results.scaling(RECORDS[:2], "strong", "epoch_seconds", "ranks") == []
    assert [one.x for one in results.scaling(RECORDS, "strong", "epoch_seconds", "degree")] == [1, 2, 16]
    mixed = [*RECORDS, record("weak/ranks=1", 0, 100.0), *(record(f"strong/b={n}", 0, 1.0, ranks=3) for n in (1,))]
    curve = results.scaling(mixed, "strong", "epoch_seconds", "ranks")
    assert [(one.x, round(one.speedup.value)) for one in curve] == [(1, 1), (2, 2), (3, 10), (16, 16)]


def test_amdahls_law_is_fitted_to_the_points_that_have_a_core_each() -> None:
    found = [record(f"strong/ranks={n}", 0, seconds) for n, seconds in ((1, 10.0), (2, 6.0), (4, 100.0))]
    curve = results.scaling(found, "strong", "epoch_seconds", "ranks")
    assert results.serial_fraction(curve, cores=2) == pytest.approx(0.2)
    assert results.serial_fraction(curve, cores=1) is None and results.serial_fraction(curve, cores=4) == 1


def test_invalid_records_give_no_figure() -> None:
    wrong = [one | {"verdict": "INVALID", "metrics": {"epoch_seconds": 0.001}} for one in RECORDS]
    assert results.rows(wrong, "strong", "epoch_seconds") == []
    mixed = results.rows([*RECORDS, *wrong], "strong", "epoch_seconds")
    assert mixed[0].spread.min == 10


def test_time_to_an_accuracy_counts_every_epoch() -> None:
    one = record("strong/ranks=1", 0, 2.0)
    assert results.seconds_to(one, "test", 97) == 6 and results.epochs_to(one, "test", 97) == 3
    assert results.seconds_to(one, "test", 90) == 2 and results.epochs_to(one, "test", 90) == 1
    assert results.seconds_to(one, "test", 99) is None and results.epochs_to(one, "train", 50) is None
    assert results.seconds_to(one, "train", 50) is None and results.seconds_to(one, "test", 97.5) == 6
    for less in ({}, {"series": {}}, {"series": {"test_accuracy": [99.0]}}):
        assert results.seconds_to(less, "test", 50) is None
    assert results.epochs_to({}, "test", 50) is None


def test_merit_goes_to_the_soonest_point_that_got_there_every_time() -> None:
    lucky = record("lucky/ranks=4", 0, 0.1)
    unlucky = record("lucky/ranks=4", 1, 0.1, series={"test_accuracy": [90.0], "train_seconds": [0.1]})
    peer = record("peer/ranks=1", 0, 0.01, program="peers.go")
    run = Run(Path(), {"suite": {"target_accuracy": 97.0}}, [], {}, [*RECORDS, lucky, unlucky, peer])
    best = results.merit(run)
    assert best and best.point == "strong/ranks=16"
    assert best.spread == pytest.approx((1.875, 1.905, 1.935, 3), abs=0.1) and len(best.records) == 3
    wrong = [one | {"verdict": "INVALID"} for one in (lucky, *RECORDS)]
    assert results.merit(run._replace(records=wrong)) is None
    tie = [record("first/ranks=1", 0, 1.0), record("second/ranks=1", 0, 1.0)]
    first = results.merit(run._replace(records=tie))
    assert first and first.point == "first/ranks=1"


def point(**changes: Any) -> Point:
    about: dict[str, Any] = dict(
        name="p", experiment="p", program="train", mpi=True, ranks=2, workers=4, options={"epochs": 2}, repeats=1,
        seeds=False, oracle_epochs=None, minimum_seconds=0.0, lengthen=None, figures=(), seconds=None, wait_policy=None,
        checks=(),
    )  # fmt: skip
    return Point(**about | changes)


def result(weights: str, accuracy: float = 90.0, kernel: str = "k") -> dict[str, Any]:
    row = {"weights_sha256": weights, "train_accuracy": accuracy, "test_accuracy": None}
    return {
        "epochs": [{"epoch": epoch} | row for epoch in (1, 2)],
        "environment": {"kernel_id": kernel, "same_kernel_everywhere": True},
        "kernel_error": 0.0,
    }


@pytest.mark.parametrize(
    "mine, right, said",
    [
        (result("a"), result("a"), []),
        (result("b"), result("a"), ["weights after epoch 1"]),
        (result("a", 91), result("a"), ["train_accuracy after epoch 1", "train_accuracy after epoch 2"]),
        (result("b", 90.5, "other"), result("a"), []),  # other bits, but as accurate
        (result("b", 90.9, "other"), result("a"), []),
        (result("b", 91.1, "other"), result("a"), ["train_accuracy after epoch 1", "train_accuracy after epoch 2"]),
        (result("b", 88.9, "other"), result("a"), ["train_accuracy after epoch 1", "train_accuracy after epoch 2"]),
        (result("b", 92, "other"), result("a"), ["train_accuracy after epoch 1", "train_accuracy after epoch 2"]),
        (result("a"), result("a") | {"kernel_error": 0.9e-5}, []),
        (result("a"), result("a") | {"kernel_error": 1.1e-5}, ["reference's"]),
    ],
)
def test_what_the_oracle_does_not_read_is_a_fault(mine: dict, right: dict, said: list[str]) -> None:  # type: ignore[type-arg]
    found = oracle.faults(point(), mine, right)
    assert len(found) == len(said) and all(words in fault for words, fault in zip(said, found, strict=True))


def test_a_fault_says_what_is_wrong_and_where() -> None:
    mine, right = result("a", 91), result("a")
    assert oracle.faults(point(), mine, right)[0] == "train_accuracy after epoch 1 is 91.00, the serial oracle's 90.00"
    for one in (mine, right):
        one["epochs"][1]["test_accuracy"] = 50.0 if one is mine else 49.0
    words = "test_accuracy after epoch 2 is 50.00, the serial oracle's 49.00"
    assert oracle.faults(point(), mine, right)[-1] == words
    mine["epochs"][1]["test_accuracy"] = None  # an epoch that only one of them evaluated
    assert "test_accuracy" not in str(oracle.faults(point(), mine, right))
    mine["epochs"][1]["weights_sha256"] = "b"
    words = "the weights after epoch 2 are not the serial oracle's: the result is wrong"
    assert oracle.faults(point(), mine, right)[-1] == words
    assert oracle.faults(point(), result("a"), result("a") | {"kernel_error": 2.5e-5}) == [
        "the kernel's weights are 2.5e-05 from the reference's after one worker batch (at most 1e-05): "
        "build it again with pip install"
    ]


def test_bits_are_compared_only_where_every_rank_has_the_oracles_kernel() -> None:
    mixed = result("b")
    mixed["environment"]["same_kernel_everywhere"] = False
    assert oracle.faults(point(), mixed, result("a")) == []
    assert oracle.faults(point(), result("b", kernel="x"), result("a")) == []


def test_only_so_many_epochs_are_compared_as_the_oracle_learned() -> None:
    mine = result("a")
    mine["epochs"][1]["weights_sha256"] = "b"
    assert oracle.faults(point(), mine, result("a"))
    assert oracle.faults(point(oracle_epochs=1), mine, result("a")) == []


def test_checks_bound_accuracies() -> None:
    low, high = Check("train_accuracy", 2, 0, 80), Check("train_accuracy", 2, 85, 95)
    assert len(oracle.faults(point(checks=(low, high)), result("a"), result("a"))) == 1
    for edge in (Check("train_accuracy", 2, 90, 95), Check("train_accuracy", 2, 80, 90)):
        assert oracle.faults(point(checks=(edge,)), result("a"), result("a")) == []
    words = "train_accuracy after epoch 2 is 90.0, not 0 to 80"
    assert oracle.faults(point(checks=(low,)), result("a"), result("a")) == [words]
    better = result("a")
    better["epochs"][1]["train_accuracy"] = 96.0
    first, second = Check("train_accuracy", 1, 89, 91), Check("train_accuracy", 2, 95, 97)
    assert oracle.faults(point(checks=(first, second)), better, better) == []
    unknown = Check("test_accuracy", 1, 0, 100)
    assert oracle.faults(point(checks=(unknown,)), result("a"), result("a")) == [
        "test_accuracy after epoch 1 is None, not 0 to 100"
    ]
    late = Check("train_accuracy", 3, 99, 100)
    assert oracle.faults(point(checks=(late,)), result("a"), result("a")) == []


def test_points_that_must_learn_the_same_share_an_oracle(tmp_path: Path) -> None:
    points = [point(), point(name="q", ranks=1, options={"epochs": 5}), point(name="r", workers=8)]
    found = oracle.distinct(tmp_path, points)
    assert [(one.name, epochs) for one, _, epochs in found] == [("q", 5), ("r", 2)]
