"""What rank 0 says before and during training."""

import dataclasses
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpinn.training.screen import Screen, hint, hints, span, where
from tests.command.commands import environment
from tests.digits import write_npz

SETTLED = Config(workers=16, worker_batch=100, merge="block-momentum", block_momentum=0.75, learning_rate_scale=4.0)


@pytest.mark.parametrize("numbers, text", [([0], "0"), ([0, 1, 2], "0-2"), ([0, 2], "0,2"), ([3, 4, 5, 6, 7], "3-7")])
def test_span(numbers: list[int], text: str) -> None:
    assert span(numbers) == text


def test_where_ranks_run() -> None:
    node = {"ranks": [0, 1], "host": "pi", "processor": "A83T", "cores": [0, 1], "cores_of_ranks": [[0], [1]]}
    assert where(node) == "0-1 on pi (A83T, cores 0-1, each rank bound to its own)"
    assert where({**node, "cores_of_ranks": [[0, 1], [0, 1]]}) == "0-1 on pi (A83T, cores 0-1)"


@pytest.mark.parametrize(
    "changes, told",
    [
        ({}, ""),
        ({"worker_batch": 101}, "--worker-batch 100, or auto"),
        ({"block_momentum": 0.9}, "leave out --block-momentum"),
        ({"block_momentum": 0.9, "worker_batch": 25}, ""),
        ({"merge": "mean", "block_momentum": None}, "--merge block-momentum"),
        ({"merge": "mean", "block_momentum": None, "workers": 2}, ""),
    ],
)
def test_hints_are_given_where_they_help(changes: dict, told: str) -> None:
    text = hint(dataclasses.replace(SETTLED, **changes))
    assert (told in text) if told else text == ""


def test_a_resumed_file_without_a_directory_for_snapshots_gets_a_hint() -> None:
    settled = dataclasses.replace(SETTLED, worker_batch=25, resume="x.mpinn")
    (line,) = hints(settled)
    assert "no snapshot will be written" in line and "--checkpoint" in line
    assert hints(dataclasses.replace(settled, checkpoint="snapshots")) == []


def test_a_row_without_an_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    phases = {name: {"min": 1, "mean": 1, "max": 1} for name in ("think", "train", "merge", "wait")}
    row = {"epoch": 3, "train_accuracy": None, "test_accuracy": None, "train_seconds": 2.0, "phases": phases}
    Screen(quiet=False).row(row, 60000)
    assert capsys.readouterr().out.split() == ["3", "-", "-", "2.00", "30,000", "25%", "25%", "25%", "25%"]


@pytest.mark.parametrize("ranks", [0, 2])
def test_a_terminal_shows_a_bar_within_the_epoch(tmp_path: Path, ranks: int) -> None:
    """A real pseudo-terminal; under mpirun what counts is where the launcher writes."""
    data = write_npz(tmp_path / "digits.npz")
    mine, theirs = pty.openpty()
    command = ["mpirun", "-n", str(ranks)] if ranks else []
    command += [sys.executable, "-m", "mpinn.train", "--data", str(data), "--epochs", "9", "--kernel", "reference"]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, stdin=theirs, env=environment())
    os.close(theirs)
    shown, seen_alive = b"", False
    while process.poll() is None or select.select([mine], [], [], 0.2)[0]:
        try:
            shown += os.read(mine, 65536) if select.select([mine], [], [], 0.2)[0] else b""
        except OSError:  # the last writer has gone
            break
        seen_alive |= process.poll() is None and "━".encode() in shown
    os.close(mine)
    assert process.wait() == 0
    text = shown.decode(errors="replace")
    assert "\x1b[?25l" not in text  # never hides the cursor: a killed run could not bring it back
    assert seen_alive and "epoch 1" in text and "9 epochs" in text


@pytest.mark.parametrize("ranks", [0, 2])
def test_ctrl_c_on_a_terminal_ends_with_the_closing_line(tmp_path: Path, ranks: int) -> None:
    """Open MPI makes Ctrl-C a SIGTERM and forwards nothing after it: a rank writes the line on the terminal itself."""
    data = write_npz(tmp_path / "digits.npz")
    mine, theirs = pty.openpty()
    command = ["mpirun", "-n", str(ranks)] if ranks else []
    command += [sys.executable, "-m", "mpinn.train", "--data", str(data), "--epochs", "1000000"]
    command += ["--checkpoint", str(tmp_path / "snapshots")]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, stdin=theirs, env=environment())
    shown, asked = "", False
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (process.poll() is None or select.select([mine], [], [], 0.2)[0]):
        if select.select([mine], [], [], 0.2)[0]:
            shown += os.read(mine, 65536).decode(errors="replace")
        if not asked and "exemplars/s" in shown:
            process.send_signal(signal.SIGINT)
            asked = True
    os.close(theirs)
    os.close(mine)
    assert process.wait(10) != 0
    (line,) = re.findall(r"(?:interrupted|terminated) at epoch.*", shown)
    assert f"snapshot in {tmp_path}" in line
