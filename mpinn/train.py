"""`mpirun -n 8 python -m mpinn.train`: the command over all of training."""

import logging
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from mpinn import config
from mpinn.config import Options
from mpinn.failures.supervision import Supervision
from mpinn.parallel.launched import launched
from mpinn.parallel.stop_requests import STATUS
from mpinn.system.command_line import print_error
from mpinn.system.errors import MpinnError
from mpinn.system.processes import check_open_files
from mpinn.training.stopwatch import Stopwatch

LATE = 0.2  # seconds that other ranks leave rank 0 to print an error first: the first to print ends all
HEARD = 0.2  # seconds for the launcher to pass on the line of an error, before all ranks are ended

World = Any  # mpinn.parallel.world.World. Where MPI is missing its import is an error, so it is imported when needed.


def start_mpi() -> World:
    """Return the world of ranks. Raises UsageError where MPI is missing, cannot run, or is not the launcher's."""
    check_open_files()
    from mpinn.parallel import world

    return world.World.start()


def train(world: World, typed: dict[str, object], stopwatch: Stopwatch, supervision: Supervision | None) -> int:
    """Train as asked; return the exit status. Raises MpinnError."""
    from mpinn.training import goals, setup

    stopwatch.lap("imports")
    given = world.on_root(partial(config.given, typed))
    options = Options(**given)
    if "show_config" in typed:
        if world.root:
            print(config.show(options), end="")
        return 0
    level = "error" if options.quiet else options.log_level
    logging.basicConfig(format="mpinn: %(levelname)s: %(message)s", level=level.upper())
    logging.addLevelName(logging.WARNING, "warning")
    learners = world if options.learning_ranks == "all" else world.learners()
    if learners is None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # the ranks that learn answer
        world.rest()
        return 0
    try:
        run = setup.prepare(learners, given, stopwatch, supervision)
        stopped = run.train()
        status = STATUS.get(stopped, goals.MISSED if run.state.status in goals.MISSING else 0)
    except MpinnError as error:
        if error.everywhere:
            world.wake(learners)
        raise
    world.wake(learners)
    return status


@contextmanager
def printed_once(rank: int) -> Iterator[None]:
    """Within it only rank 0 prints: the help text, say."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere) if rank else nullcontext():
        yield


def fail(error: BaseException, world: World | None, rank: int, debug: bool) -> int:
    """Print what went wrong, once, and see to it that every rank ends; return the exit status."""
    if world is None and rank:
        return 0  # rank 0 finds the same; a status other than 0 might make mpirun end it before it has printed
    alone = world is not None and not (isinstance(error, MpinnError) and error.everywhere)
    root = world.root if world else rank == 0
    if alone and not root:
        time.sleep(LATE)
    if alone or root:
        if debug:
            traceback.print_exception(error)
        if not isinstance(error, MpinnError):
            error = MpinnError(
                f"rank {rank} on {platform.node()}: {type(error).__name__}: {error}; --debug shows where"
            )
        print_error(error)
    status = error.status if isinstance(error, MpinnError) else 1
    if alone and world:
        time.sleep(HEARD)
        world.abort(status)
    return status


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status. Of all ranks, rank 0 alone prints."""
    _, _, rank = launched()
    stopwatch = Stopwatch()
    world = supervision = None
    try:
        supervision = Supervision.begin(rank)
        with printed_once(rank):
            typed = config.parse(arguments)
        world = start_mpi()
        stopwatch.lap("mpi")
        status = train(world, typed, stopwatch, supervision)
    except KeyboardInterrupt:
        status, world = STATUS["interrupt"], None
    except SystemExit:  # --help, --version
        status = 0
    except Exception as error:
        status = fail(error, world, rank, "--debug" in arguments)
    if supervision and (world or rank == 0):
        supervision.done(status)
    if world:
        world.stop()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
