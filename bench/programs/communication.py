"""Bcast, Scatterv and Allreduce at the sizes that training uses and around them, in float32 and float64.

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
from mpinn.parallel.schedule import Schedule
from mpinn.parallel.stop_requests import SLOTS
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
    for size in sorted({*AROUND, parameters, parameters + SLOTS}):
        for kind in (np.float32, np.float64):
            name = np.dtype(kind).name
            vector = (np.arange(size) % 1024 + world.rank).astype(kind)
            total = np.empty_like(vector)
            at = "" if size in (parameters, parameters + SLOTS) else f"_{size}"
            if size != parameters:  # as in training, the requests ride behind the weights
                metrics[f"allreduce_{name}{at}"] = timed(
                    world, partial(world.comm.Allreduce, vector, total), asked.calls
                )
                right &= bool((total == world.size * (np.arange(size) % 1024 + (world.size - 1) / 2)).all())
            if size != parameters + SLOTS:
                metrics[f"bcast_{name}{at}"] = timed(world, partial(world.comm.Bcast, vector), asked.calls)
                right &= bool((vector == np.arange(size) % 1024).all())
    rounds = Schedule(EXEMPLARS, world.size, BATCH).rounds
    mine = np.empty(rounds * BATCH, np.int32)
    send = np.repeat(np.arange(world.size, dtype=np.int32), len(mine)) if world.root else None
    metrics["scatterv_epoch_int32"] = timed(world, scatterv(world, send, mine), asked.calls)
    right &= bool((mine == world.rank).all())
    everywhere = bool(world.comm.allreduce(right, MPI.LAND))
    metrics = {f"{name}_microseconds": 1e6 * seconds for name, seconds in metrics.items()}
    units = dict.fromkeys(metrics, "us")
    exact, plain = (metrics[f"allreduce_{name}_microseconds"] for name in ("float64", "float32"))
    metrics["allreduce_float64_by_float32"] = exact / plain
    units["allreduce_float64_by_float32"] = "1"
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
