"""The rules that move the master: NumPy and compiled give the same bits, and slices those of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpinn import kernels
from mpinn.kernels import native
from mpinn.merging import formats, sums
from mpinn.merging.formats import FORMATS
from mpinn.merging.master import Master
from mpinn.merging.optimizers import OPTIMIZERS, Hyper
from mpinn.merging.rules import RULES
from mpinn.model.network import Network
from mpinn.system.errors import UsageError


@given(
    st.integers(1, 3000),
    st.lists(st.integers(0, 10**5), min_size=1, max_size=6).filter(any),
    st.sampled_from(sorted(RULES)),
    st.sampled_from([*FORMATS, "one worker's"]),
    st.floats(0, 0.99),
    st.integers(1, 2000),
    st.integers(0, 2**32 - 1),
)
def test_native_and_numpy_give_the_same_bits(
    size: int, counts: list[int], rule: str, name: str, momentum: float, t: int, seed: int
) -> None:
    """Of terms and of their sums, whole and in slices."""
    rng = np.random.default_rng(seed)
    if name == "one worker's":
        counts = [max(counts)]
    start = rng.uniform(-1, 1, size).astype(np.float32)
    learned = start + rng.uniform(-2, 2, (len(counts), size)).astype(np.float32) ** 5
    remembered = rng.uniform(-1e-3, 1e-3, (len(RULES[rule].moments), size)).astype(np.float32)
    exemplars, found = np.array(counts), []
    numbers = np.array([momentum])
    if rule in OPTIMIZERS:
        remembered = np.abs(remembered)
        own = OPTIMIZERS[rule].numbers(Hyper(momentum, 0.9, 0.999, 1e-8), 0.01, t)
        if OPTIMIZERS[rule].compares:
            own = (*own[:-1], float(seed % 5 > 2))
            remembered[0] = rng.uniform(-1, 1, size)
        numbers = np.array([float(name in ("float64", "one worker's")), 1e-4 * (seed % 2), 1e-3 * (seed % 3), *own])
    for merger in (sums, native):
        form = formats.choose(name if name in FORMATS else "int16", len(counts), max(counts))
        before = Master(start, remembered, momentum)
        terms = np.zeros((len(counts), size), form.dtype)
        added, noted = np.zeros(size, form.dtype), []
        for array, one, count in zip(terms, learned, counts, strict=True):
            about = (before.weights, before.exponent, count, sum(counts))
            term = form.term(array, *about)
            merger.write(term, one)
            noted.append(term.found)
            if count:
                term = form.term(added, *about)
                term.adds = True
                merger.write(term, one)
        share = form.share(before.exponent, sum(counts))
        total = np.zeros(size, form.dtype)
        merger.add(total, terms, exemplars)
        assert added.tobytes() == total.tobytes()
        whole, sliced = before.copy(), before.copy()
        merger.move(rule, whole.weights, whole.moments, total, share, numbers)
        for part in (slice(0, size // 3), slice(size // 3, size)):
            if part.start < part.stop:
                merger.move(rule, sliced.weights[part], sliced.moments[:, part], total[part], share, numbers)
        states = [[bytes(part) for part in one.bytes] for one in (whole, sliced)]
        assert states[0] == states[1]
        found.append((noted, terms.tobytes(), total.tobytes(), states[0]))
    assert found[0] == found[1]


def test_a_rule_that_native_does_not_know_is_declined_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "new", RULES["mean"])
    kernel = kernels.choose("auto", Network(), 0.8, 0, 0, rule="new")
    assert kernel.name == "reference" and "new" in kernel.note
    with pytest.raises(UsageError, match="the merge new"):
        kernels.choose("native", Network(), 0.8, 0, 0, rule="new")


def test_a_master_at_rest_remembers_nothing_and_becomes_another_in_place() -> None:
    weights = np.arange(3, dtype=np.float32)
    master = Master.at_rest(weights, "block-momentum", 0.5)
    assert master.moments.shape == (1, 3) and not master.moments.any()
    shared, other = master.moments, Master(weights + 1, np.ones((1, 3), np.float32), 0.25, -3, 77)
    master.become(other)
    assert master.weights is weights and master.moments is shared
    assert (
        weights.tolist() == [1, 2, 3]
        and shared.tolist() == [[1, 1, 1]]
        and (master.momentum, master.exponent, master.loss) == (0.25, -3, 77)
    )
    assert weights.dtype == shared.dtype == np.float32
    copy = master.copy()
    assert [bytes(part) for part in copy.bytes] == [bytes(part) for part in master.bytes] and copy.momentum == 0.25
    copy.loss = 0
    assert [bytes(part) for part in copy.bytes] != [bytes(part) for part in master.bytes]
    copy.loss, copy.exponent = 77, 0
    assert [bytes(part) for part in copy.bytes] != [bytes(part) for part in master.bytes]
    copy.weights[:], copy.moments[:] = 9, 9
    assert weights.tolist() == [1, 2, 3] and shared.tolist() == [[1, 1, 1]]
