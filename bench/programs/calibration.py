"""What a round of training takes on these ranks: time an exemplar, a worker and a round, and how rounds vary.

Rounds of real training are timed, with few and many workers a rank and with small and large worker batches, in turn;
the three times are fitted to them: T = w B exemplar + w worker + round, where each rank has w workers that learn B
exemplars each. The cores' pulse is taken between any two of these epochs; what was slower by it counts as less.
Messages between two ranks of a node are timed by size; and where ranks are on several hosts, one on each, the network
between them: messages, bandwidth of all links at once, and sums by size. Run it under mpirun; `python -m bench
calibrate` does so, and keeps what comes out.
"""

from functools import partial
from time import perf_counter

import numpy as np

from bench.prediction.machine import SIZES
from bench.programs import program, rounds
from bench.programs.communication import timed
from bench.programs.network import link
from mpinn.config import Options
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.reduction import add_up
from mpinn.parallel.world import World
from mpinn.system.command_line import run_command
from mpinn.training import setup

GRID = ((1, 10), (1, 100), (1, 1000), (4, 10), (4, 100), (16, 10), (16, 100))  # workers a rank, worker batch
USUAL = GRID.index((1, 100))  # of which the variation of rounds is told
MOST_ROUNDS = 60  # of an epoch here
QUANTILES = 101
MESSAGES = (2**6, 2**12, 2**15, 2**17, 2**19)  # bytes that are added up between hosts
PINGS = 200  # of short messages,
LEAST_PINGS = 16  # and of long ones


def fitted(grid: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the times an exemplar, a worker and a round (3,), none below 0, and the worst error of the fit, a share.

    grid (n, 2): workers a rank and worker batch; seconds (n,) of a round. Relative errors are made least.
    """
    terms = np.stack([grid[:, 0] * grid[:, 1], grid[:, 0], np.ones(len(grid))], axis=1) / seconds[:, None]
    found = np.zeros(3)
    kept = np.ones(3, bool)
    while True:
        found[:] = 0
        found[kept] = np.linalg.lstsq(terms[:, kept], np.ones(len(grid)), rcond=None)[0]
        if (found >= 0).all():
            return found, float(np.abs(terms @ found - 1).max())
        kept &= found > 0


def variation(seconds: np.ndarray) -> list[float]:
    """Return quantiles of rounds' times, (epochs, rounds), as shares of their mean."""
    return np.quantile(seconds / seconds.mean(), np.linspace(0, 1, QUANTILES)).tolist()


def allreduce_line(world: World, calls: int) -> tuple[float, float]:
    """Return the seconds in which all ranks add up, as in a merge: of the shortest sums, and a byte more."""
    spent = []
    for size in MESSAGES:
        zeros = np.zeros(size // 2, np.int16)
        spent.append(timed(world, partial(add_up, world.comm, zeros, world.nodes), calls))
    terms = np.stack([np.ones(len(MESSAGES)), MESSAGES], axis=1) / np.array(spent)[:, None]
    first, more = np.linalg.lstsq(terms, np.ones(len(MESSAGES)), rcond=None)[0].tolist()
    return max(first, 0.0), max(more, 0.0)


def messages(world: World, other: int) -> list[float]:
    """Return the microseconds of messages of every size from rank 0 to another rank."""
    return [1e6 * message_seconds(world, other, size) for size in SIZES]


def message_seconds(world: World, other: int, size: int) -> float:
    """Return the seconds of a message of so many bytes from rank 0 to another rank: the median half round trip."""
    message, trips = np.zeros(size, np.uint8), []
    for _ in range(max(LEAST_PINGS, min(PINGS, 2**21 // size))):
        start = perf_counter()
        if world.rank == 0:
            world.comm.Send(message, other)
            world.comm.Recv(message, other)
        elif world.rank == other:
            world.comm.Recv(message, 0)
            world.comm.Send(message, 0)
        trips.append(perf_counter() - start)
    return float(world.comm.bcast(np.median(trips) / 2))


def main() -> int:
    parser = program.parser("calibration", __doc__)
    parser.add_argument("--epochs", type=program.positive, default=7, metavar="N", help="turns of every kind of round")
    parser.add_argument(
        "--layers", type=program.positive, nargs="+", default=[784, 100, 10], metavar="UNITS", help="of the network"
    )
    parser.add_argument("--overlap", action="store_true", help="with merges that are under way while ranks learn")
    parser.add_argument("--cores", type=float, default=np.inf, metavar="N", help="of each host, that these ranks share")
    parser.add_argument("--calls", type=program.positive, default=100, metavar="N", help="timed calls of Allreduce")
    asked = parser.parse_args()
    world = World.start()
    began = perf_counter()
    data = setup.share_data(world, Options())
    # One worker's merge is a copy, with nothing to be under way.
    grid = [(max(2, workers), batch) for workers, batch in GRID] if asked.overlap else GRID
    teams = []
    for workers, batch in grid:
        of_round = workers * batch * world.size
        options = Options(
            layers=tuple(asked.layers),
            workers=workers * world.size,
            worker_batch=batch,
            merge="block-momentum",
            overlap=asked.overlap,
        )
        some = rounds.first(data, of_round * max(2, min(MOST_ROUNDS, len(data.train_labels) // of_round)))
        teams.append(rounds.team_of(world, options, some))
    pulses = [rounds.pulse_of(world, asked.cores)]
    spent = rounds.in_turn(teams, asked.epochs, lambda: pulses.append(rounds.pulse_of(world, asked.cores)))
    pulse = float(np.median(pulses))
    slower = (np.array(pulses[:-1]) + pulses[1:]).reshape(asked.epochs, len(teams)) / (2 * pulse)
    seconds = np.array([np.median(one.mean(axis=1) / slow) for one, slow in zip(spent, slower.T, strict=True)])
    (exemplar, worker, round_), worst = fitted(np.array(grid, float), seconds)
    metrics = {
        "exemplar_microseconds": 1e6 * exemplar,
        "worker_microseconds": 1e6 * worker,
        "round_microseconds": 1e6 * round_,
        "worst_fit_percent": 100 * worst,
        "pulse_microseconds": pulse,
        "parameters": float(teams[0].pace.settings.network.parameters),
    }
    units = {"exemplar_microseconds": "us", "worker_microseconds": "us", "round_microseconds": "us"}
    units |= {"worst_fit_percent": "%", "pulse_microseconds": "us", "parameters": "1"}
    series = {"variation": variation(spent[USUAL])}
    if world.nodes == 1 and world.size > 1:
        series["node_messages"] = messages(world, 1)
    if world.nodes > 1:
        other = next(rank for rank, member in enumerate(world.members) if member.host != world.home)
        series["host_messages"] = messages(world, other)
        leaders = world.comm.Split(0 if world.node.rank == 0 else MPI.UNDEFINED, world.rank)
        first, more = allreduce_line(world, asked.calls)
        metrics |= {
            "latency_microseconds": series["host_messages"][0],
            "link_mbits_per_second": 8e-6 * link(world, leaders),
            "allreduce_microseconds": 1e6 * first,
            "allreduce_nanoseconds_a_byte": 1e9 * more,
            "hosts": float(world.nodes),
        }
        units |= {"latency_microseconds": "us", "link_mbits_per_second": "Mbit/s", "hosts": "1"}
        units |= {"allreduce_microseconds": "us", "allreduce_nanoseconds_a_byte": "ns"}
    if world.root:
        kernel = teams[0].kernel
        program.write(
            asked.result,
            metrics,
            units,
            perf_counter() - began,
            series=series,
            environment={"kernel_id": kernel.id, "numerics": kernel.numerics, "ranks": world.size},
        )
    world.stop()
    return 0


if __name__ == "__main__":
    run_command(main)
