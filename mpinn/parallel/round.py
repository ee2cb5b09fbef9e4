"""The rounds: every worker learns its batch from the master weights, an exchange merges them into the next master.

All ranks hold the same master, bit for bit, before and after every round.
"""

import zlib
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np

from mpinn.config import Settings
from mpinn.datasets import Dataset
from mpinn.kernels import Kernel
from mpinn.merging import formats, overlap, sums
from mpinn.merging.master import Master
from mpinn.merging.optimizers import OPTIMIZERS
from mpinn.parallel import exchange, fault_injection
from mpinn.parallel.exchange import Merged, Merging
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.pace import Pace
from mpinn.parallel.phases import RoundMerged
from mpinn.parallel.schedule import Counts, Schedule, assign, assign_by_speed, epoch_order
from mpinn.parallel.stop_requests import SLOTS, Listener, Requests
from mpinn.parallel.timeline import Kind, Timeline
from mpinn.parallel.travelling import learned_weights
from mpinn.parallel.world import Member, World

SAMPLE = 200  # exemplars of which none moves a unit that is saturated
BLOCK = 1000  # exemplars classified at a time; fixed, so that no rounding depends on the number of ranks


class Progress(NamedTuple):
    """What a stretch of rounds within one epoch came to."""

    round: int  # rounds of the epoch done so far, with no merge under way
    seconds: float
    phases: np.ndarray  # (ranks, len(PHASES)) seconds
    clipped: int  # worker batches whose steps the merges cut
    requests: Requests  # of its last round


class Evaluation(NamedTuple):
    """How well the master classifies."""

    train: float  # percent right of the training set
    test: float  # and of the test set
    requests: Requests  # of all ranks meanwhile
    classes_named: int  # that it chose for any exemplar of the training set
    saturated_percent: float  # of the units of the hidden layer that has most: `Network.saturated_percent`


class ReplicaError(Exception):
    """Ranks have other master weights than most."""

    def __init__(self, odd: list[Member]) -> None:
        super().__init__(", ".join(f"rank {rank} on {host}" for rank, host in odd))
        self.odd = odd


class Team:
    """The ranks as one learner."""

    def __init__(
        self,
        world: World,
        settings: Settings,
        kernel: Kernel,
        data: Dataset,
        master: Master,
        listener: Listener,
        timeline: Timeline | None = None,
    ) -> None:
        """master: where to start from, equal on all ranks; it is copied. timeline: for a trace.

        Raises UsageError, on every rank.
        """
        self.world = world
        self.kernel = kernel
        self.network = settings.network
        self.data = data
        self.seed = settings.seed
        self.listener = listener
        self.timeline = timeline or Timeline()
        self.schedule = Schedule(len(data.train_labels), settings.workers, settings.worker_batch)
        self.assignment = assign(settings.workers, world.size)
        form = formats.choose(settings.merge_format, settings.workers, settings.worker_batch)
        self.pace = Pace(settings, self.schedule, weighs=not np.issubdtype(form.dtype, np.integer))
        self.overlap = settings.overlap
        learned = learned_weights(settings.network, data.lit_pixels) if world.nodes > 1 else None
        compares = settings.compares_losses and self.schedule.rounds == 1
        how = Merging(settings.rule, kernel.merger, form, learned, self.overlap, settings.gradients, compares)
        self.exchange = exchange.choose(settings.exchange, world, how, master, self.assignment, self.timeline)
        # What the run goes back to where rounds have to be done again.
        self.settled = self.exchange.master.copy() if world.fault_tolerant or self.overlap else self.exchange.master
        self.fault = fault_injection.from_environment()
        self.check_every = settings.check_replicas or self.schedule.rounds  # rounds

    @property
    def master(self) -> Master:
        """The master after the last round that left no merge under way: the state of the run."""
        return self.settled

    @property
    def workers(self) -> range:
        """The workers of this rank."""
        return self.assignment[self.world.rank]

    def merge(self, counts: Counts, requests: Requests, numbers: np.ndarray, settle: bool) -> Merged:
        """Merge a round; leave no merge under way where `settle`; numbers: of the rule that moves the master.

        Where ranks may be lost it succeeds on all or on none.
        """
        with self.timeline.of_round(Kind.MERGING):
            merged = self.exchange.merge(counts, requests, numbers)
            if self.overlap and settle:
                merged = merged.also(self.exchange.settle())
            self.world.agree()
            if settle and self.settled is not self.exchange.master and not merged.requests.diverged:
                self.settled.become(self.exchange.master)
        return merged

    def regroup(self) -> None:
        """Share out the workers among the ranks that are left, which go on from `master`."""
        self.assignment = assign(self.schedule.workers, self.world.size)
        self.exchange.forget()
        self.exchange.reassign(self.assignment)
        self.exchange.go_back(self.settled)

    def compare_replicas(self) -> None:
        """Raise ReplicaError, on every rank, unless all ranks have the same master, bit for bit."""
        mine = 0
        for part in self.exchange.master.bytes:
            mine = zlib.crc32(part, mine)
        gathered = np.empty(self.world.size, np.uint32)
        self.world.comm.Allgather(np.array([mine], np.uint32), gathered)
        self.world.agree()
        found = gathered.tolist()
        most = max(set(found), key=found.count)
        right = most if 2 * found.count(most) > len(found) else None  # without a majority nobody is
        odd = [member for member, one in zip(self.world.members, found, strict=True) if one != right]
        if odd:
            raise ReplicaError(odd)

    def go_back(self, master: Master) -> None:
        """Go on from another master. Every rank calls it, once none reads the old one any more."""
        self.exchange.forget()
        self.settled.become(master)
        self.exchange.go_back(master)
        self.world.comm.Barrier()

    def balance(self, phases: np.ndarray) -> None:
        """Give each rank workers in proportion to the speed at which it learned: `Progress.phases` of an epoch.

        A rank that had no workers counts as fast as the others are on average.
        """
        workers = np.array([len(workers) for workers in self.assignment])
        seconds = phases[:, :2].sum(axis=1)
        speeds = np.divide(workers, seconds, out=np.zeros(len(workers)), where=(workers > 0) & (seconds > 0))
        speeds[speeds == 0] = speeds[speeds > 0].mean()
        self.assignment = assign_by_speed(self.schedule.workers, speeds)
        self.exchange.reassign(self.assignment)

    def scatter_batches(self, epoch: int) -> np.ndarray:
        """Return this rank's worker batches of the epoch, (rounds, workers here, worker_batch) int32, from rank 0."""
        schedule = self.schedule
        shape = (schedule.rounds, len(self.workers), schedule.worker_batch)
        mine = np.empty(shape, np.int32)
        if not self.world.root:
            self.world.comm.Scatterv(None, mine)
            self.world.agree()
            return mine
        order = epoch_order(self.seed, epoch, schedule.exemplars)
        slices = [schedule.slices(order, workers).ravel() for workers in self.assignment]
        counts = [len(part) for part in slices]
        self.world.comm.Scatterv([np.concatenate(slices), counts, MPI.INT32_T], mine)
        self.world.agree()
        return mine

    def train(
        self,
        epoch: int,
        first_round: int,
        tell: Callable[[RoundMerged], None],
        accuracies: Sequence[float] = (),
    ) -> Progress:
        """Do the rounds of an epoch from `first_round` (from 0) on, to its end or to the first with a request.

        `tell` gets an event of every round that is done; accuracies: on the training set, after each epoch before. A
        round that diverged does not count as done, and leaves a useless master.
        """
        start = perf_counter()
        with self.timeline.span(Kind.SCATTERING):
            batches = self.scatter_batches(epoch)
        self.kernel.learner.set_epoch(self.seed, epoch)
        thinking = training = merging = 0.0
        stays = np.zeros(self.schedule.rounds)  # seconds in the collective
        requests = Requests()
        clipped = 0
        done = settled = first_round
        while done < self.schedule.rounds:
            begun = perf_counter()
            self.timeline.begin_round(epoch, done + 1)
            counts = self.schedule.counts(done)
            factor = self.pace.factor(epoch, done, accuracies)
            if self.pace.steps_change:
                self.kernel.learner.set_rate(factor * self.pace.step)
            think, train = self.learn(batches[done], counts, epoch, done)
            asked = self.listener.requests()
            if ((epoch - 1) * self.schedule.rounds + done + 1) % self.check_every == 0:
                with self.timeline.of_round(Kind.COMPARING):
                    self.compare_replicas()  # before the merge: after it, what went wrong is in everybody's mean
            settle = not self.overlap or overlap.settles(done + 1, self.schedule.rounds)
            numbers = self.pace.numbers(self.exchange.master, epoch, done, factor)
            merged = self.merge(counts, asked, numbers, settle)
            requests, stays[done] = requests.also(merged.requests), merged.waited
            thinking += think
            training += train
            merging += perf_counter() - begun - think - train - merged.waited
            self.timeline.end_round()
            if requests.diverged:
                break
            done += 1
            settled = done if settle else settled
            clipped += merged.clipped
            tell(RoundMerged(epoch, done, settle, merged.clipped, merged.loss, think, train, merged.waited))
            if requests.stop or (settle and any(requests)):  # a snapshot can wait until no merge is under way
                break
        if self.exchange.how.rule in OPTIMIZERS and formats.diverged(sums.largest(self.exchange.master.weights)):
            requests = requests._replace(diverged=1)  # workers' steps and gradients tell only what they began with
        if requests.diverged:
            self.exchange.forget()  # no merge stays under way: MPI would write into memory that is of others by then
        elif settled < done:
            self.go_back(self.settled)
        seconds = perf_counter() - start
        with self.timeline.span(Kind.GATHERING):
            shortest = np.empty_like(stays)
            self.world.comm.Allreduce(stays, shortest, MPI.MIN)
            phases = np.array([thinking, training, merging + shortest.sum(), (stays - shortest).sum()])
            gathered = np.empty((self.world.size, len(phases)))
            self.world.comm.Allgather(phases, gathered)
            self.world.agree()
        return Progress(settled, seconds, gathered, clipped, requests)

    def learn(self, batches: np.ndarray, counts: Counts, epoch: int, round_: int) -> tuple[float, float]:
        """Let this rank's workers learn their batches of a round. Return seconds spent thinking and training.

        batches (workers here, worker_batch) int32.
        """
        of_run = (epoch - 1) * self.schedule.rounds + round_ + 1
        self.fault = self.fault.strike(self.world.start_rank, of_run, self.exchange.master.weights)
        learner, timeline = self.kernel.learner, self.timeline
        compute = learner.gradient if self.exchange.how.gradients else learner.learn
        think = train = 0.0
        for batch, worker in zip(batches, self.workers, strict=True):
            count = int(counts.workers[worker])
            if count == 0:
                continue
            begun, progressed = (perf_counter() if timeline.active else 0.0), timeline.progressed
            start = self.exchange.start(worker)
            place = self.exchange.place(worker, counts)
            learned = compute(
                start,
                self.data.train_images,
                self.data.train_labels,
                batch[:count],
                place,
                self.exchange.progress if self.overlap else None,
            )
            think += learned.think
            train += learned.train
            self.exchange.stored(worker, counts, place, learned.loss)
            if timeline.active:
                progress = timeline.progressed - progressed
                timeline.learned(begun, worker, count, learned.think, learned.train, progress)
        done = perf_counter() if timeline.active else 0.0
        factor = self.fault.wait(self.world.start_rank, of_run, think + train)
        if timeline.active and factor > 1:
            timeline.note(Kind.SLOWED, done, perf_counter())
        return factor * think, factor * train

    def evaluate(self) -> Evaluation:
        """Classify both sets, each rank a part of them."""
        sets = (
            (self.data.train_images, self.data.train_labels),
            (self.data.test_images, self.data.test_labels),
        )
        counts = np.zeros(2 + SLOTS + 1 + self.network.sizes[-1])
        classes = counts[2 + SLOTS + 1 :]
        for number, (images, labels) in enumerate(sets):
            blocks = assign(-(-len(labels) // BLOCK), self.world.size)[self.world.rank]
            for start in range(blocks.start * BLOCK, min(blocks.stop * BLOCK, len(labels)), BLOCK):
                chosen = self.kernel.learner.classify(self.exchange.master.weights, images[start : start + BLOCK])
                counts[number] += np.count_nonzero(chosen == labels[start : start + BLOCK])
                if number == 0:
                    classes[chosen] = 1
        if self.world.root:
            sample = self.data.train_images[:SAMPLE]
            counts[2 + SLOTS] = self.network.saturated_percent(self.exchange.master.weights, sample)
        counts[2 : 2 + SLOTS] = self.listener.requests()
        self.world.comm.Allreduce(MPI.IN_PLACE, counts)
        self.world.agree()
        train, test = (100 * counts[number] / len(labels) for number, (_, labels) in enumerate(sets))
        requests, saturated = Requests(*map(int, counts[2 : 2 + SLOTS])), float(counts[2 + SLOTS])
        return Evaluation(train, test, requests, int(np.count_nonzero(classes)), saturated)
