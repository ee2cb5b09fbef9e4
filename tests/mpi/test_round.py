"""Parallel rounds against the serial oracle: the same workers on one rank."""

import itertools
import os
import signal
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from mpinn import config, kernels
from mpinn.config import Options
from mpinn.datasets import Dataset
from mpinn.merging import formats, overlap, sums
from mpinn.merging.master import Master
from mpinn.merging.optimizers import OPTIMIZERS, Optimizer
from mpinn.merging.rules import RULES, Rule, optimize
from mpinn.model.network import Network
from mpinn.parallel import exchange, mpi_library, reduction
from mpinn.parallel import round as round_module
from mpinn.parallel.passing_on import PassingOn
from mpinn.parallel.phases import PHASES, RoundMerged
from mpinn.parallel.round import ReplicaError, Team
from mpinn.parallel.schedule import epoch_order
from mpinn.parallel.stop_requests import Listener
from mpinn.parallel.world import World
from tests.digits import digits, framed
from tests.mpi.nodes import Nodes

DIGITS = digits()
FRAMED = framed()  # with pixels that are always dark
NETWORK = Network((144, 11, 5))


def team(
    world: World,
    workers: int,
    batch: int = 20,
    momentum: float = 0.0,
    kernel: str = "native",
    through: str = "auto",
    data: Dataset = DIGITS,
    merge: str = "",
    overlapping: bool = False,
    l1: float = 1e-7,
    l2: float = 1e-7,
    **further: Any,
) -> Team:
    """Return the ranks of a world, ready for their first round; further: options."""
    merge = merge or ("block-momentum" if momentum else "mean")
    options = Options(
        workers=workers,
        layers=NETWORK.sizes,
        seed=3,
        merge=merge,
        block_momentum=momentum or None,
        exchange=through,
        kernel=kernel,
        overlap=overlapping,
        l1=l1,
        l2=l2,
        **further,
    )
    settings = config.resolve(options, batch, 144, 5, len(data.train_labels), world.size)
    chosen = kernels.choose(kernel, settings.network, settings.step, settings.l1, settings.l2, settings.rule)
    master = Master.at_rest(NETWORK.initial_weights(3), settings.rule, momentum)
    return Team(world, settings, chosen, data, master, Listener(None))


def trained(world: World, epochs: int, **settings: Any) -> Team:
    learners = team(world, **settings)
    for epoch in range(1, epochs + 1):
        learners.train(epoch, 0, ignore)
    return learners


def ignore(event: object) -> None:
    """Tell nobody of an event."""


def same_everywhere(world: World, array: np.ndarray) -> bool:
    return len(set(world.comm.allgather(array.tobytes()))) == 1


@pytest.mark.parametrize(
    "workers, kernel", [*((workers, "native") for workers in (1, 2, 3, 5, 8, 16, 51)), (5, "reference")]
)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_any_ranks_give_the_bits_of_the_serial_oracle(
    world: World, workers: int, momentum: float, kernel: str, through: str
) -> None:
    oracle = trained(World(MPI.COMM_SELF), 2, workers=workers, momentum=momentum, kernel=kernel, through="allreduce")
    parallel = trained(world, 2, workers=workers, momentum=momentum, kernel=kernel, through=through)
    assert parallel.exchange.name == through
    assert not np.array_equal(parallel.master.weights, NETWORK.initial_weights(3))
    assert np.array_equal(parallel.master.weights, oracle.master.weights)
    assert same_everywhere(world, parallel.master.weights)
    assert len(oracle.master.moments) == bool(momentum)
    assert np.array_equal(parallel.master.moments, oracle.master.moments)


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("size", [1, 2, 8])
def test_it_makes_no_difference_which_way_ranks_write(
    world: World, overlapping: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place or past the caches, by turns, ranks in different ways; on nodes of `size` ranks."""

    def turn(passing: PassingOn) -> bool:
        passing.round += 1
        passing.past = (passing.round // 2 + world.rank) % 3 > 0
        return passing.past

    nodes = Nodes(world.comm, size)
    oracle = trained(World(MPI.COMM_SELF), 2, workers=7, momentum=0.8, overlapping=overlapping)
    monkeypatch.setattr(PassingOn, "next_round", turn)
    parallel = trained(nodes, 2, workers=7, momentum=0.8, through="shared-memory", overlapping=overlapping)
    assert np.array_equal(parallel.master.weights, oracle.master.weights)
    assert np.array_equal(parallel.master.moments, oracle.master.moments)
    assert same_everywhere(world, parallel.exchange.master.weights)


def test_learning_works(world: World) -> None:
    learners = trained(world, 10, workers=world.size)
    train, test, *_ = learners.evaluate()
    assert train > 90 and test > 90


def test_evaluation_is_the_serial_oracles(world: World) -> None:
    parallel = trained(world, 1, workers=4)
    oracle = team(World(MPI.COMM_SELF), workers=4)
    oracle.master.weights[:] = parallel.master.weights
    assert parallel.evaluate()[:2] == oracle.evaluate()[:2]
    chosen = NETWORK.predict(parallel.master.weights, DIGITS.train_images).argmax(axis=1)
    assert parallel.evaluate()[0] == pytest.approx(100 * np.mean(chosen == DIGITS.train_labels), abs=0.2)


def test_a_signal_to_one_rank_stops_all_after_the_same_round_and_costs_nothing(world: World) -> None:
    oracle = trained(World(MPI.COMM_SELF), 1, workers=2)
    learners = team(world, workers=2)

    def interrupt(event: object) -> None:
        if isinstance(event, RoundMerged) and event.round == 5 and world.rank == world.size - 1:
            os.kill(os.getpid(), signal.SIGUSR1)

    first = learners.train(1, 0, interrupt)
    assert first.requests.snapshot == 1 and not first.requests.stop
    assert 5 < first.round < learners.schedule.rounds
    assert len(set(world.comm.allgather(first.round))) == 1
    rest = learners.train(1, first.round, ignore)
    assert rest.round == learners.schedule.rounds
    assert not any(rest.requests)  # a snapshot is asked for once
    assert np.array_equal(learners.master.weights, oracle.master.weights)


@pytest.mark.parametrize("number, name", [(signal.SIGTERM, "terminate"), (signal.SIGINT, "interrupt")])
def test_a_signal_to_stop_is_heard_by_every_rank(world: World, number: int, name: str) -> None:
    learners = team(world, workers=2)
    if world.root:
        os.kill(os.getpid(), number)
    assert learners.train(1, 0, ignore).requests.stop == name
    assert learners.evaluate()[2].stop == name


@pytest.mark.mpi(min_size=4)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("workers", [1, 8, 11])
@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_several_nodes_give_the_bits_of_the_serial_oracle(
    world: World, momentum: float, workers: int, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the sums only those that are not known travel, in a ring, unless a rank or node has no worker."""
    monkeypatch.setattr(reduction, "LEAST_PIECE", 1)
    nodes = Nodes(world.comm, 2)
    assert nodes.nodes == world.size // 2 and nodes.slices == 2
    how: dict[str, Any] = dict(workers=workers, momentum=momentum, data=FRAMED, l1=1e-4, l2=1e-2)
    oracle = trained(World(MPI.COMM_SELF), 2, **how)
    parallel = trained(nodes, 2, through=through, **how)
    assert parallel.exchange.name == through
    if nodes.node.rank == 0:
        assert parallel.exchange.travelling
        assert parallel.exchange.workers_everywhere == (
            workers >= (world.size if through == "allreduce" else nodes.nodes)
        )
    assert np.array_equal(parallel.master.weights, oracle.master.weights)
    parallel.balance(np.ones((world.size, 4)) * (1 + np.arange(world.size)[:, None]))
    for learners in (oracle, parallel):
        learners.train(3, 0, ignore)
    assert np.array_equal(parallel.master.weights, oracle.master.weights)
    nodes.memory.free()


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize(("hosts", "missing", "call"), [(1, 0, "Allreduce"), (2, 1, "Allreduce"), (2, 0, "Iallreduce")])
def test_long_sums_go_round_in_a_ring_between_hosts(world: World, hosts: int, missing: int, call: str) -> None:
    class Told(MPI.Intracomm):
        def Allreduce(self, *buffers: Any) -> None:  # noqa: N802
            calls.append("Allreduce")
            super().Allreduce(*buffers)

        def Iallreduce(self, *buffers: Any) -> MPI.Request:  # noqa: N802
            calls.append("Iallreduce")
            return super().Iallreduce(*buffers)

    calls = list[str]()
    numbers = np.arange(world.size * reduction.LEAST_PIECE // 2 - missing, dtype=np.int16) % 100 + world.rank
    right = (np.arange(len(numbers)) % 100) * world.size + sum(range(world.size))
    reduction.add_up(Told(world.comm), numbers, hosts)
    assert np.array_equal(numbers, right) and calls == [call if mpi_library.has_ring() else "Allreduce"]


@pytest.mark.mpi(min_size=3)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_nodes_with_different_numbers_of_ranks_give_the_same_bits(world: World, momentum: float) -> None:
    """The last node has one rank alone, so every node adds up in one slice; then it has one rank less than others."""
    oracle = trained(World(MPI.COMM_SELF), 2, workers=7, momentum=momentum, data=FRAMED)
    for size in (world.size - 1, world.size // 2 + 1):
        nodes = Nodes(world.comm, size)
        assert nodes.nodes == 2 and nodes.slices == min(size, world.size - size)
        parallel = trained(nodes, 2, workers=7, momentum=momentum, data=FRAMED)
        assert parallel.exchange.name == "shared-memory"
        assert np.array_equal(parallel.master.weights, oracle.master.weights)
        nodes.memory.free()


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_one_workers_runaway_weights_are_told_to_every_rank(world: World, through: str) -> None:
    learners = team(world, workers=world.size, through=through)
    if world.rank == world.size - 1:
        learners.master.weights[17] = np.nan
    progress = learners.train(1, 0, ignore)
    assert progress.round == 0 and progress.requests.diverged


@pytest.mark.mpi(min_size=4)
def test_what_happens_on_one_node_is_told_to_every_other(world: World) -> None:
    """Runaway weights of the last node's worker, then a signal to its last rank."""
    nodes = Nodes(world.comm, 2)
    ran_away, signalled = (team(nodes, workers=world.size) for _ in range(2))
    last = world.rank == world.size - 1
    stored = ran_away.exchange.stored

    def run_away(worker: int, counts: Any, learned: Any, loss: int) -> None:
        learned.found = (sums.largest(np.array([np.nan], np.float32)), 0)
        stored(worker, counts, learned, loss)

    if last:
        ran_away.exchange.stored = run_away  # type: ignore[method-assign]
    progress = ran_away.train(1, 0, ignore)
    assert progress.round == 0 and progress.requests.diverged
    if last:
        signal.raise_signal(signal.SIGUSR1)
    asked = signalled.train(1, 0, ignore)
    assert asked.round == 1 and asked.requests.snapshot == 1
    nodes.memory.free()


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_after_going_back_training_is_that_of_the_lower_momentum(world: World, through: str) -> None:
    low = team(world, workers=8, momentum=0.25, through=through)
    high = team(world, workers=8, momentum=0.75, through=through)
    start = low.master.copy()
    high.train(1, 0, ignore)
    high.go_back(start)
    for learners in (low, high):
        learners.train(1, 0, ignore)
    assert np.array_equal(low.master.weights, high.master.weights) and np.array_equal(
        low.master.moments, high.master.moments
    )


def test_time_is_accounted_for(world: World) -> None:
    progress = team(world, workers=world.size).train(1, 0, ignore)
    assert progress.phases.shape == (world.size, len(PHASES))
    assert (progress.phases >= 0).all() and (progress.phases[:, 0] > 0).all()
    assert progress.phases[world.rank].sum() <= progress.seconds


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_every_second_of_a_round_is_in_one_phase(world: World, through: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that each reading moves on, faster on higher ranks: so what each rank must read is known."""
    ticks = itertools.count(0, 1 + world.rank)
    for module in (round_module, exchange, reduction):
        monkeypatch.setattr(module, "perf_counter", lambda: float(next(ticks)))
    learners = team(world, workers=2 * world.size, through=through)
    taken = np.zeros(2)
    learner = learners.kernel.learner

    def noted(*arguments: Any) -> tuple[float, float]:
        spent = learner.learn(*arguments)
        taken[:] += spent[:2]
        return spent

    learners.kernel = learners.kernel._replace(learner=SimpleNamespace(learn=noted, set_epoch=learner.set_epoch))
    progress = learners.train(1, 0, ignore)
    think, train, merge, wait = progress.phases[world.rank]
    collectives = 1 if through == "allreduce" else 2
    rounds = learners.schedule.rounds
    assert (think, train) == pytest.approx(tuple(taken)) and min(taken) > 0
    assert wait == pytest.approx(rounds * collectives * world.rank)  # rank 0 stays the shortest: a tick in each
    assert think + train + merge + wait == pytest.approx(rounds * (1 + world.rank) * (1 + 2 * collectives))


def test_the_data_set_may_be_smaller_than_the_ranks(world: World) -> None:
    few = Dataset(
        "few",
        (144,),
        5,
        DIGITS.train_images[:3],
        DIGITS.train_labels[:3],
        DIGITS.test_images[:1],
        DIGITS.test_labels[:1],
    )
    learners = team(world, workers=3, batch=1, data=few)
    assert learners.train(1, 0, ignore).round == 1
    assert learners.evaluate()[1] in (0, 100)


def test_every_round_is_told(world: World) -> None:
    told: list[RoundMerged] = []
    learners = team(world, workers=4)
    learners.train(2, 3, told.append)
    rounds = range(4, learners.schedule.rounds + 1)
    assert [(event.epoch, event.round) for event in told] == [(2, round_) for round_ in rounds]
    assert all(min(event[2:]) >= 0 for event in told)


def heavy_ball(d: np.ndarray, moments: np.ndarray, c: np.ndarray) -> np.ndarray:
    """An optimizer that remembers two vectors."""
    first, second = moments
    first[:] = c[0] * first + d
    second[:] = np.float32(0.5) * second + np.float32(0.5) * first
    return second


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_another_optimizer_is_one_place(world: World, through: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vectors are merged in slices, compared between replicas, and gone back to, without a word elsewhere."""
    new = Optimizer(heavy_ball, lambda h, rate, t: (0.5,), ("first", "second"), {}, 1.0, 1.0)
    monkeypatch.setitem(OPTIMIZERS, "heavy-ball", new)
    monkeypatch.setitem(RULES, "heavy-ball", Rule(partial(optimize, "heavy-ball"), new.moments))
    rule: dict[str, Any] = dict(workers=5, optimizer="heavy-ball", kernel="auto")
    oracle = trained(World(MPI.COMM_SELF), 1, through="allreduce", **rule)
    parallel = trained(world, 1, through=through, **rule)
    assert oracle.kernel.name == "reference" and oracle.master.moments.any(axis=1).all()
    assert np.array_equal(parallel.master.weights, oracle.master.weights)
    assert np.array_equal(parallel.master.moments, oracle.master.moments)
    world.comm.Barrier()  # all have compared what the next line writes over
    parallel.go_back(Master.at_rest(NETWORK.initial_weights(3), "heavy-ball", 0.0))
    parallel.train(1, 0, ignore)
    assert np.array_equal(parallel.master.moments, oracle.master.moments)


@pytest.mark.mpi(min_size=2)
def test_where_half_of_the_ranks_differ_from_the_others_none_is_right(world: World) -> None:
    learners = trained(world, 1, workers=4, through="allreduce")
    changed = range(world.size // 2)
    if world.rank in changed:
        learners.master.weights[3] += 1
    with pytest.raises(ReplicaError) as raised:
        learners.compare_replicas()
    majority = 2 * len(changed) < world.size
    assert [rank for rank, _ in raised.value.odd] == list(changed if majority else range(world.size))


@pytest.mark.mpi(min_size=3)
@pytest.mark.parametrize("part", ["weights", "moments"])
def test_a_replica_that_differs_in_any_number_is_named(world: World, part: str) -> None:
    learners = trained(world, 1, workers=4, momentum=0.5, through="allreduce")
    learners.compare_replicas()
    if world.rank == 1:
        getattr(learners.master, part).reshape(-1)[3] += 1
    with pytest.raises(ReplicaError, match=r"^rank 1 on [^,]*$"):
        learners.compare_replicas()


OPTIMIZED: list[dict[str, Any]] = [
    *({"merge": "gradient", "optimizer": name} for name in OPTIMIZERS),
    *({"merge": "mean", "optimizer": name} for name in OPTIMIZERS),
    {"merge": "gradient", "optimizer": "rprop", "batch": 202, "learning_rate": 0.3},
    {"merge": "gradient", "optimizer": "nadam", "merge_format": "float64"},
    {"merge": "mean", "optimizer": "adam", "merge_format": "float64"},
    {"merge": "mean", "schedule": "one-cycle", "warm_up": 100},
    {"merge": "gradient", "optimizer": "rmsprop", "schedule": "cosine", "warm_up": 100},
]


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
@pytest.mark.parametrize("options", OPTIMIZED, ids=str)
def test_every_optimizer_learns_the_same_on_any_ranks(world: World, options: dict[str, Any], through: str) -> None:
    """Also where it begins in the middle of an epoch, with the master as it was there."""
    oracle = trained(World(MPI.COMM_SELF), 2, workers=5, through="allreduce", data=FRAMED, **options)
    parallel = trained(world, 2, workers=5, through=through, data=FRAMED, **options)
    assert [bytes(part) for part in parallel.master.bytes] == [bytes(part) for part in oracle.master.bytes]
    assert not np.array_equal(oracle.master.weights, NETWORK.initial_weights(3))


@pytest.mark.parametrize("options", OPTIMIZED, ids=str)
def test_a_run_that_begins_again_in_the_middle_comes_to_the_same(world: World, options: dict[str, Any]) -> None:
    whole = trained(world, 2, workers=5, **options)
    half = trained(world, 1, workers=5, **options)
    again = team(world, workers=5, **options)
    world.comm.Barrier()
    again.go_back(half.master.copy())
    again.train(2, 0, ignore)
    assert [bytes(part) for part in again.master.bytes] == [bytes(part) for part in whole.master.bytes]


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
@pytest.mark.parametrize("batch", [337, 20])
def test_rprop_takes_steps_back_where_the_loss_of_all_exemplars_has_risen(
    world: World, through: str, batch: int
) -> None:
    """The loss that every rank is told is that of all workers; of other exemplars a round it would say nothing."""
    about: dict[str, Any] = dict(workers=3, through=through, merge="gradient", optimizer="rprop", learning_rate=0.3)
    one, without = (team(world, batch=batch, **about) for _ in range(2))
    without.exchange.how = without.exchange.how._replace(compares=False)
    told: list[list[int]] = [[], []]
    for number, learners in enumerate((one, without)):
        for epoch in range(1, 9):
            learners.train(epoch, 0, lambda event: told[number].append(getattr(event, "loss", -1)))  # noqa: B023
    losses = [loss for loss in told[0] if loss >= 0]
    batches = np.arange(len(DIGITS.train_labels), dtype=np.int32)
    start, nothing = NETWORK.initial_weights(3), np.empty(NETWORK.parameters, np.float32)
    found = one.kernel.learner.gradient(start, DIGITS.train_images, DIGITS.train_labels, batches, nothing).loss
    if batch == 337:
        assert losses[0] == found and any(b > a for a, b in pairwise(losses))
    assert np.array_equal(one.master.weights, without.master.weights) == (batch == 20)


@pytest.mark.parametrize("batch", [1, 20])
def test_one_step_of_merged_gradients_is_one_of_all_exemplars(world: World, batch: int) -> None:
    """Plain SGD: the master moves by the rate times the mean over all exemplars of the round, also of a short one."""
    learners = team(
        world, workers=3, batch=batch, merge="gradient", learning_rate=0.5, merge_format="float64", l1=0, l2=0
    )
    images, labels = DIGITS.train_images, DIGITS.train_labels
    expected, rounds = NETWORK.initial_weights(3), []
    while not rounds or len(rounds) < learners.schedule.rounds:
        order = epoch_order(3, 1, len(labels))[len(rounds) * 3 * batch : (len(rounds) + 1) * 3 * batch]
        direction = np.empty_like(expected)
        learners.kernel.learner.gradient(expected, images, labels, order, direction)
        expected = expected + np.float32(0.5) * direction
        rounds.append(len(order))
    learners.train(1, 0, ignore)
    assert batch == 1 or rounds[-1] < 3 * batch
    np.testing.assert_allclose(learners.master.weights, expected, rtol=0, atol=2e-5)


def overlapped_by_hand(workers: int, momentum: float, epochs: int, settle: int, data: Dataset = DIGITS) -> np.ndarray:
    """Return the weights that overlapping comes to, one worker after another: `merging.overlap` in a few lines."""
    alone = team(World(MPI.COMM_SELF), workers=workers, momentum=momentum, through="allreduce", data=data)
    form, master, schedule = alone.exchange.format, alone.master.copy(), alone.schedule
    learner, merger = alone.kernel.learner, alone.kernel.merger
    learned, digits_ = np.empty_like(master.weights), (data.train_images, data.train_labels)
    rule = "block-momentum" if momentum else "mean"
    for epoch in range(1, epochs + 1):
        batches = alone.scatter_batches(epoch)
        earlier: tuple[np.ndarray, Any, int, list[int]] | None = None

        def land(terms: np.ndarray, counts: Any, exponent: int, sizes: list[int]) -> None:
            share = form.share(exponent, counts.all)
            total = np.zeros(len(learned), form.dtype)
            merger.add(total, terms, counts.workers)
            merger.move(rule, master.weights, master.moments, total, share, np.array([momentum]))
            master.exponent = max(sizes)

        for round_ in range(schedule.rounds):
            counts, exponent = schedule.counts(round_), master.exponent
            terms, sizes = np.zeros((workers, len(learned)), form.dtype), []
            for worker in range(workers):
                count = int(counts.workers[worker])
                if not count:
                    continue
                start = master.weights.copy()
                if earlier:
                    for velocity in master.moments:
                        start = start + np.float32(0.5 * momentum) * velocity
                    start = start + np.float32(form.share(earlier[2], 20)) * earlier[0][worker].astype(np.float32)
                learner.learn(start, *digits_, batches[round_, worker, :count], learned)
                term = form.term(terms[worker], start, exponent, count, counts.all)
                merger.write(term, learned)
                sizes.append(formats.exponent_of(term.found[1]))
            if earlier:
                land(*earlier)
            earlier = terms, counts, exponent, sizes
            if (round_ + 1) % settle == 0 or round_ + 1 == schedule.rounds:
                land(*earlier)
                earlier = None
    return master.weights


@pytest.mark.parametrize("workers", [2, 3, 8, 16, 51])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_overlapping_gives_the_bits_of_its_definition_on_any_ranks(
    world: World, workers: int, momentum: float, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "SETTLE", 4)
    right = overlapped_by_hand(workers, momentum, 2, 4)
    plain = trained(World(MPI.COMM_SELF), 2, workers=workers, momentum=momentum)
    parallel = trained(world, 2, workers=workers, momentum=momentum, through=through, overlapping=True)
    assert parallel.exchange.name == through
    assert np.array_equal(right, plain.master.weights) == (plain.schedule.rounds == 1)
    assert np.array_equal(parallel.master.weights, right)
    assert np.array_equal(parallel.exchange.master.weights, right)


@pytest.mark.mpi(min_size=3)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_overlapping_gives_the_same_bits_on_nodes_with_different_numbers_of_ranks(
    world: World, momentum: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "SETTLE", 4)
    right = overlapped_by_hand(7, momentum, 3, 4, FRAMED)
    for size in (1, 2, world.size - 1):
        nodes = Nodes(world.comm, size)
        parallel = trained(nodes, 2, workers=7, momentum=momentum, data=FRAMED, overlapping=True)
        assert parallel.exchange.name == "shared-memory" and nodes.nodes > 1
        parallel.balance(np.ones((world.size, 4)) * (1 + np.arange(world.size)[:, None]))
        parallel.train(3, 0, ignore)
        assert np.array_equal(parallel.master.weights, right)
        nodes.memory.free()


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_a_request_while_a_merge_is_under_way_leaves_the_run_where_none_was(
    world: World, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To stop it does so at once. Whoever goes on from there comes to the same bits."""
    monkeypatch.setattr(overlap, "SETTLE", 3)
    whole = trained(world, 1, workers=4, through=through, overlapping=True)
    learners = team(world, workers=4, through=through, overlapping=True)
    told: list[RoundMerged] = []

    def ask(event: Any) -> None:
        if isinstance(event, RoundMerged):
            told.append(event)
            if len(told) == 3 and world.root:
                signal.raise_signal(signal.SIGINT)

    first = learners.train(1, 0, ask)
    assert first.requests.stop == "interrupt"
    assert first.round == 3 and max(event.round for event in told) > 3
    assert [event.round for event in told if event.settled] == [3]
    assert np.array_equal(learners.exchange.master.weights, learners.master.weights)
    others = team(world, workers=4, through=through, overlapping=True)
    others.go_back(learners.master.copy())
    for going_on in (learners, others):
        going_on.listener = Listener(None)
        assert going_on.train(1, first.round, ignore).round == going_on.schedule.rounds
        assert np.array_equal(going_on.master.weights, whole.master.weights)


def test_a_snapshot_is_taken_once_no_merge_is_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "SETTLE", 6)
    whole = trained(world, 1, workers=4, overlapping=True)
    learners = team(world, workers=4, overlapping=True)
    told: list[int] = []

    def ask(event: Any) -> None:
        if isinstance(event, RoundMerged):
            told.append(event.round)
            if event.round == 2 and world.root:
                signal.raise_signal(signal.SIGUSR1)

    first = learners.train(1, 0, ask)
    assert first.requests.snapshot == 1 and first.round == 6
    learners.train(1, first.round, ask)
    assert told == list(range(1, learners.schedule.rounds + 1))  # nothing was done twice
    assert np.array_equal(learners.master.weights, whole.master.weights)


@pytest.mark.parametrize("through", ["shared-memory", "allreduce"])
def test_runaway_weights_are_noticed_a_round_later(world: World, through: str) -> None:
    learners = team(world, workers=2 * world.size, through=through, overlapping=True)
    stored = learners.exchange.stored

    def run_away(worker: int, counts: Any, learned: Any, loss: int) -> None:
        learned.found = (sums.largest(np.array([np.nan], np.float32)), 0)
        stored(worker, counts, learned, loss)

    if world.rank == world.size - 1:
        learners.exchange.stored = run_away  # type: ignore[method-assign]
    told: list[Any] = []
    progress = learners.train(1, 0, told.append)
    assert progress.round == 0 and progress.requests.diverged
    if learners.schedule.rounds > 1:
        assert [event.round for event in told if isinstance(event, RoundMerged)] == [1]
    assert np.isfinite(learners.master.weights).all()  # what the run goes back to
