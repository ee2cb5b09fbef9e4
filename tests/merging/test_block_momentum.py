"""The law of block momentum: what it promises for every number of workers and every worker batch."""

from hypothesis import given
from hypothesis import strategies as st

WORKERS = st.integers(1, 4096)
BATCHES = st.integers(1, 60000)


@given(WORKERS, BATCHES)
def test_momentum_remembers_no_more_than_it_may(workers: int, worker_batch: int) -> None:
    scale = law.learning_rate_scale(workers, worker_batch)
    momentum = law.block_momentum(workers, worker_batch, scale)
    assert 0 <= momentum < 1 and 1 <= scale <= law.most_scale(workers)
    remembered = workers * worker_batch / (1 - momentum)
    assert momentum == 0 or remembered <= 1.0001 * law.MEMORY


@given(WORKERS)
def test_within_the_law_the_master_moves_as_far_as_one_worker_would(workers: int) -> None:
    for worker_batch in {1, law.most_worker_batch(workers)}:
        if workers**2 * worker_batch <= law.most_scale(workers) * law.MEMORY:
            scale = law.learning_rate_scale(workers, worker_batch)
            momentum = law.block_momentum(workers, worker_batch, scale)
            assert abs(scale / workers / (1 - momentum) - 1) < 1e-9


@given(WORKERS, BATCHES, st.floats(0, 1, exclude_max=True))
def test_every_divergence_is_answered_by_less_momentum_until_there_is_none(
    workers: int, worker_batch: int, momentum: float
) -> None:
    for _ in range(60):
        lower = law.lower(momentum, workers, worker_batch)
        assert lower < momentum or lower == momentum == 0
        momentum = lower
    assert momentum == 0
