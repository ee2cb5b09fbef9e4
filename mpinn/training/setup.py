"""What a run needs before its first round, and all that can be wrong with it: files, data, settings, ranks."""

import logging
import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from mpinn import config, datasets, kernels
from mpinn.config import Options, Settings
from mpinn.datasets import Dataset
from mpinn.failures import failure_detector
from mpinn.failures.supervision import Supervision
from mpinn.kernels import Kernel
from mpinn.merging import worker_batch
from mpinn.merging.worker_batch import MergeCost
from mpinn.parallel import merge_cost, mpi_library
from mpinn.parallel.launched import launched
from mpinn.parallel.round import Team
from mpinn.parallel.stop_requests import Listener
from mpinn.parallel.timeline import Timeline
from mpinn.parallel.world import World
from mpinn.system.errors import UsageError
from mpinn.system.files import check_writable
from mpinn.system.locks import Lock
from mpinn.training import environment, recovery, results, screen, snapshots
from mpinn.training.events import Observer, log_event
from mpinn.training.results import Facts
from mpinn.training.run import Run
from mpinn.training.screen import Screen
from mpinn.training.snapshots import Snapshot, Store
from mpinn.training.state import RunState
from mpinn.training.stopwatch import Stopwatch
from mpinn.training.trace import TraceWriter
from mpinn.training.writers import ResultWriter, SnapshotWriter

log = logging.getLogger("mpinn")

FIRST_BATCH = 100  # exemplars, with which the cost of a merge is measured


def prepare(world: World, given: dict[str, Any], stopwatch: Stopwatch, supervision: Supervision | None = None) -> Run:
    """Return the run that the options ask for, by name as the user gave them. Raises UsageError, on every rank.

    supervision: this rank's line to mpinn.launch, if that started it.
    """
    started = monotonic()
    options = Options(**given)
    if options.fault_tolerance == "ulfm":
        world.tolerate_faults()
    supervisor = supervision.supervisor if supervision else None
    job = supervisor.job if supervisor else world.on_root(lambda: secrets.token_hex(6))
    again = bool(supervisor and supervisor.lost_since)
    store = world.on_root(partial(open_store, options, job))
    resumed = Path(options.resume) if options.resume else None
    if store:
        world.on_root(lambda: store.begin(resumed, again))
    lock = lock_result(world, options, job)
    check_trace(world, options)
    data = share_data(world, options)
    exemplars = len(data.train_labels)
    snapshot = world.on_root(partial(snapshots.load, resumed, exemplars)) if resumed else None
    if store and snapshot:
        world.on_root(lambda: store.adopt(snapshot))
    stopwatch.lap("data")
    # Bare, Open MPI's mpirun sends its ranks SIGTERM after Ctrl-C and after a SIGTERM of its own: either interrupts.
    bare = launched()[0] == "Open MPI" and not supervision
    listener = Listener(options.time_limit, "interrupt" if bare else "terminate")
    options = world.on_root(partial(with_snapshot, given, snapshot, store, data))
    settings, cost = resolve_settings(world, options, data, listener)
    kernel = world.on_all(partial(choose_kernel, settings))
    state = snapshot.state if snapshot else RunState.beginning(settings)
    world.comm.Bcast(state.master.weights)
    timeline = Timeline(settings.trace_rounds if settings.trace else 0)
    team = Team(world, settings, kernel, data, state.master, listener, timeline)
    state.master = team.master
    facts = Facts(
        job=job,
        environment=describe_environment(world, kernel),
        data=data,
        exchange=team.exchange.name,
        merge_cost=cost,
        resumed_from=snapshot.id if snapshot else None,
        start=stopwatch.parts,
    )
    if supervisor and again:
        state = recovery.after_restart(state, supervisor.lost_since)
    detector = failure_detector.start(world, settings.stall_warning, settings.stall_timeout, supervision)
    run = Run(settings, team, state, facts, store, started, detector)
    run.observers = observers(run, lock)
    stopwatch.lap("prepare")
    if world.root:
        log.info("start: %s", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stopwatch.parts.items()))
    if snapshot and not kernel.same_bits(snapshot.kernel_id, snapshot.numerics) and world.root:
        log.warning("resumed from another kernel, %s: weights are equal only within 1e-5", snapshot.kernel_id)
    return run


def describe_environment(world: World, kernel: Kernel) -> dict[str, Any]:
    """Return the `environment` of the result on rank 0, {} elsewhere unless ranks may be lost. Raises UsageError."""
    ranks = world.comm.gather(environment.local(kernel))
    library = {"vendor": mpi_library.vendor(), "version": mpi_library.version(), "library": mpi_library.library()}
    profile = world.on_root(environment.HostProfile.from_environment)
    about = environment.describe(kernel, ranks, world.resting, library, profile) if world.root else {}
    return world.comm.bcast(about) if world.fault_tolerant else about  # any rank may become the root


def observers(run: Run, lock: Lock | None) -> list[Observer]:
    """Return who is told of a run's events, in order: what is told on the screen has been written.

    lock: of the result file.
    """
    settings, team, world = run.settings, run.team, run.team.world
    found: list[Observer] = [log_event] if log.isEnabledFor(logging.DEBUG) else []
    if run.store:
        found.append(SnapshotWriter(team, run.store, run.snapshot_of, run.tell))
    if settings.result:
        found.append(ResultWriter(team, Path(settings.result), lock, run.result_of))
    if settings.trace:
        found.append(TraceWriter(team, settings, run.facts))
    head = screen.head(settings, run.facts, team.exchange.medium) if world.root else {}
    silent = lambda: settings.quiet or not world.root  # noqa: E731
    found.append(Screen(settings, head, run.facts.data.notes, run.facts.start, silent))
    return found


def open_store(options: Options, job: str) -> Store | None:
    """Return the store of a job's snapshots, where one is wanted. Raises UsageError where it cannot be written."""
    resumed = options.resume if options.resume and Path(options.resume).is_dir() else None
    directory = options.checkpoint or resumed
    return Store(Path(directory), job) if directory else None


def lock_result(world: World, options: Options, job: str) -> Lock | None:
    """Return the lock of the result file, where one is wanted; rank 0 holds it.

    Raises UsageError, on every rank, where the file cannot be written or another job has it.
    """
    if options.result is None:
        return None
    path = Path(options.result)
    lock = results.lock_of(path, job)

    def take() -> None:
        check_file(path, "--result")
        lock.take()

    world.on_root(take)
    return lock


def check_trace(world: World, options: Options) -> None:
    """Raise UsageError, on every rank, where a trace is wanted and cannot be written."""

    def check() -> None:
        if options.trace is not None:
            if options.result is not None and Path(options.trace).resolve() == Path(options.result).resolve():
                raise UsageError(f"{options.trace}: --trace and --result name one file; give each its own")
            check_file(Path(options.trace), "--trace")

    world.on_root(check)


def check_file(path: Path, option: str) -> None:
    """Raise UsageError unless a file can be written there."""
    check_writable(path.parent, option)
    if path.is_dir():
        raise UsageError(f"{path}: is a directory; give {option} a file")


def share_data(world: World, options: Options) -> Dataset:
    """Let rank 0 read the data set and share it, one copy a node. Raises UsageError, on every rank."""
    held: list[Dataset] = []

    def read() -> dict[str, Any]:
        held.append(datasets.load(options.data, options.test_data))
        return held[0].about

    about = world.on_root(read)
    arrays = {name: world.memory.share(getattr(held[0], name) if held else None) for name in datasets.ARRAYS}
    return Dataset(**{**about, **arrays})


def with_snapshot(given: dict[str, Any], snapshot: Snapshot | None, store: Store | None, data: Dataset) -> Options:
    """Return the options with those of a resumed snapshot, for these data. Raises UsageError where they contradict."""
    options = {**given, "checkpoint": str(store.directory) if store else None}
    if snapshot:
        differing = [
            f"{config.spelled(name, value)}, not {config.spelled(name, given[name])}"
            for name, value in snapshot.settings.items()
            if given.get(name) not in (None, "auto", value)
        ]
        if differing:
            cure = "that option" if len(differing) == 1 else "those options"
            raise UsageError(
                f"{given['resume']}: snapshot of a run {'; '.join(differing)}: leave out {cure}, or start without "
                "--resume"
            )
        if snapshot.data != data.fingerprint:
            raise UsageError(f"{given['resume']}: snapshot of a run on other training data; give the same --data")
        options.update(snapshot.settings)
    return Options(**options)


def resolve_settings(
    world: World, options: Options, data: Dataset, listener: Listener
) -> tuple[Settings, MergeCost | None]:
    """Return the settings of a run on these ranks, and the cost of a merge where --worker-batch auto needs it.

    Under `auto` that cost is measured with a first worker batch; by it the worker batch is chosen, and whether merges
    overlap where they go between hosts. Raises UsageError, on every rank.
    """
    exemplars = len(data.train_labels)

    def resolved(batch: int, overlap: bool = options.overlap) -> Settings:
        asked = replace(options, overlap=overlap)
        resolve = partial(config.resolve, asked, batch, data.pixels, data.classes, exemplars, world.started)
        return world.on_root(resolve)

    if options.worker_batch == "all":
        return resolved(-(-exemplars // resolved(1).workers)), None
    if isinstance(options.worker_batch, int):
        return resolved(options.worker_batch), None
    first = resolved(max(1, min(FIRST_BATCH, exemplars // resolved(1).workers)))
    kernel = world.on_all(partial(choose_kernel, first))
    can_hide = world.nodes > 1 and not config.overlap_problem(first.workers, first.merge_format, first.rule)
    with world.borrowed_memory():
        teams = [
            Team(world, replace(first, overlap=way), kernel, data, RunState.beginning(first).master, listener)
            for way in ([False, True] if can_hide else [False])
        ]
        cost = merge_cost.measure(*teams)
    largest = partial(worker_batch.largest, first.merge, first.workers, exemplars)
    if options.overlap:
        return resolved(worker_batch.cheapest(cost, largest(overlap=True), overlap=True)), cost
    return resolved(*worker_batch.choose(cost, largest(overlap=False), largest(overlap=True))), cost


def choose_kernel(settings: Settings) -> Kernel:
    """Return the kernel that the settings ask for. Raises UsageError."""
    return kernels.choose(
        settings.kernel,
        settings.network,
        settings.step,
        settings.l1,
        settings.l2,
        settings.rule,
        settings.layer_rates,
        settings.worker_momentum,
    )
