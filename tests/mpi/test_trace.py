"""Traces of whole runs on the ranks there are."""

import gzip
import json
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from mpinn.parallel import clocks, exchange, reduction, timeline
from mpinn.parallel import round as round_module
from mpinn.parallel.clocks import Reading
from mpinn.parallel.phases import PHASES
from mpinn.parallel.reduction import Round
from mpinn.parallel.schedule import Counts
from mpinn.parallel.timeline import Kind, Timeline
from mpinn.parallel.world import World
from mpinn.system.errors import UsageError
from mpinn.training import trace as trace_module
from mpinn.training.trace import TraceWriter
from tests.mpi.nodes import Nodes
from tests.mpi.test_run import prepare, result, run
from tests.training.test_trace_events import check_format

OPTIONS = ("--workers", 8, "--worker-batch", 20, "--merge", "block-momentum", "--epochs", 3)
ROUNDS = 7  # of an epoch of 1010 exemplars
AGEING = 0.01  # seconds a second, by which clocks of other nodes go fast


def written(world: World, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = world.on_root(lambda: json.loads(path.read_text()))
    return found


def spans(trace: dict[str, Any], name: str) -> dict[int, list[dict[str, Any]]]:
    """Return the events of a name by rank."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "X" and event["name"] == name:
            found[event["tid"] - 1].append(event)
    return found


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_a_traced_run_learns_the_same_and_every_rank_has_every_round(
    world: World,
    data: Path,
    shared_tmp_path: Path,
    through: str,
) -> None:
    paths = [shared_tmp_path / name for name in ("plain.json", "traced.json", "trace.json")]
    options = ("--data", data, *OPTIONS, "--exchange", through)
    run(world, *options, "--result", paths[0])
    run(world, *options, "--result", paths[1], "--trace", paths[2], "--checkpoint", shared_tmp_path / "snapshots")
    plain, traced, trace = result(world, paths[0]), result(world, paths[1]), written(world, paths[2])
    assert traced["weights_sha256"] == plain["weights_sha256"]
    check_format(trace["traceEvents"])
    about = trace["otherData"]
    assert (about["rounds"], about["cut"], about["job"]) == (3 * ROUNDS, False, traced["job"])
    assert about["config"] == traced["config"] and about["commit"] == traced["environment"]["commit"]
    places = [(epoch, round_) for epoch in (1, 2, 3) for round_ in range(1, ROUNDS + 1)]
    learned = defaultdict(list)
    for rank in range(world.size):
        for name in ("round", "merging"):
            mine = [(e["args"]["epoch"], e["args"]["round"]) for e in spans(trace, name)[rank]]
            assert mine == places, (rank, name)
        assert len(spans(trace, "waiting")[rank]) == 3 * ROUNDS * (2 if through == "shared-memory" else 1)
        for name, least in (("evaluating", 3), ("saving", 6), ("scattering", 3)):
            assert len(spans(trace, name)[rank]) >= least, name
        for event in spans(trace, "learning")[rank]:
            learned[event["args"]["epoch"], event["args"]["worker"]].append(event["args"]["exemplars"])
    assert sum(map(sum, learned.values())) == 3 * 1010 and {worker for _, worker in learned} == set(range(8))


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_spans_come_to_the_phases_of_the_result(
    world: World,
    data: Path,
    shared_tmp_path: Path,
    through: str,
) -> None:
    path, traced = shared_tmp_path / "r.json", shared_tmp_path / "t.json"
    run(world, "--data", data, *OPTIONS, "--exchange", through, "--result", path, "--trace", traced)
    phases = [row["phases"] for row in result(world, path)["epochs"]]
    trace = written(world, traced)

    def seconds(name: str) -> np.ndarray:
        return np.array([sum(e["dur"] for e in spans(trace, name)[rank]) / 1e6 for rank in range(world.size)])

    said = {name: sum(row[name]["mean"] for row in phases) for name in PHASES}
    assert seconds("thinking").mean() == pytest.approx(said["think"], rel=0.01, abs=1e-4)
    assert seconds("training").mean() == pytest.approx(said["train"], rel=0.01, abs=1e-4)
    rounds, merging, waiting = (seconds(name) for name in ("round", "merging", "waiting"))
    assert rounds.mean() == pytest.approx(sum(said.values()), rel=0.05, abs=3e-3)
    assert (waiting <= merging).all() and (seconds("learning") + merging <= rounds).all()
    assert waiting.mean() >= said["wait"] - 1e-4  # of which the shortest stay of a round is merging


def test_with_overlap_merges_are_under_way_while_ranks_learn(
    world: World,
    data: Path,
    shared_tmp_path: Path,
) -> None:
    path = shared_tmp_path / "t.json"
    run(world, "--data", data, *OPTIONS, "--overlap", "--exchange", "allreduce", "--trace", path)
    trace = written(world, path)
    check_format(trace["traceEvents"])
    learning = spans(trace, "learning")
    for rank in range(world.size):
        mine = [e for e in trace["traceEvents"] if e.get("id") == f"rank {rank}"]
        sent, arrived = ([e for e in mine if e["ph"] == kind] for kind in "be")
        assert [(e["args"]["epoch"], e["args"]["round"]) for e in sent] == [
            (epoch, round_) for epoch in (1, 2, 3) for round_ in range(1, ROUNDS + 1)
        ]
        across = [
            one
            for start, end in zip(sent, arrived, strict=True)
            for one in learning[rank]
            if start["ts"] <= one["ts"] < end["ts"] and one["args"]["round"] == start["args"]["round"] + 1
        ]
        assert across or world.size == 1 or not learning[rank], (
            "no merge was under way while the next round was learned"
        )


def test_a_merge_ends_when_its_rank_notices_that_it_is_complete() -> None:
    """MPI's progress is counted, and a merge that was noticed between exemplars has ended before it is waited for."""
    tests, kept = iter([False, True, True]), Timeline(rounds=1)
    request = SimpleNamespace(Test=lambda: next(tests), Wait=lambda: None)
    comm = SimpleNamespace(Iallreduce=lambda *buffers: request)
    kept.begin_round(1, 1)
    sums = np.zeros(3)
    merge = reduction.Reduction(comm, 1, sums, Round(Counts(np.ones(1, int), 1), 0, sums), True, None, kept)
    merge.progress()
    assert not len(kept.spans()) and kept.progressed > 0
    merge.progress()
    (noticed,) = kept.spans()
    merge.progress()
    merge.wait()
    under_way, waiting = kept.spans()
    assert under_way == noticed and under_way["kind"] == Kind.UNDER_WAY and waiting["kind"] == Kind.WAITING
    assert under_way["end"] <= waiting["start"]


def test_without_overlap_none_is(world: World, data: Path, shared_tmp_path: Path) -> None:
    path = shared_tmp_path / "t.json.gz"
    run(world, "--data", data, *OPTIONS, "--exchange", "allreduce", "--trace", path, "--trace-rounds", 10)
    trace = world.on_root(lambda: json.loads(gzip.decompress(path.read_bytes())))
    assert not [event for event in trace["traceEvents"] if event["ph"] in "be"]
    assert (trace["otherData"]["rounds"], trace["otherData"]["cut"]) == (10, True)
    assert {len(mine) for mine in spans(trace, "round").values()} == {10}
    assert {len(mine) for mine in spans(trace, "evaluating").values()} == {3}


@pytest.mark.mpi(min_size=4)
def test_hosts_whose_clocks_differ_are_brought_together(
    world: World,
    data: Path,
    shared_tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nodes of two ranks; the clock of each later one is a thousand seconds further, and goes fast."""
    nodes, path = Nodes(MPI.COMM_WORLD, 2), shared_tmp_path / "t.json"
    node, began = world.rank // 2, world.comm.bcast(perf_counter())  # one clock: it is one machine

    def clock() -> float:
        true = perf_counter()
        return true + node * (1000 + AGEING * (true - began))

    for module in (clocks, exchange, reduction, round_module, timeline, trace_module):
        monkeypatch.setattr(module, "perf_counter", clock)
    run(nodes, "--data", data, *OPTIONS, "--trace", path)
    nodes.memory.free()
    trace = written(world, path)
    hosts = trace["otherData"]["clocks"]
    assert len(hosts) == nodes.nodes == -(-world.size // 2)
    length = max(event.get("ts", 0) for event in trace["traceEvents"])  # microseconds between two readings, or less
    for number, host in enumerate(hosts):
        assert host["offset_seconds"] == pytest.approx(1000 * number, abs=0.5)
        ageing = AGEING * number / (1 + AGEING * number)  # by a second of that clock itself
        doubtful = 1e6 * 2 * host["uncertainty_seconds"] / (length / 1e6)
        assert host["drift_ppm"] == pytest.approx(1e6 * ageing, abs=doubtful + 1)
    assert hosts[0]["uncertainty_seconds"] == 0 and all(0 < h["uncertainty_seconds"] < 0.1 for h in hosts[1:])
    uncertain = 1e6 * max(host["uncertainty_seconds"] for host in hosts) + 50
    ends: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for mine in spans(trace, "merging").values():
        for event in mine:
            ends[event["args"]["epoch"], event["args"]["round"]].append((event["ts"], event["ts"] + event["dur"]))
    for place, merges in ends.items():  # no rank is done before the last has come
        assert max(start for start, _ in merges) <= min(end for _, end in merges) + uncertain, place
    assert {event["pid"] for event in trace["traceEvents"] if event["ph"] == "X"} == set(range(1, len(hosts) + 1))


@pytest.mark.mpi(min_size=4)
def test_readings_that_another_host_made_at_the_end_are_not_taken(
    world: World, data: Path, shared_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where all ranks of rank 0's host were lost: they are of another clock."""
    nodes = Nodes(MPI.COMM_WORLD, 2)
    traced = prepare(nodes, "--quiet", "--data", data, "--trace", shared_tmp_path / "t.json")
    (writer,) = (one for one in traced.observers if isinstance(one, TraceWriter))
    assert sorted(writer.start) == list(range(1, nodes.nodes))
    end = {host: Reading(1.0, 2.0, 0.0) for host in writer.start}
    monkeypatch.setattr(nodes, "start_rank", 1)  # whoever is rank 0 now
    assert [clock.end for clock in writer.clocks(end)][1:] == list(end.values())
    monkeypatch.setattr(nodes, "start_rank", 2)
    assert [clock.end for clock in writer.clocks(end)][1:] == len(end) * [None]
    nodes.memory.free()


@pytest.mark.parametrize("bad", ["missing/t.json", ".", "r.json"])
def test_a_place_that_cannot_be_written_is_refused_before_training(
    world: World,
    data: Path,
    shared_tmp_path: Path,
    bad: str,
) -> None:
    path = shared_tmp_path / bad
    with pytest.raises(UsageError, match=str(path) if bad != "missing/t.json" else "give --trace another place"):
        prepare(world, "--data", data, "--result", shared_tmp_path / "r.json", "--trace", path)
