"""What ranks share, and how an error of one becomes an error of all."""

import time

import numpy as np
import pytest

from mpinn.parallel import mpi_library, shared_memory
from mpinn.parallel.world import World
from mpinn.system.errors import MpinnError, UsageError

ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 6)


def test_share_gives_every_rank_the_array_read_only(world: World) -> None:
    shared = world.memory.share(ARRAY if world.root else None)
    assert np.array_equal(shared, ARRAY) and shared.dtype == ARRAY.dtype
    with pytest.raises(ValueError, match="read-only"):
        shared[0, 0] = 1


@pytest.mark.mpi(min_size=2)
def test_share_is_one_copy_a_node(world: World) -> None:
    shared = world.memory.share(ARRAY if world.root else None)
    shared.flags.writeable = True
    if world.node.rank == 1:
        shared[2, 3] = 99
    world.node.Barrier()
    assert shared[2, 3] == 99


@pytest.mark.mpi(min_size=2)
def test_share_without_room_in_shared_memory_is_a_copy_a_rank(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_memory, "shared_memory_free", lambda: 0)
    shared = world.memory.share(ARRAY if world.root else None)
    assert np.array_equal(shared, ARRAY)
    assert not world.memory.windows
    assert ("/dev/shm" in caplog.text) == (world.node.rank == 0)
    shared.flags.writeable = True
    shared[0, 0] = 100 + world.rank
    world.comm.Barrier()
    assert shared[0, 0] == 100 + world.rank


def test_what_rank_0_finds_wrong_is_wrong_on_every_rank(world: World) -> None:
    def work() -> None:
        raise UsageError("no such file")

    with pytest.raises(UsageError, match="no such file") as raised:
        world.on_root(work)
    assert raised.value.everywhere
    assert world.on_root(lambda: 7) == 7


def test_what_one_rank_finds_wrong_is_wrong_on_every_rank(world: World) -> None:
    def work() -> int:
        if world.rank == world.size - 1:
            raise MpinnError("no compiler on this board")
        return world.rank

    with pytest.raises(MpinnError, match="no compiler") as raised:
        world.on_all(work)
    assert raised.value.everywhere
    assert world.on_all(lambda: world.rank) == world.rank


def test_the_librarys_word_on_itself_is_one_clean_line() -> None:
    assert mpi_library.library().isprintable() and mpi_library.version() in mpi_library.library()


def test_as_many_ranks_learn_as_there_are_cores(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others rest until all meet again."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2})
    learners = world.learners()
    assert (learners is None) == (world.rank >= 3)
    if learners:
        assert (learners.rank, learners.size, learners.resting) == (
            world.rank,
            min(3, world.size),
            max(0, world.size - 3),
        )
        assert learners.started == world.size and learners.root == world.root
    start = time.process_time()
    if learners:
        time.sleep(0.5)
        learners.comm.Barrier()
        world.wake(learners)
    else:
        world.rest()
        assert time.process_time() - start < 0.1
