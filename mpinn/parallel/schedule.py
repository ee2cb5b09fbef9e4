"""Which exemplars, which worker, which rank: pure functions.

A round gives each of N workers the next worker batch of the epoch's order. Only `assign` and
`assign_by_speed`, which say on which rank a worker runs, depend on the number and speed of ranks; weights do not.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mpinn.model.network import raw_bits


class Counts(NamedTuple):
    """How many exemplars a round has."""

    workers: np.ndarray  # (workers,) int64, of each worker
    all: int


@dataclass(frozen=True)
class Schedule:
    """One epoch cut into rounds of `workers` worker batches of `worker_batch` exemplars."""

    exemplars: int
    workers: int
    worker_batch: int

    @cached_property
    def round_size(self) -> int:
        """Exemplars of a full round."""
        return self.workers * self.worker_batch

    @cached_property
    def rounds(self) -> int:
        """Rounds of an epoch; the last may be short."""
        return -(-self.exemplars // self.round_size)

    def counts(self, round_: int) -> Counts:
        """Return the exemplars of a round (from 0); the last workers of a short round have none."""
        left = self.exemplars - round_ * self.round_size
        return self.full if left >= self.round_size else self.of(left)

    @cached_property
    def full(self) -> Counts:
        """The exemplars of every round that is not short."""
        return self.of(self.round_size)

    def of(self, exemplars: int) -> Counts:
        """Return a round's exemplars, shared out from the first worker on."""
        left = exemplars - self.worker_batch * np.arange(self.workers, dtype=np.int64)
        return Counts(np.clip(left, 0, self.worker_batch), exemplars)

    def slices(self, order: np.ndarray, workers: range) -> np.ndarray:
        """Return the worker batches of some workers, (rounds, len(workers), worker_batch) int32, -1 where short."""
        padded = np.full(self.rounds * self.round_size, -1, np.int32)
        padded[: self.exemplars] = order
        by_worker = padded.reshape(self.rounds, self.workers, self.worker_batch)
        return np.ascontiguousarray(by_worker[:, workers.start : workers.stop])


def epoch_order(seed: int, epoch: int, exemplars: int) -> np.ndarray:
    """Return the order, (exemplars,) int32, in which epoch `epoch` (from 1) visits the training set."""
    bits = raw_bits(seed, epoch, exemplars)
    order = np.arange(exemplars)
    for shift in range(0, 64, 16):  # 16 bits at a time, the lowest first: NumPy sorts so few by radix
        digits = (bits >> np.uint64(shift)).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order.astype(np.int32)


def assign(workers: int, ranks: int) -> list[range]:
    """Return the workers of each rank: contiguous, and as evenly as possible. A rank may have none."""
    return [range(rank * workers // ranks, (rank + 1) * workers // ranks) for rank in range(ranks)]


def assign_by_speed(workers: int, speeds: np.ndarray) -> list[range]:
    """Return the workers of each rank, so that the rank that ends last ends as soon as possible.

    speeds (ranks,) workers a second. One after another, a worker goes to the rank that would then end first.
    """
    counts = np.zeros(len(speeds), int)
    for _ in range(workers):
        counts[np.argmin((counts + 1) / speeds)] += 1
    ends = np.cumsum(counts)
    return [range(end - count, end) for count, end in zip(counts.tolist(), ends.tolist(), strict=True)]
