"""Where workers go on from while a merge is under way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn.kernels import native
from mpinn.merging import overlap, sums
from mpinn.merging.formats import Merger
from mpinn.merging.master import Master


@pytest.mark.parametrize("merger", [sums, native])
def test_the_formula_by_hand(merger: Merger) -> None:
    """The master, half of what momentum will add, and the worker's own step."""
    master = Master(np.array([1.0, -2.0], np.float32), np.array([[0.5, 0.25]], np.float32), momentum=0.75)
    start, term = np.empty(2, np.float32), np.array([3, -4], np.int16)
    overlap.go_on(merger, start, master, term, 0.125)
    assert start.tolist() == [1.0 + 0.5 * 0.75 * 0.5 + 3 * 0.125, -2.0 + 0.5 * 0.75 * 0.25 - 4 * 0.125]
    plain = Master.at_rest(master.weights, "mean", 0.0)
    overlap.go_on(merger, start, plain, term, 0.125)
    assert start.tolist() == [1.375, -2.5]


@given(
    st.integers(1, 300),
    st.sampled_from([np.int16, np.int32]),
    st.sampled_from(["mean", "block-momentum"]),
    st.floats(0, 0.99),
    st.integers(-40, 4),
    st.integers(0, 2**32 - 1),
)
def test_native_and_numpy_give_the_same_bits(
    size: int, kind: type, rule: str, momentum: float, exponent: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    master = Master.at_rest(rng.uniform(-1, 1, size).astype(np.float32), rule, momentum)
    master.moments[:] = rng.uniform(-1e-2, 1e-2, master.moments.shape)
    term = rng.integers(-2000, 2000, size).astype(kind)
    found = []
    for merger in (sums, native):
        start = np.empty(size, np.float32)
        overlap.go_on(merger, start, master, term, 2.0**exponent)
        found.append(start.tobytes())
    assert found[0] == found[1]


def test_a_run_settles_every_so_many_rounds_and_at_the_end_of_an_epoch() -> None:
    settled = [done for done in range(1, 151) if overlap.settles(done, 150)]
    assert settled == [64, 128, 150]


def first_to_swing(ahead: float, momentum: float) -> float:
    """Return the least share of its error that a worker batch takes away with which the rounds do not settle down.

    One weight, all workers alike: error of the master, velocity, and where workers began, from round to round.
    """
    for share in np.arange(0.01, 1.5, 0.01):
        step, master, velocity = np.array([0, 0, -share]), np.array([1, 0, 0]), np.array([0, 1, 0])
        moved = momentum * velocity + step
        begun = master + ahead * momentum * velocity + step
        rounds = np.array([master + step + momentum * moved, moved, begun])
        if max(abs(np.linalg.eigvals(rounds))) > 1 + 1e-9:
            return float(share)
    return np.inf


def test_half_of_what_momentum_adds_is_borne_by_longer_steps_than_all_of_it() -> None:
    assert first_to_swing(1.0, 0.75) == pytest.approx(0.70, abs=0.02)
    assert first_to_swing(overlap.AHEAD, 0.75) == pytest.approx(1.02, abs=0.02)
    assert first_to_swing(overlap.AHEAD, 0.0) == np.inf
