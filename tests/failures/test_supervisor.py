"""What the supervisor makes of a training command, and of a job that ends."""

import sys
from pathlib import Path

import pytest

from mpinn.failures import supervisor
from mpinn.failures.heartbeats import VARIABLE, Supervisor


@pytest.mark.parametrize(
    "words, value",
    [
        ([], None),
        (["--checkpoint"], ""),
        (["--epochs", "3"], None),
        (["--checkpoint", "a", "--epochs", "3"], "a"),
        (["--checkpoint=a"], "a"),
        (["--checkpoint=a", "--checkpoint", "b"], "b"),
    ],
)
def test_an_option_is_found_however_it_is_typed(words: list[str], value: str | None) -> None:
    assert supervisor.option(words, "--checkpoint") == value


def test_snapshots_lie_where_the_job_saves_or_where_it_goes_on_from(tmp_path: Path) -> None:
    assert supervisor.snapshot_directory([]) is None
    assert supervisor.snapshot_directory(["--resume", "a", "--checkpoint", "b"]) == Path("b")
    assert supervisor.snapshot_directory(["--resume", "a"]) == Path("a")
    (tmp_path / "file").touch()
    assert supervisor.snapshot_directory([f"--resume={tmp_path}/file"]) is None


@pytest.mark.parametrize(
    "words", [[], ["--resume", "old"], ["--resume=old"], ["--resume", "old", "--resume=older"]], ids=str
)
def test_a_job_that_starts_again_resumes_from_its_own_directory_alone(words: list[str]) -> None:
    again = supervisor.resuming(["--workers", "4", *words, "--checkpoint", "new"], Path("new"))
    assert again == ["--workers", "4", "--checkpoint", "new", "--resume", "new"]


def test_the_environment_names_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Supervisor.from_environment() is None
    here = Supervisor.here(4711, 1.5)
    monkeypatch.setenv(VARIABLE, here.variable().partition("=")[2])
    assert Supervisor.from_environment() == here and len(here.token) == 8 and "127.0.0.1" in here.addresses


FAILING_JOB = """
import os, sys, time
directory, runs = sys.argv[1], sys.argv[1] + "/runs"
with open(runs, "a") as file:
    file.write(" ".join(sys.argv[2:]) + chr(10))
number = len(open(runs).readlines())
if number == {saves_in}:
    open(directory + "/000001.mpinn", "w").close()
sys.exit(1 if number < {succeeds_in} else 0)
"""


@pytest.mark.parametrize(
    "saves_in, succeeds_in, most, status, runs",
    [
        (2, 3, 5, 0, ["--a", "--a", "--a --resume DIR"]),  # as it was started, until there is a snapshot
        (1, 9, 2, 1, ["--a", "--a --resume DIR", "--a --resume DIR"]),  # at most so many times
    ],
)
def test_a_job_is_started_again_from_its_newest_snapshot(
    tmp_path: Path, saves_in: int, succeeds_in: int, most: int, status: int, runs: list[str]
) -> None:
    job = FAILING_JOB.format(saves_in=saves_in, succeeds_in=succeeds_in)
    newest = tmp_path / "000001.mpinn"
    ended = supervisor.supervise(
        lambda hosts, words, variable: [sys.executable, "-c", job, str(tmp_path), *words],
        None,
        ["--a"],
        tmp_path,
        lambda: newest if newest.exists() else None,
        most,
        tmp_path,
    )
    assert ended == status
    assert (tmp_path / "runs").read_text().splitlines() == [line.replace("DIR", str(tmp_path)) for line in runs]
