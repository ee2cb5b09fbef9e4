"""Every exemplar once an epoch, whatever the workers, the batch and the ranks."""

from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpinn.parallel import schedule
from mpinn.parallel.schedule import Schedule, assign, assign_by_speed, epoch_order

SCHEDULES = st.builds(Schedule, st.integers(1, 500), st.integers(1, 20), st.integers(1, 50))


@given(SCHEDULES, st.integers(1, 24))
def test_every_exemplar_goes_to_one_worker_of_one_rank(schedule: Schedule, ranks: int) -> None:
    order = epoch_order(0, 1, schedule.exemplars)
    seen = [schedule.slices(order, workers) for workers in assign(schedule.workers, ranks)]
    assert all(part.dtype == np.int32 for part in seen)
    flat = np.concatenate([part.ravel() for part in seen])
    assert sorted(flat[flat >= 0]) == list(range(schedule.exemplars))


@given(SCHEDULES, st.data())
def test_a_worker_has_the_slice_of_the_order_that_its_number_says(schedule: Schedule, data: st.DataObject) -> None:
    round_ = data.draw(st.integers(0, schedule.rounds - 1))
    worker = data.draw(st.integers(0, schedule.workers - 1))
    order = epoch_order(1, 2, schedule.exemplars)
    count = int(schedule.counts(round_).workers[worker])
    start = round_ * schedule.round_size + worker * schedule.worker_batch
    batch = schedule.slices(order, range(worker, worker + 1))[round_, 0]
    assert np.array_equal(batch[:count], order[start : start + schedule.worker_batch])
    assert (batch[count:] == -1).all()


@given(SCHEDULES)
def test_counts_add_up(schedule: Schedule) -> None:
    counts = [schedule.counts(round_) for round_ in range(schedule.rounds)]
    assert all(one.workers.sum() == one.all and one.workers.max() <= schedule.worker_batch for one in counts)
    assert sum(one.all for one in counts) == schedule.exemplars


@given(st.integers(1, 100), st.integers(1, 100))
def test_assignment_is_contiguous_and_even(workers: int, ranks: int) -> None:
    ranges = assign(workers, ranks)
    assert [w for part in ranges for w in part] == list(range(workers))
    sizes = [len(part) for part in ranges]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 60), st.lists(st.floats(0.01, 100), min_size=1, max_size=12))
def test_assignment_by_speed_covers_all_workers_and_no_move_ends_sooner(workers: int, speeds: list[float]) -> None:
    ranges = assign_by_speed(workers, np.array(speeds))
    assert [w for part in ranges for w in part] == list(range(workers))
    ends = [len(part) / speed for part, speed in zip(ranges, speeds, strict=True)]
    last = int(np.argmax(ends))
    others = [(len(part) + 1) / speed for i, (part, speed) in enumerate(zip(ranges, speeds, strict=True)) if i != last]
    assert all(end >= ends[last] * (1 - 1e-9) for end in others)


def test_orders_differ_by_epoch_and_seed_and_stay_what_they_were() -> None:
    order = epoch_order(0, 1, 60000)
    assert np.array_equal(np.sort(order), np.arange(60000))
    assert not np.array_equal(order, epoch_order(0, 2, 60000))
    assert not np.array_equal(order, epoch_order(1, 1, 60000))
    assert epoch_order(0, 1, 10).tolist() == ORDER


ORDER = [7, 4, 5, 1, 9, 8, 6, 2, 0, 3]


WORDS = st.sampled_from([0, 1, 2, 0x7FFF, 0x8000, 0xFFFF])


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), min_size=1, max_size=40))
def test_an_order_is_that_of_the_bits_and_where_they_are_equal_of_the_exemplars(words: list[tuple[int, ...]]) -> None:
    bits = np.array([sum(word << 16 * place for place, word in enumerate(one)) for one in 20 * words], np.uint64)
    with mock.patch.object(schedule, "raw_bits", lambda seed, epoch, count: bits):
        order = epoch_order(0, 1, len(bits))
    assert order.dtype == np.int32 and order.tolist() == sorted(range(len(bits)), key=bits.tolist().__getitem__)
