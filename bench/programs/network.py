"""What merges cost between hosts: epochs of training beside the least that learning and the wire allow.

The wire's bound: a merge that sums up a vector of n bytes over H hosts must send at least 2 (H - 1) / H n bytes from
each (Patarasuk and Yuan 2009, bandwidth optimal all-reduce algorithms), at the rate at which the same hosts have just
sent two megabytes in a ring. The vector has no weights that nobody learns. An epoch takes at least as long as learning
and the wire, one after the other, or with --overlap as the longer of the two; where hosts share a machine's cores
(--cores) their ranks learn in turn. The bytes that were sent are counted at the hosts' network interfaces. Run it under
mpirun, with a hostfile.
"""

from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from bench.prediction.model import Cluster
from bench.programs import program, rounds
from bench.programs.program import NotHereError
from mpinn.config import Options
from mpinn.merging.formats import FORMATS
from mpinn.model.network import weights_sha256
from mpinn.parallel.mpi_library import MPI
from mpinn.parallel.round import Progress, Team
from mpinn.parallel.travelling import learned_weights
from mpinn.parallel.world import World
from mpinn.system import proc
from mpinn.system.command_line import run_command
from mpinn.training import golden, setup

LARGE = 2**21  # bytes that measure the link, sent at once
PART = 2**15  # of a message, which no MPI asks leave for: in a connection the leave waits behind what is being sent
TRIES = 5


def sent() -> dict[str, int]:
    """Return the bytes that each network interface of this host has sent, but for the loopback."""
    found = {}
    for line in proc.text(Path("/proc/self/net/dev")).splitlines()[2:]:
        name, _, numbers = line.partition(":")
        found[name.strip()] = int(numbers.split()[8])
    found.pop("lo", None)
    return found


def most_sent(before: dict[str, int], after: dict[str, int]) -> int:
    """Return the bytes sent in between by the interface that sent most."""
    return max((after[name] - before.get(name, 0) for name in after), default=0)


def link(world: World, leaders: MPI.Comm) -> float:
    """Return the bytes a second that every host sends to the next while it receives from the one before."""
    parts = [slice(first, first + PART) for first in range(0, LARGE, PART)]
    message, received = np.ones(LARGE, np.uint8), np.empty(LARGE, np.uint8)
    seconds = []
    for _ in range(TRIES):
        if world.node.rank == 0:
            to, source = (leaders.rank + 1) % leaders.size, (leaders.rank - 1) % leaders.size
            leaders.Barrier()
            start = perf_counter()
            requests = [leaders.Irecv(received[part], source) for part in parts]
            MPI.Request.Waitall(requests + [leaders.Isend(message[part], to) for part in parts])
            seconds.append(leaders.allreduce(perf_counter() - start, MPI.MAX))
    return float(world.comm.bcast(LARGE / median(seconds) if seconds else 0.0))


def main() -> int:
    parser = program.parser("network", __doc__)
    number = program.positive
    parser.add_argument("--epochs", type=number, default=3, metavar="N", help="epochs; the first is not measured")
    parser.add_argument("--workers", type=number, default=16, metavar="N", help="logical workers")
    parser.add_argument("--worker-batch", type=number, default=100, metavar="N", help="exemplars between two merges")
    parser.add_argument(
        "--merge", choices=("mean", "block-momentum"), default="block-momentum", help="what moves the master"
    )
    parser.add_argument("--merge-format", choices=tuple(FORMATS), default="int16", help="of workers' terms")
    parser.add_argument("--overlap", action="store_true", help="let a merge travel while the next round is learned")
    parser.add_argument("--cores", type=float, metavar="N", help="of each host, where hosts share a machine's")
    asked = parser.parse_args()
    world = World.start()
    if world.nodes == 1:
        world.stop()
        if world.root:  # one line for all ranks
            raise NotHereError("all ranks are on one host: give --hostfile with several")
        return NotHereError.status
    options = Options(
        workers=asked.workers,
        worker_batch=asked.worker_batch,
        merge=asked.merge,
        merge_format=asked.merge_format,
        overlap=asked.overlap,
    )
    data = setup.share_data(world, options)
    team = rounds.team_of(world, options, data)
    leaders = world.comm.Split(0 if world.node.rank == 0 else MPI.UNDEFINED, world.rank)
    rate = link(world, leaders)
    epochs: list[Progress] = []
    bytes_sent: list[float] = []
    for epoch in range(1, asked.epochs + 1):
        before = sent()
        world.comm.Barrier()
        epochs.append(team.train(epoch, 0, lambda event: None))
        world.comm.Barrier()
        mine = most_sent(before, sent()) if world.node.rank == 0 else 0
        bytes_sent.append(world.comm.allreduce(mine) / world.nodes / team.schedule.rounds)
    team.compare_replicas()
    if world.root:
        turns = Cluster(world.nodes, world.node.size, asked.cores or world.node.size).turns
        report(asked.result, team, epochs[1:] or epochs, bytes_sent[1:] or bytes_sent, rate, turns, asked.epochs)
    world.stop()
    return 0


def report(
    path: Path | None,
    team: Team,
    epochs: list[Progress],
    bytes_sent: list[float],
    rate: float,
    turns: float,
    last: int,
) -> None:
    """Write the figures of the epochs.

    bytes_sent: by a host in a merge; rate: of the link, bytes a second; turns: in which ranks learn that share a core.
    """
    settings = team.pace.settings
    learned = learned_weights(settings.network, team.data.lit_pixels)
    hosts, vector = team.world.nodes, np.count_nonzero(learned) * np.dtype(team.exchange.format.dtype).itemsize
    least_bytes = 2 * (hosts - 1) / hosts * vector
    epoch = median(one.seconds for one in epochs)
    learning = turns * median(float(one.phases[:, :2].sum(axis=1).max()) for one in epochs)
    wire = team.schedule.rounds * least_bytes / rate
    bound = max(learning, wire) if settings.overlap else learning + wire
    metrics = {
        "epoch_seconds": epoch,
        "learning_seconds": learning,
        "wire_seconds": wire,
        "bound_seconds": bound,
        "epoch_by_bound": epoch / bound,
        "merge_kilobytes": median(bytes_sent) / 1e3,
        "least_kilobytes": least_bytes / 1e3,
        "link_mbits_per_second": 8e-6 * rate,
        "hosts": hosts,
    }
    units = dict.fromkeys(metrics, "s") | {"epoch_by_bound": "1", "hosts": "1", "link_mbits_per_second": "Mbit/s"}
    units |= {"merge_kilobytes": "kB", "least_kilobytes": "kB"}
    known = golden.find(settings.determines_weights, team.data.fingerprint)[last - 1 : last]
    digest = weights_sha256(team.master.weights)
    detail = f"{digest[:12]} after {last} epochs, golden {known[0].weights_sha256[:12] if known else 'not known'}"
    program.write(
        path,
        metrics,
        units,
        sum(one.seconds for one in epochs),
        checks=[program.check("weights", not known or known[0].weights_sha256 == digest, detail)],
        environment={"kernel_id": team.kernel.id, "numerics": team.kernel.numerics, "ranks": team.world.size},
    )


if __name__ == "__main__":
    run_command(main)
