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

import numpy as np
import pytest

from mpinn import config
from mpinn.config import Options
from mpinn.merging.master import Master
from mpinn.parallel.phases import Efficiency
from mpinn.training.events import EpochEnded, RankLost, RunBegan, RunEnded, Saved, WentBack
from mpinn.training.screen import Screen, hints, merge_hint, span, where
from mpinn.training.state import RunState
from tests.command.commands import environment
from tests.digits import write_npz

SETTLED = config.resolve(Options(workers=16, merge="block-momentum"), 100, 784, 10, 60000, 2)
STATE = RunState(2, 0, Master.at_rest(np.zeros(3, np.float32), "mean", 0), None)
STATE.epochs = [{"epoch": 1, "train_seconds": 0.6, "evaluate_seconds": 0.3}]
START = {"launcher": 9.0, "mpi": 9.0, "data": 0.25, "prepare": 0.15}


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
    text = merge_hint(dataclasses.replace(SETTLED, **changes))
    assert (told in text) if told else text == ""


def test_a_resumed_file_without_a_directory_for_snapshots_gets_a_hint() -> None:
    settled = dataclasses.replace(SETTLED, worker_batch=25, resume="x.mpinn")
    (line,) = hints(settled, ())
    assert "no snapshot will be written" in line and "--checkpoint" in line
    assert hints(dataclasses.replace(settled, checkpoint="snapshots"), ()) == []


PHASES = {name: {"min": 1, "mean": 1, "max": 1} for name in ("think", "train", "merge", "wait")}
ROW = {"epoch": 3, "train_accuracy": None, "test_accuracy": None, "loss": 0.25, "train_seconds": 2.0, "phases": PHASES}


def test_a_row_without_an_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(SETTLED, {}, (), START, silent=lambda: False)(EpochEnded(STATE, ROW, 60000, "", save=False))
    assert capsys.readouterr().out.split() == ["3", "-", "-", "0.2500", "2.00", "30,000", "25%", "25%", "25%", "25%"]


def test_dead_training_is_said_once_and_again_where_it_died_again(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(SETTLED, {}, (), START, silent=lambda: False)
    for dead in ("all exemplars", "all exemplars", "", "all exemplars"):
        screen(EpochEnded(STATE, ROW | {"loss": None}, 60000, dead, save=False))
    lines = capsys.readouterr().out.splitlines()
    told = [place for place, line in enumerate(lines) if line.startswith("training is dead: all exemplars")]
    assert told == [1, 5] and "lower --learning-rate (now 0.8)" in lines[1]


def test_events_are_told_in_words_and_only_by_rank_0(capsys: pytest.CaptureFixture[str]) -> None:
    silent = [False]
    screen = Screen(SETTLED, {"network": "small"}, ["odd"], START, silent=lambda: silent[0])
    events = [
        RunBegan(STATE, ""),
        RankLost(3, "pi", 1, STATE),
        WentBack(STATE, "back to the start"),
        Saved(Path("x/000001.mpinn"), STATE),
        RunEnded(dataclasses.replace(STATE, status="completed"), 1.5, False, Efficiency(0.5, 0.8, 0.75, 0.8333)),
    ]
    for event in events:
        screen(event)
    said = capsys.readouterr().out
    assert said.startswith("network  small\nnote: odd\n") and "exemplars/s" in said
    assert "rank 3 on pi was lost; 1 rank goes on from epoch 2, round 0" in said and "\nback to the start\n" in said
    assert "\n1 epoch, 1.5 s (rounds 0.6, evaluation 0.3, start 0.4, other 0.2); " in said
    assert "; parallel efficiency 0.50: balance 0.80, serialisation 0.75, merge 0.83; weights " in said
    assert said.endswith("; snapshot in x/000001.mpinn\n")
    stopped = dataclasses.replace(STATE, status="interrupted", partial={"train_seconds": 0.1})
    screen(RunEnded(stopped, 1.5, False, None))
    assert "round 0, 1.5 s (rounds 0.7, evaluation 0.3, start 0.4, other 0.1); weights " in capsys.readouterr().out
    silent[0] = True
    for event in events:
        screen(event)
    assert capsys.readouterr().out == ""


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
    (line,) = re.findall(r"\w+ at epoch.*", shown)
    assert line.startswith("interrupted")
    assert f"snapshot in {tmp_path}" in line
