"""Tests under mpirun. A test that wants more ranks than there are is deselected, not skipped."""

import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mpi4py import MPI

from mpinn.parallel.world import World
from tests.digits import write_npz


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests marked `mpi(min_size=N)` that this number of ranks can run."""

    def wanted(item: pytest.Item) -> int:
        mark = item.get_closest_marker("mpi")
        return mark.kwargs.get("min_size", 1) if mark else 1

    too_large = [item for item in items if wanted(item) > MPI.COMM_WORLD.size]
    config.hook.pytest_deselected(items=too_large)
    items[:] = [item for item in items if item not in too_large]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """One failing rank ends all: the others may wait for it in a collective, for ever."""
    report = yield
    if report.failed and MPI.COMM_WORLD.size > 1:
        with item.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
            print(
                f"rank {MPI.COMM_WORLD.rank}: {item.nodeid}\n{report.longreprtext}",
                file=sys.stderr,
                flush=True,
            )
        MPI.COMM_WORLD.Abort(1)
    return report


@pytest.fixture
def world() -> Iterator[World]:
    """All ranks; signals are as before when the test ends."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    handlers = [signal.getsignal(number) for number in numbers]
    world = World(MPI.COMM_WORLD)
    yield world
    world.memory.free()
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def shared_tmp_path(world: World, tmp_path: Path) -> Path:
    """Rank 0's temporary directory, on every rank."""
    return world.comm.bcast(tmp_path)


@pytest.fixture
def data(world: World, shared_tmp_path: Path) -> Path:
    """A small data set, in that directory."""
    return world.on_root(lambda: write_npz(shared_tmp_path / "digits.npz"))
