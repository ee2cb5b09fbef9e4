"""Heartbeats between the ranks of a ring."""

import pytest

from mpinn.failures.failure_detector import FailureDetector
from mpinn.parallel.world import World
from tests.command.commands import wait_until


@pytest.mark.mpi
def test_neighbours_meet_and_then_nobody_can_call(world: World, caplog: pytest.LogCaptureFixture) -> None:
    detector = FailureDetector(world, 0.4, 60.0, None)
    beside = {one.neighbour.rank for one in detector.links}
    assert beside == {(world.rank - 1) % world.size, (world.rank + 1) % world.size} - {world.rank}
    assert wait_until(lambda: detector.all_met and not (detector.port and detector.port.open), 20)
    before = {link.neighbour.rank: link.last_heard for link in detector.links}
    assert wait_until(lambda: all(link.last_heard > before[link.neighbour.rank] for link in detector.links), 20)
    first = list(detector.links)
    detector.join()  # as after a loss
    assert wait_until(lambda: detector.all_met, 20)
    assert all(line.closed for link in first for line in link.lines)
    world.comm.Barrier()
    detector.timeout = float("inf")  # no alarm: the tests go on
    detector.stop()
    assert "killed" not in caplog.text
