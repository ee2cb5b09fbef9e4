"""One training run on one rank: prepare all that can be wrong, then epochs, snapshots and the result file."""

import dataclasses
import logging
import zlib
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from mpinn import checkpoint, config, data, environment, kernels, law, merge, results
from mpinn.checkpoint import Snapshot, Store
from mpinn.config import Config
from mpinn.data import Dataset
from mpinn.errors import MpinnError, UsageError
from mpinn.kernels import Kernel
from mpinn.network import weights_sha256
from mpinn.parallel import price
from mpinn.parallel import world as mpi
from mpinn.parallel.price import Price
from mpinn.parallel.round import Team
from mpinn.parallel.world import World
from mpinn.requests import STATUS, Listener, Requests
from mpinn.schedule import Schedule
from mpinn.screen import Screen, counted, head, hints
from mpinn.startup import Stopwatch, pss_mib

log = logging.getLogger("mpinn")

STOPPED = {"interrupt": "interrupted", "terminate": "terminated", "time_up": "time-limit"}
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def open_places(asked: Config) -> Store | None:
    """Return the store of snapshots, where one is wanted. Raises UsageError where what is wanted cannot be written."""
    if asked.result:
        checkpoint.check_writable(Path(asked.result).parent, "--result")
        if Path(asked.result).is_dir():
            raise UsageError(f"{asked.result}: is a directory; give --result a file")
    place = asked.checkpoint or (asked.resume if asked.resume and Path(asked.resume).is_dir() else None)
    return Store(Path(place)) if place else None


def read_data(world: World, asked: Config) -> tuple[Dataset, str]:
    """Let rank 0 read the data set and share it, one copy a node; return it and its fingerprint. Raises UsageError."""
    held: list[Dataset] = []

    def read() -> tuple[dict[str, Any], str]:
        held.append(data.load(asked.data, asked.test_data))
        about = {f.name: getattr(held[0], f.name) for f in dataclasses.fields(Dataset) if f.name not in ARRAYS}
        return about, f"{zlib.crc32(held[0].train_labels.data, zlib.crc32(held[0].train_images.data)):08x}"

    about, fingerprint = world.on_root(read)
    about |= {name: world.share(getattr(held[0], name) if held else None) for name in ARRAYS}
    return Dataset(**about), fingerprint


def settle(
    given: dict[str, Any],
    snapshot: Snapshot | None,
    store: Store | None,
    data: Dataset,
    fingerprint: str,
    ranks: int,
) -> Config:
    """Return the whole configuration, a resumed snapshot's settings included, for these data. Raises UsageError."""
    settings = {**given, "checkpoint": str(store.directory) if store else None}
    if snapshot:
        for name, value in snapshot.settings.items():
            asked = given.get(name)
            if asked not in (None, "auto", value):
                raise UsageError(
                    f"{given['resume']}: snapshot of a run {config.spelled(name, value)}, "
                    f"not {config.spelled(name, asked)}; leave that option out, or start without --resume"
                )
        if snapshot.data != fingerprint:
            raise UsageError(f"{given['resume']}: snapshot of a run on other training data; give the same --data")
        settings.update(snapshot.settings)
    return config.resolve(Config(**settings), data.pixels, data.classes, len(data.train_labels), ranks)


def choose_kernel(settings: Config) -> Kernel:
    """Return the kernel that the settings ask for. Raises UsageError."""
    network = checkpoint.network_of(vars(settings))
    step = settings.learning_rate * (settings.learning_rate_scale or 1)
    return kernels.choose(settings.kernel, network, step, settings.l1, settings.l2)


def divergence(settings: Config, epoch: int, round_: int, seen: str) -> MpinnError:
    """Return the error for a run that diverged; the round counts from 1."""
    cure = "--learning-rate" if settings.merge == "mean" else "--block-momentum, --worker-batch or --learning-rate"
    error = MpinnError(f"training diverged at epoch {epoch}, round {round_}: {seen}; lower {cure}")
    error.everywhere = True
    return error


def momentum_of(state: Snapshot) -> float:
    """Return the block momentum to go on with: that of the settings, or what the last divergence left of it."""
    answers = state.history["divergences"]
    return answers[-1]["block_momentum"] if answers else state.settings["block_momentum"] or 0.0


class Run:
    """What a run is, and what has come of it so far."""

    def __init__(self, world: World, given: dict[str, Any], watch: Stopwatch) -> None:
        """Prepare the run, with the settings that the user gave. Raises UsageError, on every rank."""
        self.watch = watch
        self.began = monotonic()
        self.world = world
        asked = Config(**given)
        self.store = world.on_root(partial(open_places, asked))
        snapshot = world.on_root(partial(checkpoint.load, Path(asked.resume))) if asked.resume else None
        self.data, self.fingerprint = read_data(world, asked)
        watch.lap("data")
        self.listener = Listener(asked.time_limit if world.root else None)
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
        self.balanced = False
        self.status = "running"
        self.error: str | None = None
        self.memory: dict[str, Any] | None = None
        watch.lap("prepare")
        if world.root:
            log.info("start: %s", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in watch.parts.items()))
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
            momentum_of(state),
            self.listener,
            settings.exchange,
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
            history={"epochs": [], "partial": None, "divergences": [], "seconds": 0.0},
        )

    def describe_environment(self) -> dict[str, Any]:
        """Return the `environment` of the result on rank 0, and {} elsewhere."""
        ranks = self.world.comm.gather(environment.local(self.kernel))
        library = {"vendor": mpi.vendor(), "version": mpi.version(), "library": mpi.library()}
        return environment.describe(self.kernel, ranks, library) if self.world.root else {}

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
        request = ""
        try:
            while not self.finished() and not request:
                request = self.train_epoch()
        except MpinnError as error:
            self.status, self.error = "failed", str(error)
            self.write_result()
            raise
        self.memory = self.weigh()
        self.status = STOPPED.get(request) or ("target" if self.target_reached() else "completed")
        self.write_result()
        self.screen.close(self.closing_line(), signalled=request in STATUS)
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
        progress = self.team.train(state.epoch, state.round, self.screen.show_round)
        state.round = progress.round
        state.history["partial"] = results.add_parts(
            state.history["partial"],
            {"train_seconds": progress.seconds, "phases": results.spread(progress.phases)},
        )
        if progress.requests.diverged:
            self.go_back(state.round + 1, f"a weight is not a number or beyond {merge.LIMIT:g}")
        if progress.requests.signalled:
            self.save()  # before anything else: a rank may have little time left
        self.screen.end_epoch()
        if self.config.balance == "measured" and not self.balanced and progress.round == self.schedule.rounds:
            self.team.balance(progress.phases)
            self.balanced = True
        return progress.requests

    def go_back(self, round_: int, seen: str) -> None:
        """Go back to the last good master weights, or from there to the first, with less momentum.

        Raises MpinnError where that is no way out. The seconds since then count for the epoch that is gone back to.
        """
        state, momentum = self.snapshot, momentum_of(self.snapshot)
        divergences = state.history["divergences"]
        if state.good is None or momentum == 0:
            raise divergence(self.config, state.epoch, round_, seen)
        if divergences and divergences[-1]["back_to_epoch"] == state.good_epoch:  # it was not as good as it looked
            state.good[:], state.good_epoch = state.network.initial_weights(self.config.seed), 1
        while self.epochs and self.epochs[-1]["epoch"] >= state.good_epoch:
            row = self.epochs.pop()
            spent = {key: row[key] for key in ("train_seconds", "phases")}
            state.history["partial"] = results.add_parts(state.history["partial"], spent)
        lower = law.lower(momentum, self.schedule.workers, self.schedule.worker_batch)
        divergences.append(
            {
                "epoch": state.epoch,
                "round": round_,
                "seen": seen,
                "back_to_epoch": state.good_epoch,
                "block_momentum": lower,
            }
        )
        self.screen.end_epoch()
        self.screen.say(
            f"diverged at epoch {state.epoch}, round {round_} ({seen}): back to the start of epoch {state.good_epoch}, "
            f"from there on with block momentum {lower:.4g}"
        )
        state.epoch, state.round = state.good_epoch, 0
        self.team.go_back(state.good, lower)

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
            if self.collapsed(train):
                self.go_back(state.round, f"accuracy on the training set fell to {train:.1f}%")
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

    def collapsed(self, accuracy: float) -> bool:
        """Return whether an accuracy on the training set, of momentum, is less than half of the best so far."""
        earlier = [row["train_accuracy"] for row in self.epochs if row["train_accuracy"] is not None]
        return momentum_of(self.snapshot) > 0 and accuracy < max(earlier, default=0) / 2

    def save(self) -> None:
        """Let rank 0 write a snapshot, where they are wanted. Raises MpinnError, on every rank."""
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
            "start": self.watch.parts,
            "memory": self.memory,
            "stopped_at": {"epoch": self.snapshot.epoch, "round": self.snapshot.round},
            "target": results.target_of(vars(self.config), self.epochs),
            "divergences": self.snapshot.history["divergences"],
            "failures": [],
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
