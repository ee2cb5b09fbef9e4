"""Calibration, really run: what is measured of this machine is what rounds are made of."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.prediction import calibrate, machine, model, pulse
from bench.prediction.machine import SIZES
from bench.prediction.model import PAPERS, Cluster, Job
from tests.bench.test_prediction import HOST
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
    assert [one.ranks for one in found.speeds] == model.doublings(found.cores)
    assert found.speeds[0].ranks == 1 and found.speeds[-1].ranks == found.cores
    assert calibrate.times(5.0, 2.0) == 2.5 and calibrate.times(1.0, 2.0) == 1 and calibrate.times(1.0, 0.0) == 2
    assert found.network is None and set(found.start_seconds) >= {"1", str(found.cores), str(2 * found.cores)}
    assert 1 <= found.shared_exemplar < 20 and 1 <= found.shared_worker < 1000  # two, if nothing else took a core
    assert len(found.variation) == 101 and found.variation[0] <= 1 <= found.variation[-1]
    one = model.round_of(found, Cluster(1, 1, found.cores), Job(1, 100))
    assert 0.5 * one.host < one.learn < one.host  # microseconds: most of such a round is learning
    assert [one.pulse for one in found.speeds if one.ranks == 1] == [found.pulse] and found.speeds[-1].pulse
    assert found.pulse is not None and 0.1 < found.pulse / found.speeds[0].exemplar < 10  # other tests run beside it
    assert len(found.core_pulses) == len(before) and all(0.1 < one / found.pulse < 10 for one in found.core_pulses)
    times = [one.time for one in found.messages]
    assert [one.bytes for one in found.messages] == list(SIZES) and 0 < times[0] < times[-1]
    said = capsys.readouterr().out
    assert "messages between ranks of a host: " in said and " GB/s in 4,194,304 bytes" in said
    assert f"{found.speeds[0].exemplar:.2f} us an exemplar" in said and "next: python -m bench predict" in said


def test_what_is_measured_at_a_slow_moment_is_scaled_to_the_first() -> None:
    """What processors do between hosts, too; links are as they are."""
    metrics = {"exemplar": 6.0, "worker": 80.0, "round": 300.0, "pulse": 8.0, "latency": 30.0, "allreduce": 50.0}
    metrics = {f"{name}_microseconds": value for name, value in metrics.items()}
    metrics |= {"worst_fit_percent": 1.0, "link_mbits_per_second": 1000.0, "allreduce_nanoseconds_a_byte": 8.0}
    found = calibrate.speed(PAPERS, 1, metrics, 4.0)
    assert (found.exemplar, found.worker, found.round) == (3.0, 40.0, 150.0)
    network = calibrate.network_of({"metrics": metrics, "series": {"host_messages": [1.0]}}, 4.0)
    assert (network.worker, network.round) == (40.0, 150.0)
    assert (network.latency, network.allreduce, network.allreduce_byte) == (30.0, 50.0, 0.008)


def test_cores_in_use_at_once_have_a_pulse_of_their_own() -> None:
    """Between numbers of ranks that were measured it is between theirs; an older calibration has one for all."""
    speeds = [dataclasses.replace(HOST.speeds[0], ranks=ranks, pulse=pulse) for ranks, pulse in ((4, 6.0), (1, 3.0))]
    other = dataclasses.replace(HOST.speeds[0], layers=(784, 30, 10), pulse=1.0)
    found = dataclasses.replace(HOST, pulse=5.0, speeds=(speeds[1], other, speeds[0]))
    assert [model.usual_pulse(found, ranks) for ranks in (0.5, 1, 2, 4, 8)] == [3.0, 3.0, 4.5, 6.0, 6.0]
    assert model.usual_pulse(dataclasses.replace(HOST, pulse=5.0), 2) == 5.0
    assert model.usual_pulse(dataclasses.replace(HOST, pulse=None), 2) is None


def test_how_much_slower_a_machine_has_become_is_told_apart_from_the_error(tmp_path: Path) -> None:
    """On one host everything is as many times slower as the pulse is."""
    left, result = tmp_path / "calibration.json", tmp_path / "result.json"
    left.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(HOST, pulse=1e6))))
    words = ["--machine", str(left), "--epochs", "2", "--workers", "4", "--result", str(result)]
    assert run(["python", "-m", "bench.programs.prediction", *words]).returncode == 0
    found = json.loads(result.read_text())["metrics"]
    error, drift, steady = (1 + found[f"{name}_percent"] / 100 for name in ("error", "drift", "steady_error"))
    assert drift < 0.9 and steady == pytest.approx(error * drift)
    assert found["absolute_steady_error_percent"] == abs(found["steady_error_percent"])


def test_cores_of_other_speeds_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pulse is of the core that it is said to be of, and afterwards the process may use all of them again."""
    before = os.sched_getaffinity(0)
    monkeypatch.setattr(pulse, "pulse", lambda: float(sum(os.sched_getaffinity(0))))
    assert pulse.of_each_core() == sorted(map(float, before)) and os.sched_getaffinity(0) == before


def test_where_it_cannot_be_kept_nothing_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run(["python", "-m", "bench", "calibrate", "--out", str(tmp_path / "file" / "calibration.json")])
    assert ran.returncode == 2 and "give --out another place" in errors(ran.stderr)[0]
