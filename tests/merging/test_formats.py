"""Terms of every format: exact sums, in any order and grouping, and the mean that they give."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mpinn.kernels import native
from mpinn.merging import formats, sums
from mpinn.merging.formats import FIRST_EXPONENT, FORMATS, LAST_EXPONENT, LIMIT, rounding_constant
from mpinn.merging.master import Master
from mpinn.merging.term import Term

WEIGHTS = st.floats(-8191, 8191, width=32)
MERGERS = [sums, native]
BATCH = 100


def master_of(weights: np.ndarray, exponent: int = 0) -> Master:
    master = Master.at_rest(weights.astype(np.float32), "mean", 0.0)
    master.exponent = exponent
    return master


def mean_of(
    form: formats.Format, merger: formats.Merger, master: Master, learned: np.ndarray, counts: list[int]
) -> None:
    """Move the master to the mean of what workers learned, (workers, parameters)."""
    exemplars, total = sum(counts), np.empty(learned.shape[1], form.dtype)
    for worker, (one, count) in enumerate(zip(learned, counts, strict=True)):
        if count:
            term = form.term(total, master.weights, master.exponent, count, exemplars)
            term.adds = worker > 0
            merger.write(term, one)
    share = form.share(master.exponent, exemplars)
    merger.move("mean", master.weights, master.moments, total, share, np.zeros(0))


@given(st.data())
def test_a_float64_sum_is_the_same_in_any_order_and_grouping(data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, 12))
    counts = data.draw(st.lists(st.integers(1, 60000), min_size=workers, max_size=workers))
    weights = np.array(data.draw(st.lists(WEIGHTS, min_size=workers, max_size=workers)), np.float32)
    terms = np.empty((workers, 1))
    for term, one, count in zip(terms, weights, counts, strict=True):
        sums.write(Term(term, factor=count, constant=rounding_constant(sum(counts))), one[None])
    found = []
    for _ in range(3):
        order = data.draw(st.permutations(range(workers)))
        cut = data.draw(st.integers(0, workers))
        left, right = np.zeros(1), np.zeros(1)
        for place, worker in enumerate(order):
            sums.add(left if place < cut else right, terms[worker : worker + 1], np.array([1]))
        found.append(float((left + right)[0]))
    assert len(set(found)) == 1
    exact = math.fsum(float(w) * n for w, n in zip(weights, counts, strict=True))
    # a term is off by a unit at most, 2^-q / sum(n) < 2^-38
    assert abs(found[0] - exact) / sum(counts) <= 2.0**-38 * workers


@pytest.mark.parametrize("exemplars", [1, 2, 3, 64, 65, 6400, 60_000, 2**16, 2**16 + 1])
def test_terms_are_rounded_as_finely_as_any_sum_of_them_stays_exact(exemplars: int) -> None:
    """A grid step more or less would be other weights, in every run."""
    unit = np.spacing(rounding_constant(exemplars))
    most = 2 ** (exemplars - 1).bit_length() * LIMIT  # of a sum, for all rounds of up to as many exemplars
    assert most / unit == 2.0**52
    term = np.empty(3)
    learned = np.array([unit * 5.25, unit * 5.75, -unit * 5.25], np.float32)
    sums.write(Term(term, constant=rounding_constant(exemplars)), learned)
    assert (term / unit).tolist() == [5, 6, -5]


@pytest.mark.parametrize("name", ["int16", "int32"])
@pytest.mark.parametrize("workers", [2, 3, 15, 16, 17, 128, 129, 250, 4096])
def test_as_many_steps_as_workers_fit_into_the_type_and_half_of_them_would_be_wasted(name: str, workers: int) -> None:
    form = FORMATS[name](workers, BATCH)
    assert isinstance(form, formats.Steps)
    room = min(np.iinfo(form.dtype).max, 2**22 * workers)
    assert workers * form.most <= room < 2 * workers * (form.most + 1)
    assert form.most == 2 ** (form.bits + 1) - 1


@pytest.mark.parametrize(("workers", "name"), [(1, "int16"), (128, "int16"), (129, "int32"), (5000, "int32")])
def test_many_workers_take_a_wider_format(workers: int, name: str) -> None:
    assert formats.usual(workers) == name


@pytest.mark.parametrize("merger", MERGERS)
@pytest.mark.parametrize("name", FORMATS)
def test_the_mean_weighs_workers_by_their_exemplars(merger: formats.Merger, name: str) -> None:
    master = master_of(np.array([0.5, -0.25]))
    learned = np.array([[1.5, -1.25], [0.0, 0.25], [9.0, 9.0]], np.float32)
    mean_of(formats.choose(name, 3, BATCH), merger, master, learned, [100, 50, 0])
    assert master.weights == pytest.approx([1.0, -0.75], abs=2.0**-12)  # (100 * 1.5 + 50 * 0) / 150, and so on


@pytest.mark.parametrize("merger", MERGERS)
@given(
    workers=st.integers(2, 300),
    name=st.sampled_from(["int16", "int32"]),
    exponent=st.integers(-20, 3),
    short=st.integers(0, BATCH),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_mean_of_steps_is_off_by_half_a_unit_at_most(
    merger: formats.Merger, workers: int, name: str, exponent: int, short: int, seed: int
) -> None:
    """The unit is what the docstring says: steps that are smaller than 2^e take `bits` bits and a sign."""
    assume(name == "int32" or workers <= 255)
    rng = np.random.default_rng(seed)
    start = rng.uniform(-1, 1, 50).astype(np.float32)
    learned = start + rng.uniform(-1, 1, (workers, 50)).astype(np.float32) * np.float32(2.0**exponent)
    counts = [BATCH] * (workers - 1) + [short]
    master, form = master_of(start, exponent), formats.choose(name, workers, BATCH)
    mean_of(form, merger, master, learned, counts)
    exact = (learned.astype(np.float64) * np.array(counts)[:, None]).sum(axis=0) / sum(counts)
    assert isinstance(form, formats.Steps)
    unit = 2.0 ** (exponent - form.bits)
    contributing = workers - (short == 0)
    half = 0.5 * unit * contributing * BATCH / sum(counts)
    assert np.abs(master.weights - exact).max() <= half * 1.001 + 2.0**-24 + 2.0 ** (exponent - 22)


@pytest.mark.parametrize("merger", MERGERS)
def test_one_worker_is_copied_bit_for_bit_but_for_the_sign_of_nought(merger: formats.Merger) -> None:
    learned = np.array([[0.1, -0.0, -3.0]], np.float32)
    for name in ("int16", "int32"):
        master = master_of(np.array([1e-3, 5.0, -7.0]))
        mean_of(formats.choose(name, 1, BATCH), merger, master, learned, [37])
        assert master.weights.tobytes() == (learned[0] + np.float32(0)).tobytes()


@pytest.mark.parametrize("merger", MERGERS)
def test_a_copy_has_no_negative_zero_where_it_stands_for_the_master_at_once(merger: formats.Merger) -> None:
    learned = np.array([0.1, -0.0, -3.0, np.nan], np.float32)
    term = Term(learned)
    merger.write(term, learned)
    assert term.found == (sums.largest(learned), 0) and term.found[0] > formats.LIMIT_BITS
    assert learned[:3].tobytes() == np.array([0.1, 0.0, -3.0], np.float32).tobytes()


@pytest.mark.parametrize("merger", MERGERS)
def test_steps_are_cut_beyond_twice_the_largest_of_the_round_before(merger: formats.Merger) -> None:
    form = formats.choose("int16", 16, BATCH)
    assert isinstance(form, formats.Steps)
    term = np.empty(6, np.int16)
    learned = np.array([0.24, 0.26, 0.51, 7.0, -7.0, np.inf], np.float32)
    merger.write(form.term(term, np.zeros(6, np.float32), -2, BATCH, 16 * BATCH), learned)
    assert form.most == 2047 and term.tolist() == [983, 1065, 2047, 2047, -2047, 2047]


@pytest.mark.parametrize("merger", MERGERS)
@pytest.mark.parametrize("name", ["int16", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 8192.0, -8192.0, 1e30])
def test_a_weight_that_is_no_number_or_too_large_is_noticed(merger: formats.Merger, name: str, value: float) -> None:
    learned = np.zeros(33, np.float32)
    form = formats.choose(name, 2, BATCH)
    term, start = np.empty(33, form.dtype), learned.copy()
    learned[5] = np.nextafter(np.float32(8192), np.float32(0))
    made = form.term(term, start, 0, BATCH, 2 * BATCH)
    merger.write(made, learned)
    assert not formats.diverged(made.found[0])
    learned[17] = value
    with np.errstate(invalid="ignore"):
        merger.write(made, learned)
    assert formats.diverged(made.found[0])


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
@given(size=st.integers(0, 300), first=st.integers(0, 40), offset=st.integers(0, 3))
def test_what_is_passed_on_is_all_there_and_nothing_else_is_touched(
    dtype: type, size: int, first: int, offset: int
) -> None:
    """Wherever it begins and ends: a processor passes on lines or parts of lines."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.full(400 * itemsize, 7, np.uint8)
    target = memory[offset * itemsize :][first * itemsize :][: size * itemsize].view(dtype)
    values = np.arange(1, size + 1).astype(dtype)
    native.pass_on(target, values)
    before, after = memory[: (offset + first) * itemsize], memory[(offset + first + size) * itemsize :]
    assert np.array_equal(target, values) and (before == 7).all() and (after == 7).all()
    sums.pass_on(target, 2 * values)
    assert np.array_equal(target, 2 * values)


@pytest.mark.parametrize("merger", MERGERS)
@given(st.floats(2.0**-40, 2.0**10, width=32))
def test_the_exponent_of_steps_is_that_of_the_largest(merger: formats.Merger, size: float) -> None:
    learned = np.array([0.0, -size, size / 3], np.float32)
    term = Term(np.empty(3, np.int16), np.zeros(3, np.float32), 1.0, 127)
    merger.write(term, learned)
    e = formats.exponent_of(term.found[1])
    assert 2.0 ** (e - 1) <= size < 2.0**e


def test_exponents_are_told_apart_within_bounds() -> None:
    nought, huge = (sums.largest(np.array([x], np.float32)) for x in (0.0, np.inf))
    assert (formats.exponent_of(nought), formats.exponent_of(huge)) == (FIRST_EXPONENT, LAST_EXPONENT)
    assert [formats.cut(e, -3) for e in (-4, -3, -2, -1)] == [False, False, False, True]
