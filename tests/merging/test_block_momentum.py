"""Block momentum: its formula, and what it promises for every number of workers and every worker batch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpinn.merging import block_momentum, sums

WORKERS = st.integers(1, 4096)
BATCHES = st.integers(1, 60000)


@given(WORKERS, BATCHES)
def test_momentum_remembers_no_more_than_it_may(workers: int, worker_batch: int) -> None:
    scale = block_momentum.learning_rate_scale(workers, worker_batch)
    momentum = block_momentum.momentum_for(workers, worker_batch, scale)
    assert 0 <= momentum < 1 and 1 <= scale <= block_momentum.most_scale(workers)
    remembered = workers * worker_batch / (1 - momentum)
    assert momentum == 0 or remembered <= 1.0001 * block_momentum.MEMORY


@given(WORKERS)
def test_within_the_law_the_master_moves_as_far_as_one_worker_would(workers: int) -> None:
    for worker_batch in {1, block_momentum.most_worker_batch(workers)}:
        if workers**2 * worker_batch <= block_momentum.most_scale(workers) * block_momentum.MEMORY:
            scale = block_momentum.learning_rate_scale(workers, worker_batch)
            momentum = block_momentum.momentum_for(workers, worker_batch, scale)
            assert abs(scale / workers / (1 - momentum) - 1) < 1e-9


@given(WORKERS, BATCHES, st.floats(0, 1, exclude_max=True))
def test_every_divergence_is_answered_by_less_momentum_until_there_is_none(
    workers: int, worker_batch: int, momentum: float
) -> None:
    for _ in range(60):
        lower = block_momentum.lowered(momentum, workers, worker_batch)
        assert lower < momentum or lower == momentum == 0
        momentum = lower
    assert momentum == 0


def test_the_law_by_hand() -> None:
    """4000 exemplars are aimed for, 6400 are the most, and the scale is at most a quarter of the workers, or 8."""
    assert block_momentum.learning_rate_scale(8, 100) == 1.6 and block_momentum.learning_rate_scale(16, 100) == 4
    assert block_momentum.learning_rate_scale(64, 100) == 8 and block_momentum.learning_rate_scale(2, 100) == 1
    assert block_momentum.momentum_for(8, 100, 1.6) == 0.8 and block_momentum.momentum_for(16, 200, 4) == 0.5
    assert block_momentum.most_worker_batch(16) == 100 and block_momentum.most_worker_batch(4096) == 1
    assert block_momentum.lowered(0.99, 16, 200) == 0.5 and block_momentum.lowered(0.7, 16, 100) == 2 * 0.7 - 1


def test_the_formula_by_hand() -> None:
    weights, moments = np.array([1.0], np.float32), np.array([[0.25]], np.float32)
    sums.move("block-momentum", weights, moments, np.array([2.0 * 10]), 1 / 10, 0.5)
    gain = 2.0 - 1.0
    assert moments[0, 0] == 0.5 * 0.25 + gain
    assert weights[0] == 1.0 + gain + 0.5 * moments[0, 0]


def test_momentum_dies_away_to_nought_not_to_denormal_numbers() -> None:
    weights, moments = np.array([0.5], np.float32), np.array([[1e-3]], np.float32)
    for _ in range(1000):
        sums.move("block-momentum", weights, moments, weights.astype(np.float64), 1.0, 0.9)
    assert moments[0, 0] == 0
