"""The oracle, really asked: what it learns, and what its kernel is held against."""

from pathlib import Path
from typing import Any

import pytest

from bench.harness import oracle
from bench.harness.suite import Point
from mpinn import kernels
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

    def too_fast(name: str, network: Any, learning_rate: float, *others: Any) -> Any:
        return choose(name, network, learning_rate * (1.01 if name == "native" else 1), *others)

    right = oracle.ask(tmp_path, trained, 0, 1)
    settings = right["config"]
    assert oracle.kernel_error(settings) == right["kernel_error"]
    monkeypatch.setattr(kernels, "choose", too_fast)
    (fault,) = oracle.faults(trained, right, right | {"kernel_error": oracle.kernel_error(settings)})
    assert "the kernel's weights are" in fault
