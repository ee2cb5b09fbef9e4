"""The bound of the suite `network`."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.programs import network, rounds
from mpinn.config import Options
from mpinn.parallel.round import Progress
from mpinn.parallel.stop_requests import Requests
from mpinn.parallel.world import World
from mpinn.training import setup


@pytest.mark.parametrize("turns", [1.0, 2.0])
def test_ranks_that_share_a_core_learn_in_turn(turns: float, world: World, tmp_path: Path) -> None:
    """Of the rank that learns longest; on one host nothing needs a wire."""
    options = Options(workers=16, worker_batch=100)
    team = rounds.team_of(world, options, setup.share_data(world, options))
    phases = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.1, 0.0]])
    epochs = [Progress(38, 1.2, phases, 0, Requests())]
    if world.root:
        network.report(tmp_path / "result.json", team, epochs, [2e3], 1e6, turns, 1)
        found = json.loads((tmp_path / "result.json").read_text())["metrics"]
        assert found["learning_seconds"] == found["bound_seconds"] == pytest.approx(0.4 * turns)
        assert found["epoch_by_bound"] == pytest.approx(3 / turns)
        assert found["merge_kilobytes"] == 2 and found["least_kilobytes"] == 0
