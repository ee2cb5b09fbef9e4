"""Ranks that are killed, stopped or wrong: each promise of docs/reliability.md once; `make test-faults`: often."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mpinn.hosts.launcher import find_launcher
from tests.command.commands import errors, ranks_alive, run, train
from tests.digits import write_npz

LAUNCH = [sys.executable, "-m", "mpinn.launch"]
ULFM = [*LAUNCH, "--fault-tolerance", "ulfm", "--force", "-n", "4", "--"]
RESTART = [*LAUNCH, "--fault-tolerance", "restart", "--force", "-n", "3", "--"]
OPTIONS = ["--workers", "8", "--worker-batch", "10", "--merge", "block-momentum", "--epochs", "6"]
OPEN_MPI = find_launcher().vendor == "openmpi"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return ["--data", str(write_npz(tmp_path_factory.mktemp("data") / "digits.npz"))]


@pytest.fixture(scope="module")
def undisturbed(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("undisturbed") / "r.json"
    assert train(*data, *OPTIONS, "--result", path).returncode == 0
    return str(result(path)["weights_sha256"])


def result(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


if OPEN_MPI:  # MPICH ends all: see the refusal below

    @pytest.mark.parametrize("rank", [0, 2])
    def test_the_others_do_a_killed_ranks_round_again(
        data: list[str], undisturbed: str, tmp_path: Path, rank: int
    ) -> None:
        path = tmp_path / "r.json"
        ran = run([*ULFM, *data, *OPTIONS, "--result", str(path)], MPINN_FAULT=f"kill:rank={rank},round=20")
        assert ran.returncode == 0, ran.stderr
        said = result(path)
        (failure,) = said["failures"]
        assert (failure["rank"], failure["cause"], failure["epoch"], failure["round"]) == (rank, "lost", 2, 6)
        assert failure["seconds_lost"] < 5
        assert f"rank {rank} on " in ran.stdout and "3 ranks go on from epoch 2, round 6" in ran.stdout
        assert said["weights_sha256"] == undisturbed and said["status"] == "completed"
        assert [row["epoch"] for row in said["epochs"]] == [1, 2, 3, 4, 5, 6] and len(said["workers_of_ranks"]) == 3

    def test_a_rank_that_stops_is_named_then_killed(data: list[str], undisturbed: str, tmp_path: Path) -> None:
        path = tmp_path / "r.json"
        stall = ["--stall-warning", "0.5", "--stall-timeout", "1.5"]
        ran = run([*ULFM, *data, *OPTIONS, *stall, "--result", str(path)], MPINN_FAULT="stop:rank=1,round=20")
        assert ran.returncode == 0, ran.stderr
        assert "rank 1 on " in ran.stderr and "has not answered for" in ran.stderr and "killed" in ran.stderr
        assert result(path)["weights_sha256"] == undisturbed
        assert not ranks_alive(str(path))

    def test_too_few_ranks_end_the_run_with_a_snapshot(data: list[str], undisturbed: str, tmp_path: Path) -> None:
        folder = tmp_path / "snapshots"
        ran = run(
            [*ULFM, *data, *OPTIONS, "--min-ranks", "4", "--checkpoint", str(folder)],
            MPINN_FAULT="kill:rank=3,round=20",
        )
        assert ran.returncode != 0
        (line,) = errors(ran.stderr)
        assert "3 ranks left" in line and "--min-ranks 4" in line
        again = train(*data, "--epochs", 6, "--resume", folder, "--result", tmp_path / "r.json")
        assert again.returncode == 0 and result(tmp_path / "r.json")["weights_sha256"] == undisturbed

    def test_shared_memory_that_ends_with_a_rank_is_refused(data: list[str]) -> None:
        ran = run([*ULFM, *data, "--exchange", "shared-memory"])
        assert ran.returncode != 0
        (line,) = errors(ran.stderr)
        assert "--exchange allreduce" in line


def test_ulfm_where_it_cannot_be_is_refused(data: list[str]) -> None:
    ran = train(*data, "--fault-tolerance", "ulfm", ranks=2)
    assert ran.returncode != 0
    (line,) = errors(ran.stderr)
    assert "--with-ft ulfm" in line


def test_a_job_goes_on_from_its_last_snapshot(data: list[str], undisturbed: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "r.json", tmp_path / "snapshots"
    saving = ["--checkpoint", str(folder), "--result", str(path)]
    start = time.monotonic()
    ran = run([*RESTART, *data, *OPTIONS, *saving], MPINN_FAULT="kill:rank=1,round=30")
    assert ran.returncode == 0, ran.stderr
    assert time.monotonic() - start < 30
    assert ran.stderr.count("restart 1 of 10 from ") == 1 and "restart 2" not in ran.stderr
    assert result(path)["weights_sha256"] == undisturbed
    (failure,) = result(path)["failures"]
    assert (failure["cause"], failure["rank"], failure["epoch"]) == ("restarted", None, 3)
    assert 0 < failure["seconds_lost"] < 30
    assert not ranks_alive(str(folder))


def test_what_was_asked_wrongly_is_not_started_again(tmp_path: Path) -> None:
    ran = run([*RESTART, "--epochs", "0", "--checkpoint", str(tmp_path)])
    assert ran.returncode == 2 and "restart" not in ran.stderr
    ran = run([*RESTART, "--epochs", "1"])
    assert ran.returncode == 2 and "--checkpoint DIR" in errors(ran.stderr)[0]


def test_what_would_fail_again_is_not_started_again(data: list[str], tmp_path: Path) -> None:
    wild = ["--learning-rate", "1e5", "--no-layer-normalisation", "--layers", "144", "5"]
    ran = run([*RESTART, *data, *wild, "--checkpoint", str(tmp_path)])
    assert ran.returncode == 1 and "diverged" in errors(ran.stderr)[0] and "restart" not in ran.stderr


@pytest.mark.parametrize("check, round_", [((), 26), (("--check-replicas", 1), 30)])  # of 13 rounds an epoch
def test_a_flipped_bit_is_noticed_and_the_run_goes_back(
    data: list[str], undisturbed: str, tmp_path: Path, check: tuple[str | int, ...], round_: int
) -> None:
    path = tmp_path / "r.json"
    plain = ("--exchange", "allreduce", "--checkpoint", tmp_path / "snapshots", "--result", path, *check)
    ran = train(*data, *OPTIONS, *plain, ranks=3, MPINN_FAULT=f"flip:rank=1,round={round_}")
    assert ran.returncode == 0, ran.stderr
    said = result(path)
    (failure,) = said["failures"]
    assert (failure["rank"], failure["cause"]) == (1, "other weights")
    assert said["weights_sha256"] == undisturbed


def test_a_flipped_bit_without_a_snapshot_ends_the_run_and_names_the_rank(data: list[str]) -> None:
    plain = ("--exchange", "allreduce", "--check-replicas", 1)
    ran = train(*data, *OPTIONS, *plain, ranks=3, MPINN_FAULT="flip:rank=1,round=30")
    assert ran.returncode != 0
    (line,) = errors(ran.stderr)
    assert "rank 1 on " in line and "epoch 3, round 3" in line and "--checkpoint" in line


def test_snapshots_of_another_run_are_not_gone_back_to(data: list[str], undisturbed: str, tmp_path: Path) -> None:
    folder, path = tmp_path / "snapshots", tmp_path / "r.json"
    assert train(*data, *OPTIONS, "--seed", 1, "--checkpoint", folder).returncode == 0
    flipped = ("--exchange", "allreduce", "--check-replicas", 1, "--checkpoint", folder)
    ran = train(*data, *OPTIONS, *flipped, ranks=3, MPINN_FAULT="flip:rank=1,round=3")
    assert ran.returncode != 0 and "faulty memory?" in errors(ran.stderr)[0]
    saving = ["--checkpoint", str(folder), "--result", str(path)]
    ran = run([*RESTART, *data, *OPTIONS, *saving], MPINN_FAULT="kill:rank=1,round=3")
    assert ran.returncode == 0 and "restart 1 of 10 as it was started" in ran.stderr
    assert result(path)["weights_sha256"] == undisturbed
