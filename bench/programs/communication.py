"""Bcast, Scatterv, Allreduce and Iallreduce at the sizes that training uses and around them.

Weights are float32; what a merge adds up is int16, int32 or float64 (--merge-format), with some notes behind.
In the way of the OSU micro-benchmarks: calls to warm up, a barrier, then the mean time of many calls; the slowest
rank's time counts. Run it under mpirun.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np

from bench.programs import program
from mpinn.model.network import Network
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.notes import NOTES
from mpinn.parallel.schedule import Schedule
from mpinn.parallel.world import World
from mpinn.system.command_line import run_command

WARM_UP = 20  # calls
AROUND = (64, 1024, 16384, 262144)  # numbers in a message, beside the program's own
EXEMPLARS, BATCH = 60_000, 100


def timed(world: World, call: Callable[[], object], calls: int) -> float:
    """Return the seconds of one call: the mean over many, of the slowest rank."""
    for _ in range(WARM_UP):
        call()
    world.comm.Barrier()
    start = perf_counter()
    for _ in range(calls):
        call()
    return float(world.comm.allreduce(perf_counter() - start, MPI.MAX)) / calls


def begin_and_wait(world: World, term: np.ndarray, total: np.ndarray) -> None:
    """Add up as --overlap does, with nothing in between."""
    world.comm.Iallreduce(term, total).Wait()


def scatterv(world: World, send: np.ndarray | None, mine: np.ndarray) -> Callable[[], None]:
    """Return a call that scatters equal parts of `send` from rank 0."""
    counts = [len(mine)] * world.size
    whole = [send, counts] if send is not None else None
    return lambda: world.comm.Scatterv(whole, mine)


def main() -> int:
    parser = program.parser("communication", __doc__)
    parser.add_argument(
        "--calls", type=program.positive, default=200, metavar="N", help="timed calls of each kind and size"
    )
    asked = parser.parse_args()
    world = World.start()
    parameters = Network().parameters
    began = perf_counter()
    metrics: dict[str, float] = {}
    right = True

    def measure(name: str, size: int, own: int, call: Callable[[], object]) -> None:
        """own: the size of the program's own message, whose figure goes without a number."""
        metrics[name if size == own else f"{name}_{size}"] = timed(world, call, asked.calls)

    for size in (*AROUND, parameters):
        weights = np.arange(size, dtype=np.float32)
        if not world.root:
            weights[:] = 0
        measure("bcast_float32", size, parameters, partial(world.comm.Bcast, weights))
        right &= bool((weights == np.arange(size)).all())
    for size in (*AROUND, parameters + NOTES):
        for kind in (np.int16, np.int32, np.float64):
            name, term = np.dtype(kind).name, (np.arange(size) % 16 + world.rank).astype(kind)
            total, beside = np.zeros_like(term), np.zeros_like(term)
            measure(f"allreduce_{name}", size, parameters + NOTES, partial(world.comm.Allreduce, term, total))
            measure(f"iallreduce_{name}", size, parameters + NOTES, partial(begin_and_wait, world, term, beside))
            expected = world.size * (np.arange(size) % 16) + world.size * (world.size - 1) // 2
            right &= bool((total == expected).all() and (beside == expected).all())
    rounds = Schedule(EXEMPLARS, world.size, BATCH).rounds
    mine = np.empty(rounds * BATCH, np.int32)
    send = np.repeat(np.arange(world.size, dtype=np.int32), len(mine)) if world.root else None
    metrics["scatterv_epoch_int32"] = timed(world, scatterv(world, send, mine), asked.calls)
    right &= bool((mine == world.rank).all())
    everywhere = bool(world.comm.allreduce(right, MPI.LAND))
    metrics = {f"{name}_microseconds": 1e6 * seconds for name, seconds in metrics.items()}
    units = dict.fromkeys(metrics, "us")
    usual = metrics["allreduce_int16_microseconds"]
    ratios = {
        "allreduce_float64_by_int16": metrics["allreduce_float64_microseconds"] / usual,
        "iallreduce_int16_by_allreduce": metrics["iallreduce_int16_microseconds"] / usual,
    }
    metrics |= ratios
    units |= dict.fromkeys(ratios, "1")
    if world.root:
        program.write(
            asked.result,
            metrics,
            units,
            perf_counter() - began,
            checks=[program.check("what was received", everywhere, "every rank has what was sent, and the right sums")],
            environment={"ranks": world.size},
        )
    world.stop()
    return 0


if __name__ == "__main__":
    run_command(main)
