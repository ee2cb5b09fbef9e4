"""The law of block momentum: what it promises for every number of workers and every worker batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.merging import law
from mpinn.merging.law import OVERLAPPING, USUAL, Law

LAWS = st.sampled_from([USUAL, OVERLAPPING])
WORKERS = st.integers(1, 4096)
BATCHES = st.integers(1, 60000)


@given(LAWS, WORKERS, BATCHES)
def test_momentum_remembers_no_more_than_it_may(limits: Law, workers: int, worker_batch: int) -> None:
    scale = limits.learning_rate_scale(workers, worker_batch)
    momentum = limits.momentum(workers, worker_batch, scale)
    assert 0 <= momentum < 1 and 1 <= scale <= limits.most_scale(workers)
    remembered = workers * worker_batch / (1 - momentum)
    assert momentum == 0 or remembered <= 1.0001 * limits.memory


@given(LAWS, WORKERS)
def test_within_the_law_the_master_moves_as_far_as_one_worker_would(limits: Law, workers: int) -> None:
    for worker_batch in {1, limits.most_worker_batch(workers)}:
        if workers**2 * worker_batch <= limits.most_scale(workers) * limits.memory:
            scale = limits.learning_rate_scale(workers, worker_batch)
            momentum = limits.momentum(workers, worker_batch, scale)
            assert abs(scale / workers / (1 - momentum) - 1) < 1e-9


@given(LAWS, WORKERS, BATCHES, st.floats(0, 1, exclude_max=True))
def test_every_divergence_is_answered_by_less_momentum_until_there_is_none(
    limits: Law, workers: int, worker_batch: int, momentum: float
) -> None:
    for _ in range(60):
        lower = limits.lowered(momentum, workers, worker_batch)
        assert lower < momentum or lower == momentum == 0
        momentum = lower
    assert momentum == 0


def test_the_usual_law_by_hand() -> None:
    """4000 exemplars are aimed for, 6400 are the most, and the scale is at most a quarter of the workers, or 8."""
    usual = law.of(overlapping=False)
    assert usual.learning_rate_scale(8, 100) == 1.6 and usual.learning_rate_scale(16, 100) == 4
    assert usual.learning_rate_scale(64, 100) == 8 and usual.learning_rate_scale(2, 100) == 1
    assert usual.momentum(8, 100, 1.6) == 0.8 and usual.momentum(16, 200, 4) == 0.5
    assert usual.most_worker_batch(16) == 100 and usual.most_worker_batch(4096) == 1
    assert usual.lowered(0.99, 16, 200) == 0.5 and usual.lowered(0.7, 16, 100) == 2 * 0.7 - 1


def test_the_law_of_overlapping_by_hand() -> None:
    """3500 exemplars are aimed for, 4500 are the most, and the scale is at most a fifth of the workers, or 5."""
    found = law.of(overlapping=True)
    assert found.learning_rate_scale(10, 70) == 2 and found.learning_rate_scale(16, 100) == 3.2
    assert found.learning_rate_scale(64, 100) == 5 and found.learning_rate_scale(2, 100) == 1
    assert found.momentum(8, 100, 1.6) == 0.8 and found.momentum(15, 150, 3) == 0.5
    assert found.most_worker_batch(16) == 56 and found.most_worker_batch(64) == 5
    assert found.lowered(0.99, 15, 150) == pytest.approx(0.5) and found.lowered(0.7, 16, 50) == 2 * 0.7 - 1
