"""The prediction of training on machines that are not here: its formulas, its simulation, and the command."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import main
from bench.prediction import machine, model, predict, simulation
from bench.prediction.machine import Machine, Network, Speed
from bench.prediction.model import Cluster, Job
from bench.programs.calibration import fitted, variation
from mpinn.hosts import library
from mpinn.system.errors import UsageError
from tests.command.commands import errors, run

PAPERS = (784, 100, 10)


def speed(ranks: int, exemplar: float, worker: float, round_: float, layers: tuple[int, ...] = PAPERS) -> Speed:
    return Speed(layers=layers, ranks=ranks, exemplar=exemplar, worker=worker, round=round_, worst_fit_percent=5.0)


NETWORK = Network(latency=30.0, link_mbits=1000.0, allreduce=100.0, allreduce_byte=0.010, round=1850.0)
HOST = Machine(
    schema_version=1,
    title="a board",
    processor="a processor",
    cores=4,
    measured="2026-11-26T12:00:00+00:00",
    kernel_id="native-0",
    mpi="Open MPI 5.0.11",
    wait_policy="yield",
    speeds=(
        speed(1, 4.0, 60.0, 100.0),
        speed(4, 8.0, 90.0, 300.0),
        speed(1, 2.0, 30.0, 60.0, (784, 30, 10)),
        speed(1, 12.0, 200.0, 240.0, (784, 300, 10)),
    ),
    overlap_worker=160.0,
    overlap_round=150.0,
    core_shared=500.0,
    variation=(1.0, 1.0),
    start_seconds={"1": 0.5},
    network=NETWORK,
)


def test_a_round_on_one_host_is_its_workers_and_what_a_round_takes() -> None:
    found = model.round_of(HOST, Cluster(1, 1, 4), Job(16, 100))
    assert found == pytest.approx((16 * 100 * 4, 16 * (100 * 4 + 60) + 100, 0))
    found = model.round_of(HOST, Cluster(1, 4, 4), Job(16, 100))
    assert found == pytest.approx((4 * 100 * 8, 4 * (100 * 8 + 90) + 300, 0))


def test_a_rank_with_one_worker_more_is_waited_for() -> None:
    assert model.round_of(HOST, Cluster(1, 4, 4), Job(17, 100)).learn == 5 * 100 * 8


def test_ranks_that_share_a_core_take_turns_and_make_a_round_longer() -> None:
    found = model.round_of(HOST, Cluster(1, 16, 4), Job(16, 100))
    assert found == pytest.approx((4 * 100 * 8, 4 * (100 * 8 + 90) + 300 + 3 * 500, 0))
    halves = model.round_of(HOST, Cluster(4, 1, 0.5), Job(16, 100))  # four hosts on two cores
    assert halves.host == pytest.approx(2 * 4 * (100 * 4 + 60) + 100 + 500)


def test_ranks_on_a_core_find_its_caches_full_of_the_others_weights() -> None:
    """Each further one makes it longer by what the second did, up to three; a little where only some cores have two."""
    full = dataclasses.replace(HOST, shared_exemplar=2.4, shared_worker=3.0)
    assert [Cluster(2, ranks, cores).turns for ranks, cores in ((1, 2), (4, 2), (1, 0.5))] == [1, 2, 2]
    fewer, more = ((4, 1, 1), (6, 1.5 * 1.1, 1.5 * 1.25)), ((8, 2.4, 3), (16, 4 * 1.6, 4 * 2.5), (20, 8, 5 * 2.5))
    for ranks, exemplar, worker in fewer + more:
        found = model.round_of(full, Cluster(1, ranks, 4), Job(ranks, 100))
        learn = exemplar * 100 * 8
        assert found == pytest.approx((learn, learn + worker * 90 + 300 + (ranks / 4 - 1) * 500, 0))


def test_between_hosts_a_worker_takes_what_was_measured_there() -> None:
    further = dataclasses.replace(HOST, network=dataclasses.replace(NETWORK, worker=80.0))
    alone, between = (model.round_of(further, Cluster(hosts, 1, 4), Job(16, 100)).host for hosts in (1, 2))
    assert alone == 16 * (100 * 4 + 60) + 100 and between == 8 * (100 * 4 + 80) + 100
    larger = (784, 300, 10)
    assert model.between_hosts(further, Job(2, 10, larger)) == pytest.approx(20 * model.parameters(larger) / 79510)
    assert model.between_hosts(dataclasses.replace(HOST, network=None), Job(2, 10)) == 0
    assert model.between_hosts(HOST, Job(2, 10)) == 0  # of a calibration that does not tell


def test_hosts_that_share_cores_come_to_a_merge_as_many_times_later() -> None:
    wires = [model.round_of(HOST, Cluster(2, 1, cores), Job(2, 100), allreduce=7.0).wire for cores in (1, 0.5)]
    late = 1850 - 100 - 100 - 0.010 * Job(2, 100).merge_bytes
    assert wires == pytest.approx([7 + late, 7 + 2 * late])


def test_with_overlap_workers_and_rounds_have_more_to_do() -> None:
    found = model.round_of(HOST, Cluster(1, 4, 4), Job(16, 100, overlap=True))
    assert found.host == pytest.approx(4 * (100 * 8 + 90 + 100) + 300 + 50)
    larger = model.overlapping(HOST, Job(16, 100, (784, 300, 10), overlap=True))
    assert larger == pytest.approx([part * model.parameters((784, 300, 10)) / 79510 for part in (100, 50)])


def test_between_measured_ranks_times_are_interpolated_by_doublings() -> None:
    found = model.speed_of(HOST, PAPERS, 2)
    assert (found.exemplar, found.worker, found.round) == pytest.approx((6.0, 75.0, 200.0))
    assert model.speed_of(HOST, PAPERS, 64).exemplar == 8.0  # no more is known


def test_a_network_that_was_not_measured_lies_between_those_that_were() -> None:
    line = dataclasses.replace(
        HOST,
        speeds=tuple(
            speed(1, 1 + 1e-4 * model.weights_met(layers), 10 + 1e-3 * model.parameters(layers), 50.0, layers)
            for layers in (PAPERS, (784, 30, 10), (784, 300, 10))
        ),
    )
    found = model.speed_of(line, (784, 200, 10), 1)
    assert found.exemplar == pytest.approx(1 + 1e-4 * (150 * 200 + 2000))
    assert (found.worker, found.round) == pytest.approx((10 + 1e-3 * (785 * 200 + 201 * 10), 50.0))
    known = model.speed_of(HOST, (784, 300, 10), 4)  # as much slower on four ranks as the paper's
    assert (known.exemplar, known.worker, known.round) == pytest.approx((24.0, 300.0, 720.0))


def test_two_hosts_take_what_was_measured_between_two() -> None:
    job, cluster = Job(2, 100), Cluster(2, 1, 4)
    alone = 100 + 0.010 * job.merge_bytes
    assert model.round_of(HOST, cluster, job).wire == pytest.approx(max(alone, 1850 - 100))
    quick = dataclasses.replace(HOST, network=dataclasses.replace(NETWORK, round=1.0))
    assert model.round_of(quick, cluster, job).wire == pytest.approx(alone)
    assert model.round_of(quick, cluster, job, allreduce=7.0).wire == 7.0


def test_another_link_has_its_own_gap_and_the_same_processors() -> None:
    assert model.links(HOST, Cluster(2, 1, 4)) == pytest.approx((50, 0.010, 0.002))
    assert model.links(HOST, Cluster(2, 1, 4, link_mbits=100.0)) == pytest.approx((50, 0.08 * 1538 / 1448, 0.002))
    assert model.links(HOST, Cluster(2, 1, 4, link_mbits=1e6)) == pytest.approx((50, 0.002, 0.002))  # the link's: 0.008
    assert model.links(HOST, Cluster(2, 1, 4, latency=80.0)) == pytest.approx((50 + 50, 0.010, 0.002))
    assert model.links(HOST, Cluster(2, 1, 0.5)) == pytest.approx((2 * 50, 2 * 0.010, 2 * 0.002))


@given(st.integers(1, 10), st.floats(1e2, 1e7))
def test_bytes_of_a_merge_are_the_least_and_messages_few(power: int, size: float) -> None:
    hosts = 2**power
    found = model.by_formula(model.Links(50, 0.010, 0.0), hosts, int(size))
    assert found == pytest.approx(2 * power * 50 + 2 * (hosts - 1) / hosts * int(size) * 0.010)


def test_what_travels_are_two_bytes_for_every_weight_that_is_learned() -> None:
    assert Job(16, 100).merge_bytes == 2 * (718 * 100 + 1010)
    assert Job(1000, 10).merge_bytes == 4 * (718 * 100 + 1010)  # int32: too many workers for int16


@given(st.integers(0, 8), st.integers(1, 8), st.integers(1, 512), st.sampled_from([1, 10, 100]), st.booleans())
def test_predictions_keep_to_what_must_be(power: int, ranks: int, workers: int, batch: int, overlap: bool) -> None:
    cluster, job = Cluster(2**power, ranks, 4), Job(workers, batch, overlap=overlap)
    found = simulation.predict(HOST, cluster, job)
    efficiency = found.efficiency
    assert efficiency.parallel == pytest.approx(efficiency.balance * efficiency.serialisation * efficiency.transfer)
    assert 0 < efficiency.parallel <= 1 + 1e-9
    assert found.low <= found.epoch_seconds * (1 + 1e-9) and found.epoch_seconds <= found.high * (1 + 1e-9)
    cores = 2**power * min(ranks, 4)
    assert found.epoch_seconds >= 0.999 * 1e-6 * model.EXEMPLARS * 4.0 / cores  # no faster than its cores


def test_without_variation_an_epoch_is_its_rounds() -> None:
    found = simulation.predict(HOST, Cluster(4, 4, 4), Job(16, 100))
    round_ = sum(model.round_of(HOST, Cluster(4, 4, 4), Job(16, 100))[1:])
    assert found.round_microseconds == pytest.approx(round_)
    assert found.epoch_seconds == pytest.approx(1e-6 * round_ * 60_000 / 1600)
    assert found.low == found.high and found.efficiency.serialisation == 1


def test_overlap_hides_the_wire_behind_learning() -> None:
    """But for what processors do, 0.002 of 0.010 microseconds a byte, and rounds that leave no merge under way."""
    plain, beside = (model.round_of(HOST, Cluster(4, 4, 4), Job(64, 100, overlap=way)) for way in (False, True))
    alone = model.by_formula(model.links(HOST, Cluster(4, 4, 4)), 4, Job(64, 100).merge_bytes)
    assert plain.wire == pytest.approx(alone + model.in_training(HOST)) and 0 < alone < beside.learn
    assert beside.wire == pytest.approx(plain.wire - 9 / 10 * 0.8 * alone)  # of ten rounds the last settles
    slow = Cluster(4, 4, 4, link_mbits=10.0)
    plain, beside = (model.round_of(HOST, slow, Job(16, 100, overlap=way)) for way in (False, True))
    assert beside.wire == pytest.approx(plain.wire - 37 / 38 * beside.learn) and beside.wire > 0
    many = Job(16, 40, overlap=True)  # of 94 rounds the 64th and the last settle
    plain, beside_many = (model.round_of(HOST, slow, dataclasses.replace(many, overlap=way)) for way in (False, True))
    assert beside_many.wire == pytest.approx(plain.wire - 92 / 94 * beside_many.learn)
    found = simulation.predict(HOST, slow, Job(16, 100, overlap=True))
    assert found.round_microseconds == pytest.approx(beside.host + beside.wire) and found.limits == "the network"


def test_with_short_batches_and_on_shared_cores_only_the_first_message_is_hidden() -> None:
    for hosts, messages in ((2, 2), (4, 6)):
        for batch, cores, part in ((31, 4, 1 / messages), (32, 4, 1.0), (32, 2, 1 / messages)):
            ways = [Job(512, batch, overlap=way) for way in (False, True)]
            plain, beside = (model.round_of(HOST, Cluster(hosts, 4, cores), job, allreduce=100.0) for job in ways)
            settled = 1 / ways[0].rounds
            assert plain.wire - beside.wire == pytest.approx((1 - settled) * part * 0.8 * 100)
    free = dataclasses.replace(HOST, network=dataclasses.replace(NETWORK, allreduce_byte=0.0))
    assert model.round_of(free, Cluster(2, 4, 4), Job(16, 100, overlap=True)).wire >= 0


def test_very_many_hosts_take_no_more_memory() -> None:
    varied = dataclasses.replace(HOST, variation=(0.5, 1.5))
    found = simulation.predict(varied, Cluster(2**16, 1, 1), Job(1, 1))  # 60,000 rounds of 65,536 hosts
    _, host, wire = model.round_of(varied, Cluster(2**16, 1, 1), Job(1, 1))
    assert found.round_microseconds == pytest.approx(1.5 * host + wire, rel=0.01)


def test_auto_takes_the_batch_that_a_merge_asks_for(tmp_path: Path) -> None:
    """A twentieth of the time of learning, or the largest that the law allows: with overlap what cannot be hidden."""
    asked = argparse.Namespace(worker_batch="auto", layers=PAPERS, overlap=False)
    one = Cluster(1, 4, 4)
    assert predict.batch_of(asked, HOST, one, 4) == 400  # the law's most: a merge is worth 1,000 exemplars
    quick = dataclasses.replace(HOST, overlap_worker=60.0, overlap_round=100.0)
    slow = Cluster(4, 1, 4, link_mbits=20.0)
    plain, beside = (
        predict.batch_of(argparse.Namespace(**vars(asked) | {"overlap": way}), quick, slow, 4) for way in (False, True)
    )
    assert beside < plain  # a wire of tens of milliseconds is hidden behind learning


def test_hosts_that_vary_wait_for_the_slowest() -> None:
    varied = dataclasses.replace(HOST, variation=(0.5, 1.5))  # uniform
    for hosts in (1, 2, 64):
        cluster, job = Cluster(hosts, 4, 4), Job(256, 1)
        _, host, wire = model.round_of(varied, cluster, job)
        slowest = 0.5 + hosts / (hosts + 1)  # the expected largest of so many
        found = simulation.predict(varied, cluster, job)
        assert found.round_microseconds == pytest.approx(slowest * host + wire, rel=0.03)
        assert (found.efficiency.serialisation < 0.999) == (hosts > 1)


def test_the_same_prediction_has_the_same_figures() -> None:
    varied = dataclasses.replace(HOST, variation=(0.5, 1.0, 3.0))
    assert simulation.predict(varied, Cluster(8, 4, 4), Job(32, 10)) == simulation.predict(
        varied, Cluster(8, 4, 4), Job(32, 10)
    )


@pytest.mark.parametrize(
    ("cluster", "job", "limits"),
    [
        (Cluster(1, 4, 4), Job(5, 1000), "too few workers for the ranks"),
        (Cluster(1, 4, 4), Job(64, 1), "merging on a host"),
        (Cluster(16, 4, 4, link_mbits=10), Job(64, 10), "the network"),
    ],
)
def test_what_limits_is_named(cluster: Cluster, job: Job, limits: str) -> None:
    assert simulation.predict(HOST, cluster, job).limits == limits
    varied = dataclasses.replace(HOST, variation=(*[0.9] * 99, 10.0))
    assert simulation.predict(varied, Cluster(256, 4, 4, 1e5), Job(1024, 58)).limits == "hosts wait for the slowest"


@given(st.tuples(st.floats(0.5, 50), st.floats(1, 1000), st.floats(1, 1000)))
def test_a_fit_finds_the_times_that_rounds_are_made_of(times: tuple[float, float, float]) -> None:
    grid = np.array([(1, 10), (1, 100), (4, 10), (16, 100), (1, 1000)], float)
    seconds = times[0] * grid[:, 0] * grid[:, 1] + times[1] * grid[:, 0] + times[2]
    found, worst = fitted(grid, seconds)
    assert found == pytest.approx(times, rel=1e-6) and worst < 1e-6


def test_no_time_is_below_nothing_and_the_worst_error_is_told() -> None:
    grid = np.array([(1, 10), (1, 100), (4, 10), (4, 100)], float)
    seconds = grid[:, 0] * (2.0 * grid[:, 1] + 10) - 4  # as if a round gave time back
    found, worst = fitted(grid, seconds)
    assert found[2] == 0 and (found >= 0).all() and 0.01 < worst < 0.2
    assert worst == pytest.approx(np.abs((grid[:, 0] * (found[0] * grid[:, 1] + found[1])) / seconds - 1).max())


def test_variation_is_of_shares_of_the_mean() -> None:
    found = variation(np.array([[1.0, 2.0], [3.0, 2.0]]))
    assert found[0] == 0.5 and found[-1] == 1.5 and found[50] == 1.0 and len(found) == 101


def test_a_slower_machine_is_as_much_slower_in_all_but_the_network() -> None:
    slow = machine.slowed(HOST, 12.0, "slow")
    ratio = [a / b for a, b in zip(model.round_of(slow, Cluster(1, 8, 4), Job(16, 10)),
                                   model.round_of(HOST, Cluster(1, 8, 4), Job(16, 10)), strict=True) if b]  # fmt: skip
    assert ratio == pytest.approx([3, 3]) and slow.title == "slow"
    two, job = Cluster(2, 1, 4), Job(2, 100)
    assert model.links(slow, two) == model.links(HOST, two)
    assert model.round_of(slow, two, job).wire == model.round_of(HOST, two, job).wire
    assert model.between_hosts(slow, job) == 0
    further = dataclasses.replace(HOST, network=dataclasses.replace(NETWORK, worker=80.0))
    assert model.between_hosts(machine.slowed(further, 12.0, "slow"), job) == pytest.approx(60)


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "calibration.json"
    path.write_text(json.dumps(dataclasses.asdict(HOST) | changes))
    return path


def test_a_machine_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert machine.load(written(tmp_path)) == HOST


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"speeds": []}, "speeds"),
        ({"speeds": [{"ranks": 1}]}, "speeds"),
        ({"speeds": [dataclasses.asdict(HOST.speeds[1])]}, "speeds[0].ranks: expected 1"),
        ({"cores": 0}, "cores"),
        ({"variation": [1]}, "variation"),
        ({"network": {"latency": -1}}, "network"),
        ({"schema_version": 2}, "schema_version"),
        ({"speeds": [dataclasses.asdict(HOST.speeds[0]) | {"exemplar": 0}]}, "speeds[0].exemplar"),
    ],
)
def test_what_is_no_calibration_is_refused_by_file_and_key(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = written(tmp_path, **change)
    with pytest.raises(UsageError) as refused:
        machine.load(path)
    assert str(path) in str(refused.value) and said in str(refused.value)


def bench_predict(*words: str | Path) -> Any:
    return run([sys.executable, "-m", "bench", "predict", *map(str, words)])


def test_the_command_tells_every_number_of_hosts_and_where_more_stop_paying(tmp_path: Path) -> None:
    figure = tmp_path / "far.svg"
    ran = bench_predict("--machine", written(tmp_path), "--hosts", "24", "--workers", "256", "--figure", figure)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "a board: predicted, not measured"
    rows = [line.split() for line in lines[2:8]]
    assert [row[0] for row in rows] == ["1", "2", "4", "8", "16", "24"]
    assert [row[1] for row in rows] == ["4", "8", "16", "32", "64", "96"]
    assert " more stop paying: twice as many are not a tenth faster" in ran.stdout
    assert figure.read_text().startswith("<?xml")


def test_seconds_to_97_are_told_only_where_a_law_tells_the_epochs(tmp_path: Path) -> None:
    path = written(tmp_path)
    lawful = bench_predict("--machine", path, "--hosts", "1", "--workers", "16", "--watts", "10").stdout
    row = lawful.splitlines()[2].split()
    found = simulation.predict(HOST, Cluster(1, 4, 4), Job(16, int(row[3])))
    assert float(row[-2]) == pytest.approx(7 * found.epoch_seconds, rel=0.01)
    assert float(row[-1]) == pytest.approx(70 * found.epoch_seconds, rel=0.01)
    beyond = bench_predict("--machine", path, "--hosts", "1", "--workers", "16", "--worker-batch", "1000").stdout
    assert "not known" in beyond.splitlines()[2]
    many = bench_predict("--machine", path, "--hosts", "1", "--ranks", "4", "--workers", "512").stdout
    assert "not known" in many.splitlines()[2]  # even a worker batch of 1 is beyond the law
    other = bench_predict("--machine", path, "--hosts", "1", "--layers", "784", "300", "10").stdout
    assert "not known" in other.splitlines()[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network", "3"], "--network: expected a rate such as 100mbit"),
        (["--hosts", "0"], "--hosts: expected a whole number from 1"),
        (["--worker-batch", "x"], "--worker-batch: expected a whole number"),
        (["--workers", "30000", "--worker-batch", "3"], "--worker-batch 3: 30000 workers have at most 2 exemplars"),
        (["--workers", "60001"], "60,001 workers, more than MNIST's 60,000"),
        (["--profile", "banana-pi-m2"], "no host profile 'banana-pi-m2'"),
        (["--layers", "784"], "--layers: expected 784 ... 10, MNIST's pixels and classes, got 784"),
        (["--layers", "784", "100", "2"], "--layers: expected 784 ... 10"),
        (["--hosts", "1000000000"], "--hosts: expected a whole number from 1 to 65,536"),
        (["--watts", "nan"], "--watts: expected a number above 0"),
    ],
)
def test_what_cannot_be_predicted_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    ran = bench_predict("--machine", written(tmp_path), *words)
    assert ran.returncode == 2 and said in errors(ran.stderr)[0]


def test_a_machine_without_a_network_is_predicted_alone(tmp_path: Path) -> None:
    path = written(tmp_path, network=None)
    assert bench_predict("--machine", path, "--hosts", "1").returncode == 0
    assert "the network between hosts was not measured" in errors(bench_predict("--machine", path).stderr)[0]


def test_a_network_that_was_not_measured_can_be_stated(tmp_path: Path) -> None:
    path = written(tmp_path, network=None)
    words = ["--hosts", "2", "--workers", "16", "--worker-batch", "100", "--network", "1gbit", "--latency", "50"]
    ran = bench_predict("--machine", path, *words)
    assert ran.returncode == 0 and "network stated, not measured" in ran.stdout.splitlines()[0]
    job = Job(16, 100)
    _, host, _ = model.round_of(HOST, Cluster(1, 4, 4), Job(8, 100))  # as many workers as one of two hosts has
    wire = 2 * 50 + 8e-3 * 1538 / 1448 * job.merge_bytes
    row = next(line.split() for line in ran.stdout.splitlines() if line.split()[:2] == ["2", "8"])
    assert float(row[4]) == pytest.approx(1e-3 * (host + wire), rel=0.01)


def test_a_profile_that_this_machine_is_not_needs_a_calibration_or_a_statement(tmp_path: Path) -> None:
    stated = bench_predict(
        "--machine", written(tmp_path), "--profile", "raspberry-pi-4", "--exemplar-microseconds", "15", "--hosts", "2"
    )
    assert stated.returncode == 0 and "stated to take 15 us an exemplar (a board: measured)" in stated.stdout


def test_a_profile_may_have_its_calibration_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text((library.directory() / "raspberry-pi-4.yml").read_text())
    written(tmp_path).rename(tmp_path / "mine.calibration.json")
    ran = bench_predict("--profile", tmp_path / "mine.yml", "--hosts", "1")
    assert ran.returncode == 0 and ran.stdout.startswith("a board: predicted"), ran.stderr


def test_without_a_calibration_it_is_said_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="not there: run python -m bench calibrate first"):
        main(["predict"])


def test_more_hosts_never_pay_where_one_has_all_workers() -> None:
    points = [
        predict.Point(Cluster(hosts, 4, 4), Job(4, 100), simulation.predict(HOST, Cluster(hosts, 4, 4), Job(4, 100)), s)
        for hosts, s in ((1, 3.0), (2, 3.1), (4, 3.1))
    ]
    said = predict.words(HOST, points)
    assert any(line.startswith("Beyond 1 host more stop paying") for line in said)


def test_published_hosts_are_as_slow_as_their_epoch_of_one_worker(tmp_path: Path) -> None:
    ran = bench_predict("--machine", written(tmp_path), "--published")
    assert ran.returncode == 0, ran.stderr
    rows = {tuple(line.split()[-4:-2]): line.split()[-2:] for line in ran.stdout.splitlines()[2:]}
    assert set(rows) == {("4", "2.52"), ("4", "3.20"), ("8", "4.32"), ("16", "4.98")}
    host = machine.slowed(HOST, 1e6 * 142.33 / 60_000, "i7")
    one, four = (simulation.predict(host, Cluster(1, n, 2), Job(n, 100)).epoch_seconds for n in (1, 4))
    assert one == pytest.approx(
        142.33 * (1 + 160 / 400), rel=0.01
    )  # an exemplar takes 1/60,000 of the epoch, and merges
    assert rows["4", "2.52"] == [f"{one / four:.2f}", f"{100 * (one / four / 2.52 - 1):+.0f}%"]


def test_without_simgrid_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "none.py"
    nowhere.write_text("import sys; sys.exit(3)")
    monkeypatch.setattr(predict, "SIMGRID", nowhere)
    with pytest.raises(UsageError, match="--switch needs SimGrid: apt install python3-simgrid"):
        main(["predict", "--machine", str(written(tmp_path)), "--switch", "10gbit"])
