"""What the supervisor makes of a training command, and of a job that ends."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from mpinn.failures import supervisor
from mpinn.failures.supervision import VARIABLE, Supervisor
from mpinn.system.errors import MpinnError, UsageError


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
    "words", [[], ["--resume", "old"], ["--resume=old"], ["--resume", "old", "--checkpoint=new"]], ids=str
)
def test_a_job_that_starts_again_resumes_from_its_snapshot_and_saves_beside_it(words: list[str]) -> None:
    again = supervisor.resuming(["--workers", "4", *words, "--quiet"], Path("new/000002.mpinn"))
    assert again == ["--workers", "4", "--quiet", "--checkpoint", "new", "--resume", "new/000002.mpinn"]


def test_the_environment_names_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Supervisor.from_environment() is None
    here = Supervisor(bytes(range(16)), "0123456789ab", 4711, 1.5, "node-1.local", ["127.0.0.1", "10.0.0.2"])
    monkeypatch.setenv(VARIABLE, here.variable())
    assert Supervisor.from_environment() == here
    monkeypatch.setenv(VARIABLE, here.variable() + ";")
    with pytest.raises(UsageError, match=VARIABLE):
        Supervisor.from_environment()


FAILING_JOB = """
import os, sys
from mpinn.failures.supervision import Supervision
directory, runs = sys.argv[1], sys.argv[1] + "/runs"
with open(runs, "a") as file:
    file.write(" ".join(sys.argv[2:]) + chr(10))
number = len(open(runs).readlines())
line = Supervision.begin(0)
with open(directory + "/jobs", "a") as file:
    file.write(line.supervisor.job + chr(10))
if number == {saves_in}:
    open(directory + "/000001.mpinn", "w").close()
if number < {succeeds_in}:
    sys.exit({fails_with})
line.done({done})
"""


def supervised(tmp_path: Path, most: int, **about: int | None) -> int:
    """Run a job of one rank that says and does what it is told to; return the status."""
    job = FAILING_JOB.format(**{"saves_in": 0, "succeeds_in": 1, "fails_with": 1, "done": 0, **about})
    newest = tmp_path / "000001.mpinn"
    return supervisor.supervise(
        lambda hosts, words: ([sys.executable, "-c", job, str(tmp_path), *words], 1),
        None,
        ["--a"],
        lambda job: newest if newest.exists() else None,
        most,
        lambda job: None,
    )


@pytest.mark.parametrize(
    "saves_in, succeeds_in, most, status, runs",
    [
        (2, 3, 5, 0, ["--a", "--a", "--a --checkpoint DIR --resume DIR/000001.mpinn"]),  # as it was, until there is one
        (1, 9, 1, 1, ["--a", "--a --checkpoint DIR --resume DIR/000001.mpinn"]),  # at most so many times
        (0, 1, 0, 0, ["--a"]),
    ],
)
def test_a_job_is_started_again_from_its_newest_snapshot(
    tmp_path: Path, saves_in: int, succeeds_in: int, most: int, status: int, runs: list[str]
) -> None:
    assert supervised(tmp_path, most, saves_in=saves_in, succeeds_in=succeeds_in) == status
    assert (tmp_path / "runs").read_text().splitlines() == [line.replace("DIR", str(tmp_path)) for line in runs]
    assert len(set((tmp_path / "jobs").read_text().splitlines())) == 1  # it is the same job


def test_status_0_without_a_word_is_a_failure(tmp_path: Path) -> None:
    """Open MPI ends with status 0, too, when it has lost a host."""
    with pytest.raises(MpinnError, match="without a word from its ranks"):
        supervised(tmp_path, 1, succeeds_in=9, fails_with=0)
    assert len((tmp_path / "runs").read_text().splitlines()) == 2


def test_what_training_says_is_the_status(tmp_path: Path) -> None:
    assert supervised(tmp_path, 5, done=1) == 1
    assert len((tmp_path / "runs").read_text().splitlines()) == 1  # it would come to the same again


def test_a_launcher_that_stays_when_no_rank_is_left_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "ORPHANED", 0.3)
    job = FAILING_JOB.format(saves_in=0, succeeds_in=1, fails_with=1, done=0)
    line = ["sh", "-c", 'shift; "$@"; exec sleep 1000', "", "", sys.executable, "-c", job, str(tmp_path)]
    assert supervisor.supervise(lambda hosts, words: (line, 1), None, [], lambda job: None, 0, lambda job: None) == 0


def test_a_launcher_that_does_not_hear_ranks_gets_the_signal_itself() -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGHUP)).start()
    began = time.monotonic()
    status = supervisor.supervise(
        lambda hosts, words: (["sleep", "1000"], 1), None, [], lambda job: None, 3, lambda job: None
    )
    assert status == 128 + signal.SIGTERM and time.monotonic() - began < 100
