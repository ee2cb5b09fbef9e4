"""What of a merge travels between ranks, and that the rest is known without."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn import kernels
from mpinn.datasets import Dataset
from mpinn.merging import formats
from mpinn.model.network import Network
from mpinn.parallel.travelling import Travelling, learned_weights, runs
from tests.digits import framed

DIGITS = framed()
DARK = ~DIGITS.lit_pixels


def test_weights_of_pixels_that_nothing_lights_are_not_learned() -> None:
    images, labels = np.array([[0, 0, 3], [0, 1, 0]], np.uint8), np.zeros(2, np.int32)
    data = Dataset("three pixels", (3,), 2, images, labels, images + 1, labels)  # test images do not count
    found = learned_weights(Network((3, 2, 2)), data.lit_pixels)
    assert found.tolist() == [False, False, *[True] * (2 * 2 + 2 + 3 * 2)]  # the bias unit's, and a layer more


def test_where_a_dark_pixel_is_not_nought_all_weights_are_learned() -> None:
    dark = np.zeros(3, bool)
    assert learned_weights(Network((3, 2, 2), ("sigmoid", "elu", "softmax")), dark).all()
    assert not learned_weights(Network((3, 2, 2), ("tanh", "elu", "softmax")), dark).all()


@given(st.lists(st.booleans(), max_size=40))
def test_runs_are_all_that_is_chosen_and_nothing_else(chosen: list[bool]) -> None:
    found = np.zeros(len(chosen), int)
    for run in runs(np.array(chosen, bool)):
        found[run] += 1
    assert found.tolist() == [int(one) for one in chosen]


@pytest.mark.parametrize("name", formats.FORMATS)
@given(seed=st.integers(0, 2**32 - 1), workers=st.integers(2, 9), ranks=st.integers(1, 4))
def test_ranks_come_to_the_sums_of_all_workers(name: str, seed: int, workers: int, ranks: int) -> None:
    """Sums on every rank, of which only a part is added up between them."""
    rng = np.random.default_rng(seed)
    learned, dtype = rng.random(30) < 0.7, formats.FORMATS[name].dtype
    terms = rng.integers(-50, 50, (ranks, workers, 32)).astype(dtype)
    terms[:, :, :30][:, :, ~learned] = terms[0, 0, :30][~learned]
    sums = [part.sum(axis=0, dtype=dtype) for part in terms]
    ways = [Travelling(learned, 2, dtype) for _ in sums]
    for way, mine in zip(ways, sums, strict=True):
        way.fill(mine, workers, workers * ranks)
    total = sum(way.pack(mine).copy() for way, mine in zip(ways, sums, strict=True))
    assert len(total) == learned.sum() + 2
    for way, mine in zip(ways, sums, strict=True):
        way.packed[:] = total
        way.unpack(mine)
        assert np.array_equal(mine, terms.sum(axis=(0, 1), dtype=dtype))


@pytest.mark.parametrize("kernel", ["native", "reference"])
@pytest.mark.parametrize("l1, l2", [(1e-7, 1e-7), (1e-3, 0.1), (0.0, 0.3)])
def test_every_worker_shrinks_dark_weights_alike(kernel: str, l1: float, l2: float) -> None:
    network = Network((144, 11, 5))
    learner = kernels.choose(kernel, network, 0.8, l1, l2).learner
    start, apart = network.initial_weights(1), learned_weights(network, DIGITS.lit_pixels)
    assert DARK.any() and np.count_nonzero(~apart) == 11 * np.count_nonzero(DARK)
    found = np.empty((3, network.parameters), np.float32)
    for worker in range(3):
        batch = np.arange(20 * worker, 20 * worker + 20, dtype=np.int32)
        learner.learn(start, DIGITS.train_images, DIGITS.train_labels, batch, found[worker])
    assert np.array_equal(found[0][~apart], found[1][~apart]) and np.array_equal(found[0][~apart], found[2][~apart])
    assert not np.array_equal(found[0][~apart], start[~apart])
