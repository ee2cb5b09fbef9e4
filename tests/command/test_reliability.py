"""Ranks that are killed, stopped or wrong: each promise of docs/reliability.md once; `make test-faults`: often."""

import json
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.analysis import trace
from bench.report import timeline
from mpinn.hosts.launcher import find_launcher
from mpinn.merging.optimizers import OPTIMIZERS
from tests.command.commands import (
    command_lines,
    errors,
    launch,
    of_process,
    ports,
    ranks_alive,
    run,
    start,
    train,
    wait_until,
)
from tests.digits import write_npz

LAUNCH = [sys.executable, "-m", "mpinn.launch"]
ULFM = [*LAUNCH, "--fault-tolerance", "ulfm", "--force", "-n", "4", "--"]
HOW = ["--fault-tolerance", "restart", "--force", "-n", "3", "--"]
RESTART = [*LAUNCH, *HOW]
ENDLESS = ["--epochs", "1000000", "--checkpoint-every", "1000000"]
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

    @pytest.mark.parametrize("rank", [0, 2])
    def test_the_trace_of_the_others_names_a_killed_rank(data: list[str], tmp_path: Path, rank: int) -> None:
        path = tmp_path / "t.json"
        ran = run([*ULFM, *data, *OPTIONS, "--trace", str(path)], MPINN_FAULT=f"kill:rank={rank},round=20")
        assert ran.returncode == 0, ran.stderr
        svg, sentences = timeline.drawn(path)
        (said,) = (one for one in sentences if "lost" in one)
        assert said.startswith(f"rank {rank} on {platform.node()} was lost: ") and svg.count(">lost<") == 1
        assert sentences[0].startswith("rounds 19 to 21 of ") and "3 ranks" in sentences[0]
        found = trace.read(path)
        before = found.spans[(found.spans["rank"] == rank) & (found.spans["name"] == trace.NUMBER["round"])]
        assert before["epoch"].tolist() == 13 * [1]  # the epoch that it had finished

    @pytest.mark.parametrize("rank", [0, 2])
    def test_a_rank_is_lost_while_a_merge_is_under_way(data: list[str], tmp_path: Path, rank: int) -> None:
        """The others go on from where none was: the beginning of the epoch."""
        whole, path = tmp_path / "whole.json", tmp_path / "r.json"
        assert train(*data, *OPTIONS, "--overlap", "--result", whole).returncode == 0
        ran = run(
            [*ULFM, *data, *OPTIONS, "--overlap", "--result", str(path)], MPINN_FAULT=f"kill:rank={rank},round=20"
        )
        assert ran.returncode == 0, ran.stderr
        said = result(path)
        (failure,) = said["failures"]
        assert (failure["rank"], failure["cause"], failure["epoch"], failure["round"]) == (rank, "lost", 2, 0)
        assert said["weights_sha256"] == result(whole)["weights_sha256"] and said["config"]["overlap"]
        assert len(said["workers_of_ranks"]) == 3

    @pytest.mark.parametrize(
        ("name", "batch", "epochs", "round_"),
        [*((name, 10, 3, 20) for name in sorted(OPTIMIZERS)), ("rprop", "all", 8, 5)],
    )
    def test_what_an_optimizer_remembers_survives_a_killed_rank(
        data: list[str], tmp_path: Path, name: str, batch: int | str, epochs: int, round_: int
    ) -> None:
        """And so does what the epoch has lost so far, which Rprop compares where a round has all exemplars."""
        whole, path = tmp_path / "whole.json", tmp_path / "r.json"
        options = [*data, "--workers", "8", "--worker-batch", str(batch), "--merge", "gradient", "--optimizer", name]
        options += ["--epochs", str(epochs), "--learning-rate", "0.3"] if batch == "all" else ["--epochs", str(epochs)]
        assert train(*options, "--result", whole).returncode == 0
        ran = run([*ULFM, *options, "--result", str(path)], MPINN_FAULT=f"kill:rank=0,round={round_}")
        assert ran.returncode == 0, ran.stderr
        said, expected = result(path), result(whole)
        assert [failure["rank"] for failure in said["failures"]] == [0]
        assert said["weights_sha256"] == expected["weights_sha256"]
        assert [row["loss"] for row in said["epochs"]] == [row["loss"] for row in expected["epochs"]]

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
    wild = ["--learning-rate", "1e5", "--no-layer-normalisation", "--input-divisor", "1", "--layers", "144", "5"]
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


def test_a_directory_with_a_run_takes_no_other(data: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    assert train(*data, *OPTIONS, "--seed", 1, "--checkpoint", folder).returncode == 0
    kept = sorted(folder.iterdir())
    ran = train(*data, *OPTIONS, "--checkpoint", folder, ranks=2)
    (line,) = errors(ran.stderr)
    assert ran.returncode == 2 and f"{folder}: holds snapshots of another run" in line and "--resume" in line
    ran = train(*data, *OPTIONS, "--seed", 2, "--learning-rate", 0.5, "--resume", folder)
    (line,) = errors(ran.stderr)
    assert (
        "with --seed 1, not with --seed 2" in line and "with --learning-rate 0.8, not with --learning-rate 0.5" in line
    )
    assert sorted(folder.iterdir()) == kept


def test_two_jobs_at_once_do_not_share_a_place(data: list[str], tmp_path: Path) -> None:
    folder, path = tmp_path / "snapshots", tmp_path / "r.json"
    first = start(*data, "--epochs", 10**6, "--quiet", "--checkpoint", folder, "--result", path)
    try:
        assert wait_until(path.exists, 60)
        job = result(path)["job"]
        for place in (("--resume", folder), ("--result", path)):
            (line,) = errors(train(*data, "--epochs", 10**6, *place).stderr)
            assert f"{place[1]}: in use by job {job}" in line
    finally:
        first.kill()
        first.communicate()
    again = train(*data, "--epochs", len(result(path)["epochs"]) + 3, "--resume", folder, "--result", path)
    assert again.returncode == 0, again.stderr
    assert result(path)["job"] != job and result(path)["resumed_from"]
    assert len(list(folder.glob("*.mpinn"))) == 3  # those of the run before count, too
    assert not list(tmp_path.glob(".*.lock"))  # nothing but what was asked for


def test_where_no_snapshot_is_good_the_job_starts_over(data: list[str], undisturbed: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "r.json", tmp_path / "snapshots"
    job = launch(*HOW, *data, *OPTIONS, "--checkpoint", folder, "--result", path, MPINN_FAULT="stop:rank=1,round=27")
    assert wait_until(lambda: len(list(folder.glob("*.mpinn"))) == 2, 60)
    for one in folder.glob("*.mpinn"):
        one.write_bytes(one.read_bytes()[:-1])
    _, said = job.communicate(timeout=120)
    assert job.returncode == 0, said
    assert "there is no good snapshot of this job" in said
    assert result(path)["weights_sha256"] == undisturbed


def test_a_result_that_cannot_be_written_any_more_is_not_tried_again(data: list[str], tmp_path: Path) -> None:
    place = tmp_path / "results"
    place.mkdir()
    job = launch(*HOW, *data, *ENDLESS, "--checkpoint", tmp_path / "s", "--result", place / "r.json")
    assert wait_until((place / "r.json").exists, 60)
    place.rename(tmp_path / "gone")  # at once: the job writes into it meanwhile
    _, said = job.communicate(timeout=60)
    (line,) = errors(said)
    assert job.returncode == 1 and "r.json: cannot be written" in line and "restart" not in said


@pytest.mark.parametrize("how", ["off", "restart"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_job_with_a_snapshot_and_never_starts_it_again(
    data: list[str], tmp_path: Path, how: str, number: int
) -> None:
    path, folder = tmp_path / "r.json", tmp_path / "snapshots"
    options = [*ENDLESS, "--checkpoint", folder, "--result", path]
    job = launch("--fault-tolerance", how, "--force", "-n", 3, "--", *data, *options)
    assert wait_until(path.exists, 60)
    job.send_signal(number)
    job.send_signal(number)  # as impatient people do
    _, said = job.communicate(timeout=60)
    status, name = (130, "interrupted") if number == signal.SIGINT else (143, "terminated")
    assert (job.returncode, result(path)["status"]) == (status, name) and "restart" not in said
    assert 1 <= len(list(folder.glob("*.mpinn"))) <= 2  # one at once, where it came between two merges
    assert not ranks_alive(str(path))


def test_ranks_end_with_a_snapshot_when_the_launcher_is_killed(data: list[str], tmp_path: Path) -> None:
    path, folder, scratch = tmp_path / "r.json", tmp_path / "snapshots", tmp_path / "tmp"
    scratch.mkdir()
    options = [*ENDLESS, "--checkpoint", folder, "--result", path]
    job = launch(*HOW, *data, *options, TMPDIR=str(scratch))
    assert wait_until(path.exists, 60)
    job.kill()
    job.communicate(timeout=60)  # mpirun has its standard error, too, and ends
    assert not ranks_alive(str(path))
    assert result(path)["status"] == "terminated" and list(folder.glob("*.mpinn"))
    assert wait_until(lambda: not list(scratch.rglob("*")), 10)


@pytest.mark.parametrize("how", ["off", "restart"])
def test_status_0_means_that_training_is_done(data: list[str], tmp_path: Path, how: str) -> None:
    """Whoever mpirun is: one that ends with status 0 though no rank has said anything, say."""
    false = tmp_path / "bin" / "mpirun"
    false.parent.mkdir()
    real = find_launcher()
    version = subprocess.run([real.path, "--version"], capture_output=True, text=True, check=True).stdout
    false.write_text(f"#!/bin/sh\ncase $1 in --version) cat <<'END'\n{version}END\n;; esac\n")
    false.chmod(0o755)
    where = ["--checkpoint", str(tmp_path / "s")] if how == "restart" else []
    program = (
        "import sys; from pathlib import Path; from mpinn.hosts import launcher; from mpinn import launch\n"
        "path = Path(sys.argv.pop(1)); found = launcher.find_launcher()\n"
        "launch.check_launcher = lambda launcher: None\n"
        "launch.find_launcher = lambda: launcher.Launcher(path, found.vendor, found.version)\n"
        "launch.run_command(launch.main)"
    )
    words = ["--fault-tolerance", how, "--restarts", "1", "-n", "2", "--", *data, *where]
    ran = run([sys.executable, "-c", program, str(false), *words])
    assert ran.returncode == 1 and "without a word from its ranks" in errors(ran.stderr)[0]


def test_the_key_of_a_job_is_on_no_command_line_and_its_port_is_closed(data: list[str], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    job = launch(*HOW, *data, *ENDLESS, "--checkpoint", tmp_path / "s", "--result", path)
    try:
        assert wait_until(path.exists, 60)
        variables = of_process(ranks_alive(str(path))[-1], "environ").split(b"\0")
        (value,) = [one.decode() for one in variables if one.startswith(b"MPINN_SUPERVISOR=")]
        key = value.partition("=")[2].partition(":")[0]
        assert len(key) == 32
        assert not [line for line in command_lines().values() if key in line]
        assert wait_until(lambda: not ports(job.pid), 10)
    finally:
        job.terminate()
        job.communicate()


def test_a_supervisor_that_nobody_wrote_is_refused(data: list[str]) -> None:
    for text in ("", "x", "0" * 32 + ":1:2:3", ":".join(["f" * 32, "e" * 12, "1", "0", "host", "1.2.3.4\n"])):
        ran = train(*data, ranks=2, MPINN_SUPERVISOR=text)
        (line,) = errors(ran.stderr)
        assert "MPINN_SUPERVISOR" in line and "unset it" in line
