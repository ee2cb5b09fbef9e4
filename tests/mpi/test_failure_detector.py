"""Heartbeats between the ranks of a ring."""

import time

import pytest

from mpinn.failures.failure_detector import FailureDetector
from mpinn.parallel.world import World


def wait_for(condition, seconds: float = 20) -> bool:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.mpi
def test_neighbours_meet_and_then_nobody_can_call(world: World, caplog: pytest.LogCaptureFixture) -> None:
    detector = FailureDetector(world, 0.4, 60.0, None)
    beside = {one.neighbour.rank for one in detector.links}
    assert beside == {(world.rank - 1) % world.size, (world.rank + 1) % world.size} - {world.rank}
    assert wait_for(lambda: detector.all_met and not (detector.port and detector.port.open))
    before = {link.neighbour.rank: link.last_heard for link in detector.links}
    assert wait_for(lambda: all(link.last_heard > before[link.neighbour.rank] for link in detector.links))
    first = list(detector.links)
    detector.join()  # as after a loss
    assert wait_for(lambda: detector.all_met)
    assert all(line.closed for link in first for line in link.lines)
    world.comm.Barrier()
    detector.timeout = float("inf")  # no alarm: the tests go on
    detector.stop()
    assert "killed" not in caplog.text
