"""Lesson 6: what moves between ranks as buffers and slices, against pickled copies. The same rounds, in turn.

Buffers: Scatterv of the batches, Bcast of the master weights, Gather of the learned ones, and the mean on rank 0.
Pickled: the same by lower-case scatter, bcast and gather of Python objects. Beside them this program's own round, one
Allreduce of the exact mean. All three learn the same, one worker a rank. Run it under mpirun.
"""

from collections.abc import Iterable
from time import perf_counter

import numpy as np

from bench.programs import program
from mpinn import datasets, kernels
from mpinn.datasets import Dataset
from mpinn.kernels import Kernel
from mpinn.merging.formats import rounding_constant
from mpinn.merging.term import Term
from mpinn.model.network import Network
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.schedule import epoch_order
from mpinn.parallel.world import World
from mpinn.system.command_line import run_command

BATCH = 100
EPOCH = 60_000  # exemplars to which seconds are scaled


class Rank:
    """One rank: its worker learns a batch of every round."""

    def __init__(self, world: World, digits: Dataset, kernel: Kernel) -> None:
        self.world = world
        self.digits = digits
        self.kernel = kernel
        self.exemplars = world.size * BATCH
        self.constant = rounding_constant(self.exemplars)

    def learn(self, weights: np.ndarray, batch: np.ndarray) -> None:
        self.kernel.learner.learn(weights, self.digits.train_images, self.digits.train_labels, batch, weights)

    def add(self, total: np.ndarray, weights: np.ndarray) -> None:
        term = Term(np.empty(len(weights)), factor=BATCH, constant=self.constant)
        self.kernel.merger.write(term, weights)
        self.kernel.merger.add(total, term.array[None], np.array([BATCH], np.int64))

    def mean(self, learned: Iterable[np.ndarray], parameters: int) -> np.ndarray:
        """Return the mean of all ranks' weights, (parameters,) float32."""
        total = np.zeros(parameters)
        for weights in learned:
            self.add(total, weights)
        return (total / self.exemplars).astype(np.float32)

    def with_buffers(self, master: np.ndarray, positions: np.ndarray | None) -> np.ndarray:
        """Return the next master weights on rank 0, (parameters,) float32, which has the round's exemplars, int32."""
        mine = self.scatter(positions)
        weights = master.copy()
        self.world.comm.Bcast(weights)
        self.learn(weights, mine)
        learned = np.empty((self.world.size, len(weights)), np.float32) if self.world.root else None
        self.world.comm.Gather(weights, learned)
        return weights if learned is None else self.mean(learned, len(weights))

    def with_pickles(self, master: np.ndarray, positions: np.ndarray | None) -> np.ndarray:
        """Return the same as `with_buffers`, by way of pickled copies."""
        comm = self.world.comm
        parts = None if positions is None else [part.tolist() for part in np.split(positions, comm.size)]
        mine = comm.scatter(parts)
        layers = comm.bcast([layer.copy() for layer in Network().views(master)])
        weights = np.concatenate([layer.ravel() for layer in layers])
        self.learn(weights, np.array(mine, np.int32))
        learned = comm.gather([layer.copy() for layer in Network().views(weights)])
        if learned is None:
            return weights
        return self.mean((np.concatenate([layer.ravel() for layer in one]) for one in learned), len(weights))

    def with_allreduce(self, master: np.ndarray, positions: np.ndarray | None) -> np.ndarray:
        """Return the next master weights on every rank, as training does it: what is reduced are float64 terms."""
        mine = self.scatter(positions)
        weights = master.copy()
        self.learn(weights, mine)
        total = np.zeros(len(master))
        self.add(total, weights)
        self.world.comm.Allreduce(MPI.IN_PLACE, total)
        return (total / self.exemplars).astype(np.float32)

    def scatter(self, positions: np.ndarray | None) -> np.ndarray:
        """Return this rank's batch, (100,) int32."""
        mine = np.empty(BATCH, np.int32)
        self.world.comm.Scatterv(None if positions is None else [positions, [BATCH] * self.world.size], mine)
        return mine


def main() -> int:
    parser = program.parser("lessons.messages", __doc__)
    parser.add_argument(
        "--exemplars", type=program.positive, default=EPOCH, metavar="N", help="exemplars that all ranks learn"
    )
    asked = parser.parse_args()
    world = World.start()
    digits, network = datasets.load(), Network()
    kernel = kernels.choose("auto", network, 0.8, 1e-7, 1e-7)
    rank = Rank(world, digits, kernel)
    ways = {"buffers": rank.with_buffers, "pickled": rank.with_pickles, "allreduce": rank.with_allreduce}
    masters = {way: network.initial_weights(0) for way in ways}
    spent = dict.fromkeys(ways, 0.0)
    order = epoch_order(0, 1, len(digits.train_labels))
    rounds = max(1, min(asked.exemplars, len(order)) // rank.exemplars)
    for positions in np.split(order[: rounds * rank.exemplars], rounds):
        for way, step in ways.items():
            world.comm.Barrier()
            start = perf_counter()
            masters[way] = step(masters[way], positions if world.root else None)
            spent[way] += perf_counter() - start
    if world.root:
        same = all(np.array_equal(master, masters["buffers"]) for master in masters.values())
        metrics = {
            f"{way}_epoch_seconds": EPOCH / (rounds * rank.exemplars) * seconds for way, seconds in spent.items()
        }
        metrics["pickled_by_buffers"] = spent["pickled"] / spent["buffers"]
        units = {name: "1" if name == "pickled_by_buffers" else "s" for name in metrics}
        checks = [program.check("weights", same, "all ways learn the same, bit for bit")]
        environment = {"ranks": world.size, "kernel_id": kernel.id}
        program.write(asked.result, metrics, units, sum(spent.values()), checks=checks, environment=environment)
    world.stop()
    return 0


if __name__ == "__main__":
    run_command(main)
