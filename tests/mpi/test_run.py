"""Whole runs on the ranks there are: results, snapshots, and going on with another number of ranks."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from mpinn import config
from mpinn.config import Options
from mpinn.merging import formats, overlap, sums, worker_batch
from mpinn.merging.optimizers import OPTIMIZERS
from mpinn.merging.worker_batch import MergeCost
from mpinn.parallel.phases import PHASES, RoundMerged
from mpinn.parallel.round import Progress
from mpinn.parallel.stop_requests import Requests
from mpinn.parallel.world import World
from mpinn.system.errors import UsageError
from mpinn.training import setup, snapshots
from mpinn.training.events import EpochEnded, Event, RunBegan, RunEnded, Saved
from mpinn.training.run import Run
from mpinn.training.stopwatch import Stopwatch
from tests.mpi.nodes import Nodes


def run(world: World, *arguments: str | Path) -> Run:
    """Train as the command line says, silently."""
    run = prepare(world, "--quiet", *arguments)
    run.train()
    return run


def prepare(world: World, *arguments: str | Path) -> Run:
    """Return the run that the command line asks for."""
    given = world.on_root(lambda: config.given(config.parse([*map(str, arguments)])))
    return setup.prepare(world, given, Stopwatch())


def result(world: World, path: Path) -> dict[str, Any]:
    return world.on_root(lambda: json.loads(path.read_text()))


def test_the_result_says_what_was_run_and_what_came_of_it(world: World, data: Path, shared_tmp_path: Path) -> None:
    path = shared_tmp_path / "result.json"
    done = run(world, "--data", data, "--epochs", 3, "--evaluate-every", 2, "--result", path)
    said = result(world, path)
    assert said["status"] == "completed" and said["failures"] == [] and said["schema_version"] == 1
    assert said["config"]["workers"] == said["environment"]["ranks"] == world.size
    assert said["config"]["layers"] == [144, 100, 5]
    assert [row["epoch"] for row in said["epochs"]] == [1, 2, 3]
    assert [row["test_accuracy"] is None for row in said["epochs"]] == [True, False, False]
    assert set(said["epochs"][0]["phases"]) == {"think", "train", "merge", "wait"}
    assert said["weights_sha256"] == done.result_of(done.state)["weights_sha256"]
    assert said["exchange"] in ("shared-memory", "allreduce") and said["price"] is None and said["divergences"] == []
    assert {"data", "prepare"} <= set(said["start"]) and min(said["start"].values()) >= 0
    assert 0 < said["memory"]["pss_mib_mean"] <= said["memory"]["pss_mib_max"]


@pytest.mark.parametrize("stop", [1, 2])
def test_resumed_on_another_number_of_ranks_the_weights_are_the_same(
    world: World, data: Path, shared_tmp_path: Path, stop: int
) -> None:
    options = ("--data", data, "--merge", "block-momentum", "--workers", 4, "--worker-batch", 30)
    whole, parts = shared_tmp_path / "whole.json", shared_tmp_path / "parts.json"
    run(world, *options, "--epochs", 4, "--result", whole)
    run(world, *options, "--epochs", stop, "--checkpoint", shared_tmp_path / "snapshots")
    if world.root:  # one rank goes on alone
        alone = ("--resume", shared_tmp_path / "snapshots", "--data", data, "--epochs", 4, "--result", parts)
        run(World(MPI.COMM_SELF), *alone)
    expected, said = result(world, whole), result(world, parts)
    assert said["weights_sha256"] == expected["weights_sha256"]
    assert said["config"]["workers"] == 4 and said["environment"]["ranks"] == 1
    accuracies = [(row["epoch"], row["train_accuracy"], row["test_accuracy"]) for row in said["epochs"]]
    assert accuracies == [(row["epoch"], row["train_accuracy"], row["test_accuracy"]) for row in expected["epochs"]]
    assert said["total_seconds"] > sum(row["train_seconds"] for row in said["epochs"][:stop])


HOW: list[list[object]] = [
    *(["--merge", "gradient", "--optimizer", name] for name in OPTIMIZERS),
    ["--merge", "gradient", "--optimizer", "rprop", "--worker-batch", "all", "--learning-rate", 0.3],
    ["--optimizer", "adam"],
    ["--schedule", "one-cycle", "--schedule-epochs", 4],
    ["--schedule", "plateau", "--decay-epochs", 1, "--learning-rate", 0.5],
    ["--merge", "gradient", "--optimizer", "momentum", "--schedule", "exponential", "--decay", 0.5],
    ["--worker-momentum", 0.5],
    ["--dropout", 0.2],
    ["--layers", 144, 20, 12, 5, "--activations", "identity", "selu", "gelu", "sigmoid", "--loss", "cross-entropy"],
]


@pytest.mark.parametrize("how", HOW, ids=str)
def test_every_way_of_learning_is_resumed_to_the_same_weights(
    world: World, data: Path, shared_tmp_path: Path, how: list[object]
) -> None:
    """In the middle of an epoch, or after its only round, with another number of ranks."""
    last, stop = (1, 1) if "all" in how else (7, 8)
    options = ("--data", data, "--workers", 4, "--worker-batch", 10, *how)
    whole, parts, folder = shared_tmp_path / "whole.json", shared_tmp_path / "parts.json", shared_tmp_path / "snapshots"
    run(world, *options, "--epochs", 4, "--result", whole)
    stopped = prepare(world, "--quiet", *options, "--epochs", 4, "--checkpoint", folder)

    def ask(event: Event) -> None:
        if isinstance(event, RoundMerged) and (event.epoch, event.round) == (3, last) and world.root:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped.observers = [*stopped.observers, ask]
    stopped.train()
    assert (stopped.state.epoch, stopped.state.round) == (3, stop)
    if world.root:
        run(World(MPI.COMM_SELF), "--resume", folder, "--data", data, "--epochs", 4, "--result", parts)
    assert rows(result(world, parts)) == rows(result(world, whole))


def test_a_run_that_stops_with_a_merge_under_way_goes_on_to_the_same_weights(
    world: World, data: Path, shared_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another number of ranks; and a snapshot in the middle changes nothing."""
    monkeypatch.setattr(overlap, "SETTLE", 5)
    options = ("--data", data, "--merge", "block-momentum", "--workers", 4, "--worker-batch", 10, "--overlap")
    folder, paths = shared_tmp_path / "snapshots", [shared_tmp_path / f"{n}.json" for n in ("whole", "cut", "parts")]
    run(world, *options, "--epochs", 3, "--result", paths[0])

    def cut(number: int, *more: object) -> Run:
        stopped = prepare(world, "--quiet", *options, "--epochs", 3, *more)

        def ask(event: Event) -> None:
            if isinstance(event, RoundMerged) and (event.epoch, event.round) == (2, 7) and world.root and number:
                os.kill(os.getpid(), number)

        stopped.observers = [*stopped.observers, ask]
        stopped.train()
        return stopped

    cut(signal.SIGUSR1, "--result", paths[1])
    stopped = cut(signal.SIGTERM, "--checkpoint", folder)
    assert (stopped.state.epoch, stopped.state.round) == (2, 5)
    if world.root:
        alone = ("--resume", folder, "--data", data, "--epochs", 3, "--result", paths[2])
        run(World(MPI.COMM_SELF), *alone)
    whole, others = result(world, paths[0]), [result(world, path) for path in paths[1:]]
    assert [rows(other) for other in others] == [rows(whole)] * 2
    assert others[1]["config"]["overlap"]


def test_the_seconds_of_an_epoch_are_those_of_all_its_parts(world: World, data: Path) -> None:
    """A snapshot that is asked for in the middle cuts the epoch's rounds in two."""
    cut = prepare(world, "--quiet", "--data", data, "--epochs", 1, "--workers", 2)
    parts, train = [], cut.team.train

    def noted(*arguments: Any) -> Progress:
        parts.append(train(*arguments))
        return parts[-1]

    def ask(event: Event) -> None:
        if isinstance(event, RoundMerged) and event.round == 2 and world.root:
            signal.raise_signal(signal.SIGUSR1)

    cut.team.train = noted  # type: ignore[method-assign]
    cut.observers = [*cut.observers, ask]
    cut.train()
    (row,) = cut.state.epochs
    assert len(parts) == 2 and row["train_seconds"] == pytest.approx(sum(part.seconds for part in parts))
    for number, name in enumerate(PHASES):
        assert row["phases"][name]["max"] == pytest.approx(sum(part.phases[:, number].max() for part in parts))


def test_a_target_ends_the_run(world: World, data: Path, shared_tmp_path: Path) -> None:
    path = shared_tmp_path / "result.json"
    run(
        world,
        "--data",
        data,
        "--epochs",
        50,
        "--target-accuracy",
        60,
        "--target-set",
        "train",
        "--result",
        path,
    )
    said = result(world, path)
    assert said["status"] == "target" and len(said["epochs"]) < 50
    assert said["target"]["epochs"] == len(said["epochs"])
    assert said["epochs"][-1]["train_accuracy"] >= 60
    assert said["target"]["seconds"] == pytest.approx(sum(row["train_seconds"] for row in said["epochs"]))


def test_a_time_limit_ends_the_run_with_a_snapshot(world: World, data: Path, shared_tmp_path: Path) -> None:
    path = shared_tmp_path / "result.json"
    folder = shared_tmp_path / "snapshots"
    limited = ("--epochs", 10**6, "--time-limit", 1, "--checkpoint", folder, "--checkpoint-every", 10**6)
    done = run(world, "--data", data, *limited, "--result", path)
    assert result(world, path)["status"] == "time-limit"
    assert done.seconds < 20
    assert world.on_root(lambda: len(list(folder.glob("*.mpinn")))) == 1


@pytest.mark.parametrize(
    "options, message",
    [
        (["--workers", "7"], "with --workers 4, not with --workers 7"),
        (["--layers", "144", "9", "5"], "with --layers 144 100 5, not with --layers 144 9 5"),
        (["--seed", "1"], "with --seed 0, not with --seed 1"),
    ],
)
def test_a_snapshot_of_another_run_is_refused(
    world: World, data: Path, shared_tmp_path: Path, options: list[str], message: str
) -> None:
    folder = shared_tmp_path / "snapshots"
    run(world, "--data", data, "--workers", 4, "--epochs", 1, "--checkpoint", folder)
    with pytest.raises(UsageError, match=message):
        run(world, "--data", data, "--resume", folder, *options)


def test_a_snapshot_of_other_data_is_refused(world: World, data: Path, shared_tmp_path: Path) -> None:
    folder = shared_tmp_path / "snapshots"
    run(world, "--data", data, "--workers", 4, "--epochs", 1, "--checkpoint", folder, "--layers", 144, 9, 10)
    with pytest.raises(UsageError, match="other training data"):
        run(world, "--resume", folder)


def rows(said: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what must be equal in two results of equal runs."""
    return [
        (row["epoch"], row["train_accuracy"], row["test_accuracy"], row["loss"], row["weights_sha256"])
        for row in said["epochs"]
    ]


def test_a_signal_during_evaluation_saves_at_once_and_the_resumed_run_evaluates(
    world: World, data: Path, shared_tmp_path: Path
) -> None:
    folder = shared_tmp_path / "snapshots"
    paths = [shared_tmp_path / f"{name}.json" for name in ("whole", "stopped", "resumed")]
    options = ("--data", data, "--merge", "block-momentum", "--workers", 4, "--balance", "measured")
    run(world, *options, "--epochs", 3, "--result", paths[0])
    stopped = prepare(world, *options, "--quiet", "--epochs", 3, "--result", paths[1], "--checkpoint", folder)
    evaluate, saved = stopped.team.evaluate, []

    def signalled_first() -> tuple[float, float, Requests]:
        if world.root:
            signal.raise_signal(signal.SIGINT)
            saved.extend(folder.glob("*.mpinn"))
        return evaluate()

    stopped.team.evaluate = signalled_first  # type: ignore[method-assign]
    assert stopped.train() == "interrupt"
    assert len(saved) == (1 if world.root else 0)
    said = result(world, paths[1])
    assert said["stopped_at"] == {"epoch": 1, "round": said["rounds_per_epoch"]} and said["epochs"] == []
    run(world, "--data", data, "--resume", folder, "--epochs", 3, "--balance", "measured", "--result", paths[2])
    whole, resumed = result(world, paths[0]), result(world, paths[2])
    assert rows(resumed) == rows(whole)
    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_a_setting_left_open_in_a_file_is_the_snapshots(world: World, data: Path, shared_tmp_path: Path) -> None:
    folder, path = shared_tmp_path / "snapshots", shared_tmp_path / "c.yml"
    run(world, "--data", data, "--workers", 3, "--epochs", 1, "--checkpoint", folder)
    world.on_root(lambda: path.write_text(config.show(Options())))
    resumed = run(world, "--config", path, "--data", data, "--resume", folder, "--epochs", 2)
    assert resumed.settings.workers == 3 and len(resumed.state.epochs) == 2


def test_a_run_resumed_from_a_directory_goes_on_saving_there(world: World, data: Path, shared_tmp_path: Path) -> None:
    folder, path = shared_tmp_path / "snapshots", shared_tmp_path / "result.json"
    run(world, "--data", data, "--epochs", 1, "--checkpoint", folder)
    run(world, "--data", data, "--resume", folder, "--epochs", 2, "--result", path)
    assert result(world, path)["config"]["checkpoint"] == str(folder)
    assert world.on_root(lambda: snapshots.load(folder).state.epoch) == 3
    run(world, "--data", data, "--resume", world.on_root(lambda: snapshots.paths(folder)[0]), "--epochs", 3)
    assert world.on_root(lambda: snapshots.load(folder).state.epoch) == 3


@pytest.mark.parametrize(
    "options, cure",
    [(("--epochs", 2), "--epochs"), (("--epochs", 9, "--target-accuracy", 1), "--target-accuracy")],
)
def test_a_finished_run_says_that_nothing_is_left(
    world: World, data: Path, shared_tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple, cure: str
) -> None:
    folder = shared_tmp_path / "snapshots"
    done = run(world, "--data", data, "--epochs", 2, "--checkpoint", folder, "--workers", 2)
    before = done.result_of(done.state)
    capsys.readouterr()
    resumed = prepare(world, "--data", data, "--resume", folder, *options)
    assert resumed.train() == ""
    assert resumed.result_of(resumed.state)["weights_sha256"] == before["weights_sha256"]
    if world.root:
        said = capsys.readouterr().out
        assert "nothing is left to do: 2 epochs done" in said and f"take a larger {cure}" in said
        assert "exemplars/s" not in said


WILD = ("--workers", 8, "--worker-batch", 5, "--merge", "block-momentum", "--learning-rate", 10, "--block-momentum")
UNCUT = ("--merge-format", "float64")  # as whole numbers steps are cut, and seldom run away so fast


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few small epochs seldom take a weight to 8192."""
    monkeypatch.setattr(formats, "LIMIT_BITS", sums.largest(np.array([256.0], np.float32)))


def test_a_divergence_is_answered_alike_in_a_run_that_was_interrupted(
    world: World, data: Path, shared_tmp_path: Path, low_limit: None
) -> None:
    options = ("--data", data, *WILD, 0.995, "--epochs", 5)
    whole, parts, snapshots = (shared_tmp_path / name for name in ("whole.json", "parts.json", "snapshots"))
    run(world, *options, "--result", whole)
    stopped = prepare(world, "--quiet", *options, "--checkpoint", snapshots)

    def stop_in_epoch_3(event: Event) -> None:
        if isinstance(event, RoundMerged) and (event.epoch, event.round) == (3, 5):
            os.kill(os.getpid(), signal.SIGTERM)

    stopped.observers = [*stopped.observers, stop_in_epoch_3]
    stopped.train()
    run(world, "--resume", snapshots, "--data", data, "--epochs", 5, "--result", parts)
    expected, said = result(world, whole), result(world, parts)
    (answer,) = expected["divergences"]
    assert (answer["epoch"], answer["back_to_epoch"]) == (3, 3) and 5 < answer["round"] <= expected["rounds_per_epoch"]
    assert 0 < answer["block_momentum"] < 0.995
    assert said["divergences"] == expected["divergences"] and said["weights_sha256"] == expected["weights_sha256"]
    assert [row["epoch"] for row in expected["epochs"]] == [1, 2, 3, 4, 5]
    assert expected["epochs"][-1]["train_accuracy"] > 95


def test_a_second_divergence_from_the_same_weights_goes_back_to_the_first(
    world: World, data: Path, shared_tmp_path: Path, low_limit: None
) -> None:
    path = shared_tmp_path / "result.json"
    run(world, "--data", data, *WILD, 0.99, *UNCUT, "--epochs", 5, "--result", path)
    said = result(world, path)
    first, second = said["divergences"]
    assert first["epoch"] == first["back_to_epoch"] == second["epoch"] > 1 == second["back_to_epoch"]
    assert second["block_momentum"] < first["block_momentum"] < 0.99
    assert [row["epoch"] for row in said["epochs"]] == [1, 2, 3, 4, 5]


@pytest.mark.mpi(min_size=4)
def test_between_nodes_the_price_decides_whether_merges_overlap(
    world: World, data: Path, shared_tmp_path: Path
) -> None:
    nodes, path = Nodes(world.comm, 2), shared_tmp_path / "result.json"
    options = ("--data", data, "--workers", 8, "--merge", "block-momentum", "--worker-batch", "auto", "--epochs", 1)
    largest = {way: worker_batch.largest("block-momentum", 8, 1010, way) for way in (False, True)}
    for more in ((), ("--overlap",)):
        run(nodes, *options, *more, "--result", path)
        said = result(world, path)
        cost = MergeCost(**said["price"])
        assert cost.exposed is not None and cost.exposed >= 0
        right = worker_batch.choose(cost, largest[False], largest[True])
        if more:
            right = worker_batch.cheapest(cost, largest[True], overlap=True), True
        assert (said["config"]["worker_batch"], said["config"]["overlap"]) == right
    run(nodes, *options, "--merge-format", "float64", "--result", path)  # which cannot overlap
    assert result(world, path)["price"]["exposed"] is None
    nodes.memory.free()


def test_accuracy_that_collapses_is_divergence(world: World, data: Path) -> None:
    done = run(world, "--data", data, *WILD, 0.995, *UNCUT, "--learning-rate", 20, "--epochs", 5)
    (answer,) = done.state.divergences
    assert answer["epoch"] == answer["back_to_epoch"] > 1 and "accuracy on the training set fell to" in answer["seen"]
    assert answer["round"] == done.team.schedule.rounds
    assert min(row["train_accuracy"] for row in done.state.epochs) > 50


def test_the_worker_batch_follows_the_cost_of_a_merge(world: World, data: Path, shared_tmp_path: Path) -> None:
    path = shared_tmp_path / "result.json"
    options = ("--data", data, "--workers", 8, "--worker-batch", "auto", "--epochs", 2)
    run(world, *options, "--result", path, "--checkpoint", shared_tmp_path / "snapshots")
    said = result(world, path)
    assert said["price"]["merge"] > 0 and said["price"]["exemplar"] > 0
    batch = said["config"]["worker_batch"]
    cost = MergeCost(**said["price"])
    assert cost.exposed is None and not said["config"]["overlap"]  # on one node
    assert batch == worker_batch.cheapest(cost, 1010 // 8, overlap=False)
    run(world, "--data", data, "--workers", 8, "--worker-batch", batch, "--epochs", 2, "--result", path)
    assert result(world, path)["weights_sha256"] == said["weights_sha256"]
    run(world, *options[:-2], "--resume", shared_tmp_path / "snapshots", "--epochs", 3, "--result", path)
    assert result(world, path)["config"]["worker_batch"] == batch


def test_another_observer_hears_of_everything_in_order(world: World, data: Path, shared_tmp_path: Path) -> None:
    told: list[Event] = []
    observed = prepare(world, "--quiet", "--data", data, "--epochs", 2, "--checkpoint", shared_tmp_path / "snapshots")
    observed.observers = [told.append, *observed.observers]
    observed.train()
    names = [type(event).__name__ for event in told]
    rounds = observed.team.schedule.rounds
    epoch = ["EpochBegan", *(rounds * ["RoundMerged"]), "RoundsEnded", "Evaluated", "EpochEnded"]
    epoch += ["Saved"] if world.root else []
    assert names == ["RunBegan", *epoch, *epoch, "RunEnded"]
    assert isinstance(told[0], RunBegan) and isinstance(told[-1], RunEnded) and told[-1].state.status == "completed"
    assert [event.row["epoch"] for event in told if isinstance(event, EpochEnded)] == [1, 2]
    saved = [event.path for event in told if isinstance(event, Saved)]
    assert saved == [path for path in reversed(snapshots.paths(shared_tmp_path / "snapshots")) if world.root]


def test_a_run_goes_on_from_a_snapshot_of_the_schema_before(world: World, data: Path) -> None:
    """Its weights are another build's, perhaps: what is learned from them is as good."""
    old = Path(__file__).parents[1] / "training" / "snapshots" / "schema-2-block-momentum.mpinn"
    resumed = run(world, "--data", data, "--resume", old, "--epochs", 4)
    assert [row["epoch"] for row in resumed.state.epochs] == [1, 2, 3, 4]
    assert resumed.state.epochs[-1]["train_accuracy"] > 90
