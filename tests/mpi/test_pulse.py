"""The pulse of the cores that ranks are on."""

import numpy as np
import pytest
from mpi4py import MPI

from bench.programs import rounds
from tests.mpi.nodes import Nodes


@pytest.mark.parametrize("node_size", [1, 2, 8])
@pytest.mark.parametrize("cores", [0.5, 1, 2, np.inf])
def test_the_slowest_core_in_use_counts(node_size: int, cores: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each host so many ranks beat as it has cores, one where hosts share them."""
    beaten = []

    def beat() -> float:
        beaten.append(True)
        return float(MPI.COMM_WORLD.size - MPI.COMM_WORLD.rank)

    monkeypatch.setattr(rounds, "pulse", beat)
    world = Nodes(MPI.COMM_WORLD, node_size)
    assert rounds.pulse_of(world, cores) == world.size  # of rank 0
    assert bool(beaten) == (world.node.rank < max(1, cores))
    monkeypatch.setattr(rounds, "pulse", lambda: float(world.rank))
    last = max(rank for rank in range(world.size) if rank % node_size < max(1, cores))
    assert rounds.pulse_of(world, cores) == last
