"""An epoch of training as it was predicted from a calibration, and as it is on these ranks.

`python -m bench calibrate` makes the calibration; rounds with other numbers of ranks, workers, hosts and over other
links are predicted from it (bench/prediction/model.py). Some machines, virtual ones above all, are faster at one second
than at another, which no model knows: so the kernel's pulse, on all cores in use at once, is taken between epochs, and
the error is told as it is and without that drift. Run it under mpirun.
"""

from pathlib import Path
from statistics import median

import numpy as np

from bench.prediction import calibrate, machine, model
from bench.prediction.model import Cluster, Job
from bench.prediction.simulation import predict
from bench.programs import program, rounds
from mpinn.config import Options
from mpinn.parallel import phases
from mpinn.parallel.world import World
from mpinn.system.command_line import run_command
from mpinn.training import setup


def main() -> int:
    parser = program.parser("prediction", __doc__)
    number = program.positive
    parser.add_argument("--machine", type=Path, default=calibrate.place(), metavar="FILE", help="calibration")
    parser.add_argument("--epochs", type=number, default=4, metavar="N", help="epochs; the first is not measured")
    parser.add_argument("--workers", type=number, default=16, metavar="N", help="logical workers")
    parser.add_argument("--worker-batch", type=number, default=100, metavar="N", help="exemplars between two merges")
    parser.add_argument("--layers", type=number, nargs="+", default=[784, 100, 10], metavar="UNITS", help="layers")
    parser.add_argument("--overlap", action="store_true", help="let a merge travel while the next round is learned")
    parser.add_argument("--cores", type=float, metavar="N", help="of each host, where hosts share a machine's")
    parser.add_argument("--link-mbits", type=float, metavar="RATE", help="of each host's link, if not as calibrated")
    asked = parser.parse_args()
    world = World.start()
    host = world.on_root(lambda: machine.load(asked.machine))
    job = Job(asked.workers, asked.worker_batch, tuple(asked.layers), asked.overlap)
    cluster = Cluster(world.nodes, world.size // world.nodes, asked.cores or host.cores, asked.link_mbits)
    options = Options(
        layers=job.layers,
        workers=job.workers,
        worker_batch=job.worker_batch,
        overlap=job.overlap,
        merge="block-momentum",
    )
    team = rounds.team_of(world, options, setup.share_data(world, options))
    epochs, pulses = [], [rounds.pulse_of(world, cluster.cores)]
    for epoch in range(1, asked.epochs + 1):
        epochs.append(team.train(epoch, 0, lambda event: None))
        pulses.append(rounds.pulse_of(world, cluster.cores))
    team.compare_replicas()
    if world.root:
        counted = epochs[1:] or epochs
        seconds = median(one.seconds for one in counted)
        found = predict(host, cluster, job)
        error = 100 * (found.epoch_seconds / seconds - 1)
        usual = model.usual_pulse(host, min(cluster.ranks, cluster.cores))
        drifts = (np.array(pulses[:-1]) + pulses[1:])[-len(counted) :] / (2 * usual) if usual else np.ones(len(counted))
        now = [
            predict(machine.slowed(host, drift * host.speeds[0].exemplar, host.title), cluster, job) for drift in drifts
        ]
        steady = median(100 * (one.epoch_seconds / there.seconds - 1) for one, there in zip(now, counted, strict=True))
        efficiency = phases.efficiency([phases.part(one.seconds, one.phases, one.clipped) for one in counted])
        assert efficiency is not None
        metrics = {
            "measured_seconds": seconds,
            "predicted_seconds": found.epoch_seconds,
            "error_percent": error,
            "absolute_error_percent": abs(error),
            "drift_percent": 100 * (median(drifts) - 1),
            "steady_error_percent": steady,
            "absolute_steady_error_percent": abs(steady),
            "measured_efficiency": efficiency.parallel,
            "predicted_efficiency": found.efficiency.parallel,
            "hosts": float(world.nodes),
        }
        units = {"measured_seconds": "s", "predicted_seconds": "s", "error_percent": "%"}
        units |= dict.fromkeys(("drift_percent", "steady_error_percent", "absolute_steady_error_percent"), "%")
        units |= {"absolute_error_percent": "%", "measured_efficiency": "1", "predicted_efficiency": "1", "hosts": "1"}
        about = {"kernel_id": team.kernel.id, "numerics": team.kernel.numerics, "ranks": world.size}
        same = program.check("kernel", host.kernel_id == team.kernel.id, f"calibrated {host.kernel_id}")
        spent = sum(one.seconds for one in epochs)
        program.write(asked.result, metrics, units, spent, checks=[same], environment=about)
    world.stop()
    return 0


if __name__ == "__main__":
    run_command(main)
