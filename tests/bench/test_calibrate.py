"""Calibration, really run: what is measured of this machine is what rounds are made of."""

import os
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.prediction import calibrate, machine, model
from bench.prediction.model import PAPERS, Cluster, Job
from tests.command.commands import errors, run


def test_this_machine_is_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "LAYERS", ())
    monkeypatch.setattr(calibrate, "TURNS", 1)
    before = os.sched_getaffinity(0)
    assert main(["calibrate", "--out", str(tmp_path / "new" / "calibration.json")]) == 0
    assert os.sched_getaffinity(0) == before
    found = machine.load(tmp_path / "new" / "calibration.json")
    assert [one.layers for one in found.speeds] == [PAPERS] * len(found.speeds)
    assert found.speeds[0].ranks == 1 and found.speeds[-1].ranks == found.cores
    assert found.network is None and set(found.start_seconds) >= {"1", str(found.cores)}
    assert len(found.variation) == 101 and found.variation[0] <= 1 <= found.variation[-1]
    one = model.round_of(found, Cluster(1, 1, found.cores), Job(1, 100))
    assert 0.5 * one.host < one.learn < one.host  # microseconds: most of such a round is learning
    said = capsys.readouterr().out
    assert f"{found.speeds[0].exemplar:.2f} us an exemplar" in said and "next: python -m bench predict" in said


def test_where_it_cannot_be_kept_nothing_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run(["python", "-m", "bench", "calibrate", "--out", str(tmp_path / "file" / "calibration.json")])
    assert ran.returncode == 2 and "give --out another place" in errors(ran.stderr)[0]
