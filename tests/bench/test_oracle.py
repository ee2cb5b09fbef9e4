"""The oracle, really asked: what it learns, and what its kernel is held against."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.harness import oracle
from bench.harness.suite import Point
from mpinn import kernels
from mpinn.config import Options
from mpinn.system.errors import MpinnError
from mpinn.training import golden
from tests.bench.test_analysis import point
from tests.digits import write_npz


@pytest.fixture
def trained(tmp_path: Path) -> Point:
    """A point of training on the small data set."""
    options = {"epochs": 2, "data": str(write_npz(tmp_path / "digits.npz")), "worker_batch": 10, "kernel": "native"}
    return point(options=options)


def weights(found: dict[str, Any]) -> list[str]:
    return [row["weights_sha256"] for row in found["epochs"]]


def test_a_fault_that_runs_are_given_does_not_strike_the_oracle(
    tmp_path: Path, trained: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else both would be wrong alike, and the run VALID."""
    right = oracle.ask(tmp_path, trained, 0, 2)
    assert 0 < right["kernel_error"] < 1e-5  # float32 against float64
    monkeypatch.setenv("MPINN_FAULT", "flip:rank=0,round=2")
    (tmp_path / "again").mkdir()
    again = oracle.ask(tmp_path / "again", trained, 0, 2)
    assert weights(again) == weights(right) and len(weights(right)) == 2


def test_what_the_oracle_learned_is_kept_until_more_is_asked(tmp_path: Path, trained: Point) -> None:
    path = oracle.place(tmp_path, trained, 0)
    first = oracle.ask(tmp_path, trained, 0, 1)
    written = path.stat().st_mtime_ns
    assert oracle.ask(tmp_path, trained, 0, 1) == first and path.stat().st_mtime_ns == written
    more = oracle.ask(tmp_path, trained, 0, 2)
    assert len(more["epochs"]) == 2 and weights(more)[:1] == weights(first)


def test_a_kernel_that_learns_a_little_too_fast_is_a_fault(
    tmp_path: Path, trained: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = kernels.choose

    def too_fast(name: str, network: Any, learning_rate: float, *others: Any, **named: Any) -> Any:
        return choose(name, network, learning_rate * (1.01 if name == "native" else 1), *others, **named)

    right = oracle.ask(tmp_path, trained, 0, 1)
    settings = right["config"]
    assert oracle.kernel_error(settings) == right["kernel_error"]
    monkeypatch.setattr(kernels, "choose", too_fast)
    (fault,) = oracle.faults(trained, right, right | {"kernel_error": oracle.kernel_error(settings)})
    assert "the kernel's weights are" in fault


def test_the_oracle_is_the_same_training_on_one_rank_to_its_end() -> None:
    asked = {"epochs": 9, "merge": "mean", "target_accuracy": 97, "target_set": "test", "time_limit": 5}
    asked |= {"balance": "measured", "evaluate_every": 3, "l1": 0.5}
    line = oracle.command(point(options=asked, workers=6), 3, 2, Path("o.json"))
    assert line[:4] == [sys.executable, "-m", "mpinn.train", "--quiet"]
    given = dict(zip(line[4::2], line[5::2], strict=True))
    assert given == {
        "--epochs": "2", "--merge": "mean", "--l1": "0.5", "--workers": "6", "--seed": "3", "--result": "o.json",
    }  # fmt: skip


def test_points_share_an_oracle_where_they_must_learn_the_same_and_only_there(tmp_path: Path) -> None:
    def at(seed: int = 0, workers: int = 4, **options: Any) -> Path:
        return oracle.place(tmp_path, point(workers=workers, options=options), seed)

    assert at() == at(epochs=3) == at(time_limit=9) == at(exchange="allreduce")
    others = [
        at(seed=1),
        at(workers=5),
        at(data="a"),
        at(test_data="a"),
        at(kernel="native"),
        at(l1=0.5),
        at(layers=[1]),
    ]
    assert len({at(), *others}) == 1 + len(others)
    assert at(l1=0.5, l2=0.1) == at(l2=0.1, l1=0.5)
    assert at().parent == tmp_path / "oracle" and re.fullmatch(r"[0-9a-f]{16}\.json", at().name)


def test_as_many_epochs_are_compared_as_both_have() -> None:
    assert oracle.epochs_of(point(options={})) == Options().epochs
    assert oracle.epochs_of(point(options={"epochs": 7})) == 7
    assert oracle.epochs_of(point(options={"epochs": 7}, oracle_epochs=3)) == 3
    assert oracle.epochs_of(point(options={"epochs": 2}, oracle_epochs=3)) == 2


def test_an_oracle_that_fails_says_why(tmp_path: Path) -> None:
    wrong = point(name="e/x=1", options={"epochs": 1, "data": str(tmp_path / "absent")})
    with pytest.raises(MpinnError, match=r"^e/x=1: the serial oracle failed: mpinn: error: .*absent"):
        oracle.ask(tmp_path, wrong, 0, 1)


def test_each_oracle_is_asked_once_for_the_most_epochs_wanted_of_it(tmp_path: Path) -> None:
    few, many = (
        point(name="few", options={"epochs": 2}),
        point(name="many", options={"epochs": 5}, seeds=True, repeats=2),
    )
    for points in ([few, many], [many, few]):
        found = oracle.distinct(tmp_path, points)
        assert sorted((seed, epochs) for _, seed, epochs in found) == [(0, 5), (1, 5)]
    assert [(seed, epochs) for _, seed, epochs in oracle.distinct(tmp_path, [few])] == [(0, 2)]


def test_a_golden_oracle_is_known_without_being_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless more epochs are asked for, or its kernel, its data or its worker batch are others."""
    usual = {"workers": 16, "options": {"merge": "block-momentum", "epochs": 5}}
    monkeypatch.setattr(oracle.subprocess, "run", None)
    found = oracle.ask(tmp_path, point(**usual), 0, 5)
    (right,) = (
        golden.find(settings.determines_weights, oracle.exemplars().fingerprint)
        for settings in [oracle.settings_of(point(**usual), 0)]
        if settings
    )
    assert len(right) >= 5 and weights(found)[:5] == [row.weights_sha256 for row in right[:5]]
    assert 0 < found["kernel_error"] < 1e-5 and not list(tmp_path.iterdir())
    assert oracle.known(tmp_path, point(**usual), 0, len(right))
    assert not oracle.known(tmp_path, point(**usual), 0, len(right) + 1)
    for other in (
        {"kernel": "reference"},
        {"data": "digits.npz"},
        {"test_data": "digits.npz"},
        {"worker_batch": "auto"},
        {"learning_rate": 0.7},
    ):
        one = point(workers=16, options={**usual["options"], **other})
        assert not oracle.known(tmp_path, one, 0, 1)


def test_a_kept_oracle_is_known_for_its_seed_and_its_epochs(tmp_path: Path, trained: Point) -> None:
    oracle.ask(tmp_path, trained, 7, 2)
    known = [(seed, epochs) for seed in (0, 7) for epochs in (2, 3) if oracle.known(tmp_path, trained, seed, epochs)]
    assert known == [(7, 2)]


def test_a_golden_network_of_other_layers_is_found() -> None:
    one = point(workers=4, options={"layers": [784, 30, 10], "epochs": 1})
    settings = oracle.settings_of(one, 0)
    assert settings and settings.layers == (784, 30, 10) and settings.workers == 4


def test_a_result_is_held_against_a_golden_oracle_bit_for_bit() -> None:
    one = point(workers=16, options={"merge": "block-momentum", "epochs": 5})
    right = oracle.ask(Path("/nowhere"), one, 0, 5)
    about = {"kernel_id": "native-of-a-board", "numerics": 1, "same_kernel_everywhere": True}
    result = right | {"environment": about}
    assert oracle.faults(one, result, right) == []
    rows = [right["epochs"][0] | {"weights_sha256": "0" * 64}, *right["epochs"][1:]]
    (fault,) = oracle.faults(one, result | {"epochs": rows}, right)
    assert "epoch 1 are not the serial oracle's" in fault
    rows = [right["epochs"][0] | {"test_accuracy": right["epochs"][0]["test_accuracy"] + 0.01}, *right["epochs"][1:]]
    (fault,) = oracle.faults(one, result | {"epochs": rows}, right)
    assert "test_accuracy after epoch 1" in fault
    other = about | {"numerics": 2}
    assert oracle.faults(one, right | {"environment": other, "epochs": rows}, right) == []  # within the tolerance
