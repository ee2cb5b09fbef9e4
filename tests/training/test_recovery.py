"""What a run goes on with after a fault: pure functions of its state, which they leave as it was."""

import copy
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from mpinn import config
from mpinn.config import Options, Settings
from mpinn.merging import law
from mpinn.system.errors import MpinnError
from mpinn.training import recovery
from mpinn.training.snapshots import Snapshot
from mpinn.training.state import RunState

PHASES = {name: {"min": 1.0, "mean": 2.0, "max": 3.0} for name in ("think", "train", "merge", "wait")}


def settings(**given: Any) -> Settings:
    options = Options(**{"layers": (9, 4, 3), "merge": "block-momentum", "workers": 16, **given})
    return config.resolve(options, 100, 9, 3, 60000, 4)


def row(epoch: int, accuracy: float = 90.0) -> dict[str, Any]:
    part = {"train_seconds": 10.0 * epoch, "phases": PHASES, "learn": PHASES["think"], "clipped": 1}
    return {"epoch": epoch, "train_accuracy": accuracy, **part}


def state(asked: Settings, epoch: int = 4, round_: int = 7, good_epoch: int = 3) -> RunState:
    """Return a state whose good weights are those after all epochs before `good_epoch`."""
    made = RunState.beginning(asked)
    made.epoch, made.round, made.good_epoch = epoch, round_, good_epoch
    made.epochs = [row(number) for number in range(1, epoch)]
    made.partial = {"train_seconds": 1.0, "phases": PHASES, "learn": PHASES["think"], "clipped": 0}
    made.master.weights[:], made.master.moments[:] = 7, 1
    if made.good is not None:
        made.good[:] = 5
    made.seconds, made.loss = 100.0, 12345
    return made


def as_bytes(one: RunState) -> tuple[Any, ...]:
    arrays = [bytes(part) for part in one.master.bytes]
    return (*arrays, None if one.good is None else one.good.tobytes(), one.master.momentum, one.epochs, one.divergences)


def test_a_divergence_goes_back_to_the_good_weights_with_less_momentum() -> None:
    asked = settings()
    before = state(asked)
    kept = copy.deepcopy(before)
    after = recovery.after_divergence(before, asked, 8, "a weight ran away")
    assert as_bytes(before) == as_bytes(kept)  # nothing was changed
    assert (after.epoch, after.round, after.good_epoch, after.loss) == (3, 0, 3, 0)
    assert np.array_equal(after.master.weights, before.good) and not after.master.moments.any()
    lower = law.USUAL.lowered(before.master.momentum, 16, 100)
    assert after.master.momentum == lower < before.master.momentum
    (answer,) = after.divergences
    assert after.good is not None and np.array_equal(after.good, before.good)
    assert answer == {"epoch": 4, "round": 8, "seen": "a weight ran away", "back_to_epoch": 3, "block_momentum": lower}
    assert [one["epoch"] for one in after.epochs] == [1, 2]
    assert after.partial["train_seconds"] == 1.0 + 30.0  # what was thrown away counts for the epoch gone back to
    assert after.partial["phases"]["merge"] == {"min": 2.0, "mean": 4.0, "max": 6.0}


def test_a_second_divergence_from_the_same_weights_goes_back_to_the_first_ones() -> None:
    asked = settings()
    once = recovery.after_divergence(state(asked), asked, 8, "seen")
    again = recovery.after_divergence(once, asked, 2, "seen again")
    first = asked.network.initial_weights(asked.seed)
    assert (again.epoch, again.round, again.good_epoch) == (1, 0, 1)
    assert np.array_equal(again.master.weights, first) and np.array_equal(again.good, first)
    assert again.epochs == [] and again.partial["train_seconds"] == 1.0 + 30.0 + 20.0 + 10.0
    assert [answer["back_to_epoch"] for answer in again.divergences] == [3, 1]
    assert again.master.momentum < once.master.momentum


def test_after_other_divergences_the_last_good_weights_are_still_believed() -> None:
    """Only those that diverged last are not; the first answer is long past."""
    asked = settings()
    before = state(asked)
    before.divergences = [{"back_to_epoch": 3}, {"back_to_epoch": 2}]
    after = recovery.after_divergence(before, asked, 8, "seen")
    assert after.epoch == 3 and np.array_equal(after.master.weights, before.good)
    before.divergences.reverse()
    assert recovery.after_divergence(before, asked, 8, "seen").epoch == 1


@pytest.mark.parametrize(
    "given, cure", [({"merge": "mean"}, "lower --learning-rate"), ({"block_momentum": 0.0}, "lower --block-momentum")]
)
def test_a_divergence_without_momentum_ends_the_run_on_every_rank(given: dict[str, Any], cure: str) -> None:
    asked = settings(**given)
    with pytest.raises(MpinnError, match=f"diverged at epoch 4, round 8: seen; {cure}") as raised:
        recovery.after_divergence(state(asked), asked, 8, "seen")
    assert raised.value.everywhere


@pytest.mark.parametrize(
    "accuracies, now, momentum, collapsed",
    [
        ([80.0, 90.0, 60.0], 44.9, 0.5, True),
        ([80.0, 90.0, 60.0], 45.0, 0.5, False),  # half of the best is not less than half
        ([80.0, 90.0, 60.0], 44.9, 0.0, False),  # no momentum to blame
        ([], 10.0, 0.5, False),
        ([], 0.0, 0.5, False),
        ([None, 90.0], 44.0, 0.5, True),  # an epoch that was not evaluated
    ],
)
def test_a_collapse_is_less_than_half_of_the_best(
    accuracies: list[float | None], now: float, momentum: float, collapsed: bool
) -> None:
    made = state(settings())
    made.epochs = [{"epoch": n, "train_accuracy": value} for n, value in enumerate(accuracies, 1)]
    made.master.momentum = momentum
    assert recovery.collapsed(made, now) is collapsed


def test_after_a_loss_the_interrupted_rounds_count_for_their_epoch() -> None:
    before = state(settings())
    after = recovery.after_loss(before, 4, 6, 99, 2.5)
    assert (after.epoch, after.round, after.loss) == (4, 6, 99) and before.round == 7
    assert after.partial["train_seconds"] == 3.5 and after.partial["phases"] == PHASES
    assert recovery.after_loss(before, 4, 7, 0, None).partial == before.partial
    before.partial = None
    assert recovery.after_loss(before, 4, 6, 0, 2.5).partial["phases"]["wait"] == {"min": 0, "mean": 0, "max": 0}


def test_after_a_loss_the_epoch_is_that_of_the_ranks_that_are_behind() -> None:
    assert recovery.after_loss(state(settings(), epoch=4), 5, 0, 0, None).epoch == 5


def test_after_a_loss_an_epoch_that_another_rank_has_not_evaluated_is_taken_back() -> None:
    before = state(settings(), epoch=4, round_=0)
    after = recovery.after_loss(before, 3, 38, 5, None)
    assert (after.epoch, after.round, after.loss, [one["epoch"] for one in after.epochs]) == (3, 38, 5, [1, 2])
    assert (
        after.partial == {"train_seconds": 30.0, "phases": PHASES, "learn": PHASES["think"], "clipped": 1}
        and len(before.epochs) == 3
    )


def saved_of(asked: Settings, **changes: Any) -> Snapshot:
    saved = state(asked, epoch=2, round_=3)
    saved.seconds = 40.0
    return Snapshot(
        **{
            "settings": asked.determines_weights,
            "data": "c0ffee",
            "kernel_id": "",
            "numerics": 1,
            "job": "",
            "state": saved,
            **changes,
        }
    )


def test_odd_replicas_go_back_to_the_snapshot_and_are_named_as_failures() -> None:
    asked = settings()
    now, saved = state(asked), saved_of(asked)
    after = recovery.after_odd_replicas(now, asked, "c0ffee", saved, [(2, "pi"), (5, "pi2")], 130.0)
    assert (after.epoch, after.round) == (2, 3) and np.array_equal(after.master.weights, saved.state.master.weights)
    assert [(one["cause"], one["rank"], one["host"]) for one in after.failures] == [
        ("other weights", 2, "pi"),
        ("other weights", 5, "pi2"),
    ]
    assert [(one["epoch"], one["round"], one["seconds_lost"]) for one in after.failures] == 2 * [(4, 7, 90.0)]
    assert after.seconds == now.seconds  # wall time does not go back


def test_a_snapshot_of_this_very_round_is_gone_back_to() -> None:
    asked = settings()
    now = state(asked)
    after = recovery.after_odd_replicas(now, asked, "c0ffee", saved_of(asked, state=state(asked)), [(2, "pi")], 130.0)
    assert (after.epoch, after.round) == (now.epoch, now.round)


def test_odd_replicas_are_told_in_words() -> None:
    with pytest.raises(MpinnError) as raised:
        recovery.after_odd_replicas(state(settings()), settings(), "c0ffee", None, [(2, "pi"), (5, "pi2")], 130.0)
    assert str(raised.value) == (
        "rank 2 on pi, rank 5 on pi2: other master weights than most ranks at epoch 4, round 7: faulty memory? With "
        "--checkpoint DIR the run would go back to its last snapshot"
    )


@pytest.mark.parametrize("which", ["none", "other data", "other settings", "later"])
def test_odd_replicas_without_a_snapshot_of_this_run_end_it(which: str) -> None:
    asked = settings()
    later = state(asked, epoch=4, round_=8)
    saved = {
        "none": None,
        "other data": saved_of(asked, data="bad"),
        "other settings": saved_of(asked, settings=settings(seed=1).determines_weights),
        "later": saved_of(asked, state=later),
    }[which]
    with pytest.raises(MpinnError, match="rank 2 on pi: other master weights than most") as raised:
        recovery.after_odd_replicas(state(asked), asked, "c0ffee", saved, [(2, "pi")], 130.0)
    assert raised.value.everywhere


def test_a_restart_is_a_failure_with_the_seconds_that_are_done_again() -> None:
    before = state(settings())
    after = recovery.after_restart(before, time.time() - 5)
    (failure,) = after.failures
    assert failure["cause"] == "restarted" and failure["rank"] is None and before.failures == []
    assert 5 <= failure["seconds_lost"] < 60 and (failure["epoch"], failure["round"]) == (4, 7)
    when = datetime.fromisoformat(failure["when"])
    assert when.utcoffset() == timedelta(0) and abs((datetime.now(UTC) - when).total_seconds()) < 60


def test_a_clock_that_was_set_back_makes_no_time_lost() -> None:
    assert recovery.after_restart(state(settings()), time.time() + 5).failures[0]["seconds_lost"] == 0


def test_too_few_ranks_are_an_error_of_every_rank() -> None:
    error = recovery.too_few(1, settings(min_ranks=2))
    words = "1 rank left, fewer than --min-ranks 2; --resume goes on with more, where snapshots are saved"
    assert str(error) == words and error.everywhere
