"""One training run on one rank: epochs of rounds, until something ends it."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import Any

from mpinn.config import Settings
from mpinn.failures.failure_detector import FailureDetector
from mpinn.merging import formats
from mpinn.model import losses
from mpinn.model.network import weights_sha256
from mpinn.parallel import phases
from mpinn.parallel.round import ReplicaError, Team
from mpinn.parallel.stop_requests import STATUS, Requests
from mpinn.parallel.timeline import Kind
from mpinn.system.errors import MpinnError
from mpinn.system.processes import pss_mib
from mpinn.training import environment, goals, recovery, results, snapshots
from mpinn.training.events import (
    EpochBegan,
    EpochEnded,
    Evaluated,
    Event,
    Observer,
    RankLost,
    RoundMerged,
    RoundsEnded,
    RunBegan,
    RunEnded,
    RunFailed,
    SignalCaught,
    SnapshotWanted,
    WentBack,
)
from mpinn.training.results import Facts
from mpinn.training.snapshots import Snapshot, Store
from mpinn.training.state import RunState

STOPPED = {"interrupt": "interrupted", "terminate": "terminated", "time_up": "time-limit"}


@dataclass
class Run:
    """The ranks as they train; `setup.prepare` makes one. What it has come to is in `state`."""

    settings: Settings
    team: Team
    state: RunState
    facts: Facts
    store: Store | None  # where snapshots are saved
    started: float  # by time.monotonic
    detector: FailureDetector | None = None
    observers: Sequence[Observer] = ()
    memory: dict[str, Any] | None = None  # the result's, known at the end
    rounds_since: float | None = None  # when the rounds under way began, by perf_counter
    balanced: bool = False  # whether workers were shared out by speed
    loss: int = 0  # of rounds that are done while a merge is under way

    def tell(self, event: Event) -> None:
        for observer in self.observers:
            observer(event)

    @property
    def seconds(self) -> float:
        """Wall time of the run so far; that before a resume included."""
        return self.state.seconds + monotonic() - self.started

    def snapshot_of(self, state: RunState) -> Snapshot:
        """Return the state as it is now, for whoever goes on from it."""
        now = replace(state, seconds=self.seconds)
        data, job, kernel = self.facts.data.fingerprint, self.facts.job, self.team.kernel
        return Snapshot(self.settings.determines_weights, data, kernel.id, kernel.numerics, job, now)

    def result_of(self, state: RunState) -> dict[str, Any]:
        """Return the result as it is now."""
        now = replace(state, seconds=self.seconds)
        return results.result(self.settings, self.facts, now, self.team.assignment, self.memory)

    def train(self) -> str:
        """Train until something ends it; return the name of the request that did, or an empty string."""
        self.tell(RunBegan(self.state, goals.nothing_left(self.settings, self.state)))
        try:
            request = self.recovering(self.train_to_the_end)
        except MpinnError as error:
            self.state.status, self.state.error = "failed", str(error)
            with suppress(MpinnError):  # what failed first is what is told
                self.tell(RunFailed(self.state))
            self.stop_detector()
            raise
        self.stop_detector()
        return request

    def stop_detector(self) -> None:
        if self.detector:
            self.detector.stop()

    def train_to_the_end(self) -> str:
        """Train until something ends it; return the name of the request that did, or an empty string."""
        request = ""
        while not goals.finished(self.settings, self.state) and not request:
            request = self.train_epoch()
        shares = self.team.world.comm.allgather(pss_mib())
        self.memory = environment.memory_usage(shares, self.facts.data.nbytes)
        commonest = self.facts.data.commonest_percent
        self.state.status = STOPPED.get(request) or goals.outcome(self.settings, self.state, commonest)
        found = results.efficiency_of(self.facts, self.state) if self.team.world.size > 1 else None
        self.tell(RunEnded(self.state, self.seconds, request in STATUS, found))
        return request

    def train_epoch(self) -> str:
        """Train to the end of the epoch, or to the round of a request; return the name of a request to stop."""
        rounds = self.team.schedule.rounds
        requests = self.train_rounds() if self.state.round < rounds else Requests()
        if self.state.round == rounds and not requests.signalled:
            requests = requests.also(self.end_epoch())
        if requests.stop or requests.snapshot:
            self.tell(SnapshotWanted(self.state))
        return requests.stop

    def train_rounds(self) -> Requests:
        """Do the rounds that are left of the epoch, or those up to a request; return what was asked for."""
        state, rounds = self.state, self.team.schedule.rounds
        self.tell(EpochBegan(state.epoch, rounds))
        self.rounds_since, self.loss = perf_counter(), 0
        accuracies = [row["train_accuracy"] for row in state.epochs if row["train_accuracy"] is not None]
        progress = self.team.train(state.epoch, state.round, self.follow, accuracies)
        self.rounds_since = None
        state.partial = phases.add(state.partial, phases.part(progress.seconds, progress.phases, progress.clipped))
        if progress.requests.diverged:
            self.answer_divergence(
                min(state.round + 1, rounds), f"a weight is not a number or beyond {formats.LIMIT:g}"
            )
        if progress.requests.signalled:
            self.tell(SnapshotWanted(self.state))  # before anything else: a rank may have little time left
        self.tell(RoundsEnded(self.state.epoch, self.state.round))
        if self.settings.balance == "measured" and not self.balanced and progress.round == rounds:
            self.team.balance(progress.phases)
            self.balanced = True
        return progress.requests

    def follow(self, event: Event) -> None:
        """Note the rounds that are done, and their loss, and pass the event on."""
        if isinstance(event, RoundMerged):
            self.loss += event.loss
            if event.settled:
                self.state.round = event.round
                self.state.loss = None if self.state.loss is None else self.state.loss + self.loss
                self.loss = 0
        self.tell(event)

    def end_epoch(self) -> Requests:
        """Evaluate and note the epoch; return what was asked for meanwhile.

        A signal meanwhile leaves the epoch as it was before: evaluating it is left to the run that is resumed.
        """
        state, settings = self.state, self.settings
        epoch = state.epoch
        train = test = named = saturated = None
        requests = Requests()
        start = perf_counter()
        if epoch % settings.evaluate_every == 0 or epoch == settings.epochs:
            root, evaluating = self.team.world.root, self.team.timeline.span(Kind.EVALUATING)
            with (
                evaluating,
                self.team.listener.at_once(lambda: self.tell(SignalCaught(state))) if root else nullcontext(),
            ):
                train, test, requests, named, saturated = self.team.evaluate()
            if requests.signalled:
                return requests
            self.tell(Evaluated(epoch, train, test))
            if recovery.collapsed(state, train):
                self.answer_divergence(state.round, f"accuracy on the training set fell to {train:.1f}%")
                return requests
        row = {
            "epoch": epoch,
            "train_accuracy": train,
            "test_accuracy": test,
            "loss": None if state.loss is None else state.loss * losses.UNIT / self.team.schedule.exemplars,
            "classes_named": named,
            "saturated_percent": saturated,
            **(state.partial or {}),
            "evaluate_seconds": perf_counter() - start,
            "weights_sha256": weights_sha256(state.master.weights),
        }
        state.epochs.append(row)
        state.epoch, state.round, state.partial, state.loss = epoch + 1, 0, None, 0
        if state.good is not None and train is not None:
            state.good[:], state.good_epoch = state.master.weights, state.epoch
        due = epoch % settings.checkpoint_every == 0 or goals.finished(settings, state)
        exemplars = self.team.schedule.exemplars
        dead = goals.dead(state.epochs, self.facts.data.commonest_percent)
        self.tell(EpochEnded(state, row, exemplars, dead, save=due and not requests.stop))
        return requests

    def recovering(self, work: Callable[[], str]) -> str:
        """Do `work`, and again after every fault from which the run recovers; return its value."""
        problem: Exception | None = None
        while True:
            try:
                if problem:
                    with self.team.timeline.span(Kind.RECOVERING):
                        self.recover(problem)
                return work()
            except MpinnError:
                raise
            except Exception as error:
                self.team.timeline.end_round()
                if not isinstance(error, ReplicaError) and not self.team.world.is_loss(error):
                    raise
                problem = error

    def recover(self, problem: Exception) -> None:
        """Bring the run to where it can go on, on every rank. Raises MpinnError where that cannot be."""
        if isinstance(problem, ReplicaError):
            self.answer_odd_replicas(problem)
        else:
            self.go_on_without_the_lost()

    def go_on_without_the_lost(self) -> None:
        """Go on with the ranks that are left, from the last round that is done. Raises MpinnError: too few."""
        noticed = perf_counter()
        before = self.team.world.members
        epoch, round_, loss = min(self.regroup())
        rounds_took = None if self.rounds_since is None else perf_counter() - self.rounds_since
        self.state = recovery.after_loss(self.state, epoch, round_, loss, rounds_took)
        self.tell(RoundsEnded(epoch, round_))
        left = self.team.world.members
        for member in before:
            if member not in left:
                lost = recovery.failure("lost", member, self.state, perf_counter() - noticed)
                self.state.failures.append(lost)
                self.tell(RankLost(*member, len(left), self.state))
        if len(left) < self.settings.min_ranks:
            self.tell(SnapshotWanted(self.state))
            raise recovery.too_few(len(left), self.settings)

    def regroup(self) -> list[tuple[int, int, int | None]]:
        """Join the ranks that are left; return the epoch and round to which each of them has come, and their loss."""
        while True:
            try:
                self.team.world.shrink()
                self.team.regroup()
                if self.detector:
                    self.detector.join()
                return self.team.world.comm.allgather((self.state.epoch, self.state.round, self.state.loss))
            except Exception as error:
                if not self.team.world.is_loss(error):  # else one more was lost meanwhile
                    raise

    def answer_odd_replicas(self, problem: ReplicaError) -> None:
        """Go back to the last snapshot. Raises MpinnError, on every rank, where there is none."""
        world, store = self.team.world, self.store
        exemplars = self.team.schedule.exemplars
        saved = world.on_root(lambda: snapshots.load(store.directory, exemplars) if store else None)
        why = recovery.odd_replicas(self.state, problem.odd)
        fingerprint = self.facts.data.fingerprint
        back = recovery.after_odd_replicas(self.state, self.settings, fingerprint, saved, problem.odd, self.seconds)
        self.go_back(back, f"{why}; back to epoch {back.epoch}, round {back.round}")

    def answer_divergence(self, round_: int, seen: str) -> None:
        """Go back to good weights; round_ from 1. Raises MpinnError, on every rank, where that is no way out."""
        back = recovery.after_divergence(self.state, self.settings, round_, seen)
        why = (
            f"diverged at epoch {self.state.epoch}, round {round_} ({seen}): back to the start of epoch {back.epoch}, "
            f"from there on with block momentum {back.master.momentum:.4g}"
        )
        self.team.world.agree()  # no rank reads any more what the others will write; all go back, or none
        self.go_back(back, why)

    def go_back(self, state: RunState, why: str) -> None:
        """Go on from another state."""
        with self.team.timeline.span(Kind.GOING_BACK):
            self.team.go_back(state.master)
        self.state = replace(state, master=self.team.master)
        self.tell(WentBack(self.state, why))
