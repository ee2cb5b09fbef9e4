"""One training run on one rank: prepare all that can be wrong, then epochs, snapshots and the result file."""

import dataclasses
import logging
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from mpinn import checkpoint, config, environment, law, merge, recovery, results
from mpinn.beats import Launcher
from mpinn.checkpoint import Snapshot
from mpinn.config import Config
from mpinn.errors import MpinnError
from mpinn.kernels import Kernel
from mpinn.network import weights_sha256
from mpinn.parallel import price, watch
from mpinn.parallel import world as mpi
from mpinn.parallel.price import Price
from mpinn.parallel.round import Team
from mpinn.parallel.world import World
from mpinn.prepare import ARRAYS, choose_kernel, open_places, read_data, settle
from mpinn.requests import STATUS, Listener, Requests
from mpinn.schedule import Schedule
from mpinn.screen import Screen, counted, head, hints
from mpinn.startup import Stopwatch, pss_mib

log = logging.getLogger("mpinn")

STOPPED = {"interrupt": "interrupted", "terminate": "terminated", "time_up": "time-limit"}


class Run:
    """What a run is, and what has come of it so far."""

    def __init__(self, world: World, given: dict[str, Any], stopwatch: Stopwatch) -> None:
        """Prepare the run, with the settings that the user gave. Raises UsageError, on every rank."""
        self.start = stopwatch.parts
        self.began = monotonic()
        self.world = world
        asked = Config(**given)
        if asked.fault_tolerance == "ulfm":
            world.outlive_ranks()
        self.store = world.on_root(partial(open_places, asked))
        snapshot = world.on_root(partial(checkpoint.load, Path(asked.resume))) if asked.resume else None
        self.data, self.fingerprint = read_data(world, asked)
        stopwatch.lap("data")
        self.listener = Listener(asked.time_limit)
        settled = partial(settle, snapshot=snapshot, store=self.store, data=self.data, fingerprint=self.fingerprint)
        self.config = world.on_root(partial(settled, given, ranks=world.size))
        self.price = None
        if asked.worker_batch == "auto" and not snapshot:
            self.price = self.measure_price()
            given = {**given, "worker_batch": self.batch_for(self.price)}
            self.config = world.on_root(partial(settled, given, ranks=world.size))
        self.kernel = world.on_all(partial(choose_kernel, self.config))
        self.snapshot = snapshot or self.beginning()
        self.resumed_from = snapshot.id if snapshot else None
        world.comm.Bcast(self.snapshot.weights)
        self.team = self.make_team(self.kernel, self.snapshot)
        self.schedule = self.team.schedule
        self.snapshot.weights, self.snapshot.velocity = self.team.master, self.team.velocity
        self.environment = self.describe_environment()
        self.screen = Screen(self.config.quiet or not world.root)
        self.members = world.members
        self.balanced = False
        self.status = "running"
        self.error: str | None = None
        self.memory: dict[str, Any] | None = None
        self.watch: watch.Watch | None = None
        self.rounds_since: float | None = None  # when the rounds began that are under way
        stopwatch.lap("prepare")
        if world.root:
            log.info("start: %s", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.start.items()))
        if snapshot and snapshot.kernel_id != self.kernel.id and world.root:
            log.warning("resumed from another kernel, %s: weights are equal only within 1e-5", snapshot.kernel_id)

    def make_team(self, kernel: Kernel, state: Snapshot) -> Team:
        """Return the ranks as a team that goes on from the state. Raises UsageError, on every rank."""
        settings = self.config
        return Team(
            self.world,
            kernel,
            self.data,
            Schedule(len(self.data.train_labels), settings.workers or 1, int(settings.worker_batch)),
            settings.seed,
            state.weights,
            state.velocity,
            recovery.momentum_of(state),
            self.listener,
            settings.exchange,
            settings.check_replicas,
        )

    def measure_price(self) -> Price:
        """Return what a merge costs here."""
        self.kernel = self.world.on_all(partial(choose_kernel, self.config))
        with self.world.lent():
            return price.measure(self.make_team(self.kernel, self.beginning()))

    def batch_for(self, merge_price: Price) -> int:
        """Return the worker batch for a merge of this price, with which no learning is lost."""
        workers = self.config.workers or 1
        most = len(self.data.train_labels) // workers
        if self.config.merge == "block-momentum":
            most = min(most, law.most_worker_batch(workers))
        return price.worker_batch(merge_price, max(1, most))

    def beginning(self) -> Snapshot:
        """Return the state before the first round."""
        weights = checkpoint.network_of(vars(self.config)).initial_weights(self.config.seed)
        moving = self.config.merge == "block-momentum"
        return Snapshot(
            settings={name: getattr(self.config, name) for name in config.WEIGHTS},
            data=self.fingerprint,
            kernel_id=self.kernel.id,
            epoch=1,
            round=0,
            weights=weights,
            velocity=np.zeros_like(weights) if moving else None,
            good=weights.copy() if moving else None,
            history={"epochs": [], "partial": None, "divergences": [], "failures": [], "seconds": 0.0},
        )

    def describe_environment(self) -> dict[str, Any]:
        """Return the `environment` of the result on rank 0, and {} elsewhere unless ranks may be lost."""
        ranks = self.world.comm.gather(environment.local(self.kernel))
        library = {"vendor": mpi.vendor(), "version": mpi.version(), "library": mpi.library()}
        about = environment.describe(self.kernel, ranks, library) if self.world.root else {}
        return self.world.comm.bcast(about) if self.world.mortal else about  # any rank may become the root

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of the result, an epoch each; those before a resume included."""
        return self.snapshot.history["epochs"]

    def train(self) -> str:
        """Train until something ends it; return the name of the request that did, or an empty string."""
        if self.world.root:
            about = head(
                self.config,
                self.data,
                self.schedule.rounds,
                len(self.snapshot.weights),
                self.team.exchange.name,
                self.environment,
            )
            if self.price:
                costs = self.price.merge / self.price.exemplar
                about["workers"] += f" (a merge takes as long as {costs:.1f} exemplars)"
            self.screen.head(about, hints(self.config), self.nothing_left())
        launcher = Launcher.of_environment()
        recovery.note_restart(self.snapshot, launcher)
        self.watch = watch.start(self.world, self.config.stall_warning, self.config.stall_timeout, launcher)
        problem: Exception | None = None
        while True:
            try:
                if problem:
                    recovery.recover(self, problem)
                request = self.train_to_the_end()
                break
            except MpinnError as error:
                self.status, self.error = "failed", str(error)
                self.write_result()
                self.end_watch(error.status)
                raise
            except Exception as error:
                if not recovery.possible(self, error):
                    raise
                problem = error
        self.end_watch(STATUS.get(request, 0))
        self.screen.close(self.closing_line(), signalled=request in STATUS)
        return request

    def end_watch(self, status: int) -> None:
        if self.watch:
            self.watch.stop(status)

    def train_to_the_end(self) -> str:
        """Train until something ends it, and write the result; return the name of the request, or an empty string."""
        request = ""
        while not self.finished() and not request:
            request = self.train_epoch()
        self.memory = self.weigh()
        self.status = STOPPED.get(request) or ("target" if self.target_reached() else "completed")
        self.write_result()
        return request

    def finished(self) -> bool:
        return self.snapshot.epoch > self.config.epochs or self.target_reached()

    def target_reached(self) -> bool:
        target = results.target_of(vars(self.config), self.epochs)
        return target is not None and target["epochs"] is not None

    def nothing_left(self) -> str:
        """Return why the run has nothing to do, and how it would, or an empty string."""
        done = f"nothing is left to do: {counted(len(self.epochs), 'epoch')} done"
        if self.target_reached():
            return f"{done}, and the target reached; take a larger --target-accuracy to go on"
        if self.finished():
            return f"{done}; take a larger --epochs to go on"
        return ""

    def train_epoch(self) -> str:
        """Train to the end of the epoch, or to the round of a request; return the name of a request to stop."""
        state = self.snapshot
        requests = self.train_rounds() if state.round < self.schedule.rounds else Requests()
        if state.round == self.schedule.rounds and not requests.signalled:
            requests = requests.also(self.end_epoch())
        if requests.stop or requests.snapshot:
            self.save()
        return requests.stop

    def train_rounds(self) -> Requests:
        """Do the rounds that are left of the epoch, or those up to a request; return what was asked for."""
        state = self.snapshot
        self.screen.start_epoch(state.epoch, self.schedule.rounds)
        self.rounds_since = perf_counter()
        progress = self.team.train(state.epoch, state.round, self.count_round)
        self.rounds_since = None
        state.history["partial"] = results.add_parts(
            state.history["partial"],
            {"train_seconds": progress.seconds, "phases": results.spread(progress.phases)},
        )
        if progress.requests.diverged:
            recovery.answer_divergence(self, state.round + 1, f"a weight is not a number or beyond {merge.LIMIT:g}")
        if progress.requests.signalled:
            self.save()  # before anything else: a rank may have little time left
        self.screen.end_epoch()
        if self.config.balance == "measured" and not self.balanced and progress.round == self.schedule.rounds:
            self.team.balance(progress.phases)
            self.balanced = True
        return progress.requests

    def count_round(self, done: int) -> None:
        self.snapshot.round = done
        self.screen.show_round(done)

    def end_epoch(self) -> Requests:
        """Evaluate, note the epoch, take the snapshot that is due; return what was asked for meanwhile.

        A signal meanwhile leaves the epoch as it was before: evaluating it is left to the run that is resumed.
        """
        state = self.snapshot
        epoch = state.epoch
        train = test = None
        requests = Requests()
        start = perf_counter()
        if epoch % self.config.evaluate_every == 0 or epoch == self.config.epochs:
            with self.listener.at_once(self.write_snapshot) if self.world.root else nullcontext():
                train, test, requests = self.team.evaluate()
            if requests.signalled:
                return requests
            if recovery.collapsed(state, train):
                recovery.answer_divergence(self, state.round, f"accuracy on the training set fell to {train:.1f}%")
                return requests
        row = {
            "epoch": epoch,
            "train_accuracy": train,
            "test_accuracy": test,
            **state.history["partial"],
            "evaluate_seconds": perf_counter() - start,
            "weights_sha256": weights_sha256(state.weights),
        }
        self.epochs.append(row)
        self.screen.row(row, self.schedule.exemplars)
        state.epoch, state.round, state.history["partial"] = epoch + 1, 0, None
        if state.good is not None and train is not None:
            state.good[:], state.good_epoch = state.weights, state.epoch
        due = epoch % self.config.checkpoint_every == 0 or self.finished()
        if due and not requests.stop:
            self.save()
        self.write_result()
        return requests

    def save(self) -> None:
        """Let rank 0 write a snapshot, where they are wanted. Raises MpinnError or ReplicaError, on every rank."""
        if self.store:
            self.team.compare_replicas()  # no snapshot is of a wrong rank's weights
        self.world.on_root(self.write_snapshot)

    def write_snapshot(self) -> None:
        """Write a snapshot, where they are wanted. Raises MpinnError."""
        if self.store:
            history = {**self.snapshot.history, "seconds": self.seconds()}
            path = self.store.save(dataclasses.replace(self.snapshot, history=history, kernel_id=self.kernel.id))
            log.info("snapshot %s: epoch %d, round %d", path, self.snapshot.epoch, self.snapshot.round)

    def weigh(self) -> dict[str, Any]:
        """Return the memory of the ranks: the largest and the mean share, MiB, and of it the data set, one a node."""
        shares = [share for share in self.world.comm.allgather(pss_mib()) if share is not None]
        data = sum(getattr(self.data, name).nbytes for name in ARRAYS) / 2**20
        return {
            "pss_mib_max": max(shares, default=None),
            "pss_mib_mean": sum(shares) / len(shares) if shares else None,
            "data_mib": data,
        }

    def seconds(self) -> float:
        """Return the seconds of the run so far; those before a resume included."""
        return self.snapshot.history["seconds"] + monotonic() - self.began

    def write_result(self) -> None:
        """Write the result file, where one is wanted. Raises MpinnError, on every rank."""
        self.world.on_root(
            lambda: results.write(Path(self.config.result), self.result()) if self.config.result else None
        )

    def result(self) -> dict[str, Any]:
        """Return the result as docs/result.md describes it."""
        return {
            "schema_version": results.SCHEMA_VERSION,
            "status": self.status,
            "error": self.error,
            "config": dataclasses.asdict(self.config),
            "environment": self.environment,
            "data": {
                "name": self.data.name,
                "train": len(self.data.train_labels),
                "test": len(self.data.test_labels),
                "image_shape": list(self.data.image_shape),
                "classes": self.data.classes,
                "fingerprint": self.fingerprint,
            },
            "parameters": len(self.snapshot.weights),
            "rounds_per_epoch": self.schedule.rounds,
            "workers_of_ranks": [len(workers) for workers in self.team.assignment],
            "exchange": self.team.exchange.name,
            "price": self.price and self.price._asdict(),
            "resumed_from": self.resumed_from,
            "epochs": self.epochs,
            "start": self.start,
            "memory": self.memory,
            "stopped_at": {"epoch": self.snapshot.epoch, "round": self.snapshot.round},
            "target": results.target_of(vars(self.config), self.epochs),
            "divergences": self.snapshot.history["divergences"],
            "failures": self.snapshot.history["failures"],
            "weights_sha256": weights_sha256(self.snapshot.weights),
            "total_seconds": self.seconds(),
        }

    def closing_line(self) -> str:
        """Return what came of the run, and where it is written down."""
        at = self.snapshot
        if self.status in ("completed", "target"):
            reached = counted(len(self.epochs), "epoch")
        else:
            reached = f"{self.status} at epoch {at.epoch}, round {at.round}"
        if self.status == "target":
            reached = (
                f"target of {self.config.target_accuracy:g}% ({self.config.target_set} set) reached after {reached}"
            )
        written = [f"result in {self.config.result}"] if self.config.result else []
        if self.store and self.store.written:
            written.append(f"snapshot in {self.store.written[-1]}")
        parts = [f"{reached}, {self.seconds():.1f} s", f"weights {weights_sha256(at.weights)[:12]}", *written]
        return "\n" + "; ".join(parts)
