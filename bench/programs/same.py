"""How often `bench compare` says that two runs differ, where both are of the same code: an A/A test.

Rounds of real training are timed again and again, with a few worker batches in turn. Each comparison takes as many
repeats for A as for B: one after another, as two runs of `bench run` are, or in turns. Where a machine's speed wanders,
the former differ more often.
"""

from collections.abc import Sequence
from math import sqrt
from time import perf_counter

import numpy as np

from bench.harness import statistics
from bench.harness.statistics import CHANCE
from bench.programs import program, rounds
from mpinn.config import Options
from mpinn.parallel.world import World
from mpinn.system.command_line import run_command
from mpinn.system.errors import UsageError
from mpinn.training import setup

BATCHES = (10, 30, 100)  # of a worker: the points of a run
WORKERS = 8
EXEMPLARS = 2_400  # of a measurement: three rounds of the largest


def differ(repeats: np.ndarray, a: Sequence[int], b: Sequence[int]) -> bool:
    """Return whether runs of these repeats, (n, points) of seconds, differ anywhere, as `bench compare` decides."""
    chances = [statistics.chance(point[a], point[b]) for point in repeats.T]
    return min(statistics.holm(chances)) < CHANCE


def share(spent: np.ndarray, of_a: Sequence[int], of_b: Sequence[int]) -> float:
    """Return of how many comparisons, percent, the two runs differ; spent (comparisons, repeats of both, points)."""
    return 100 * float(np.mean([differ(repeats, of_a, of_b) for repeats in spent]))


def main() -> int:
    parser = program.parser("same", __doc__)
    parser.add_argument(
        "--comparisons", type=program.positive, default=200, metavar="N", help="of two runs of the same code"
    )
    parser.add_argument("--repeats", type=program.positive, default=6, metavar="N", help="of each run")
    asked = parser.parse_args()
    least = statistics.repeats_to_differ(len(BATCHES), CHANCE)
    if asked.repeats < least:
        raise UsageError(f"--repeats {asked.repeats}: runs of fewer than {least} can never differ")
    world = World.start()
    began = perf_counter()
    data = rounds.first(setup.share_data(world, Options()), EXEMPLARS)
    options = [Options(workers=WORKERS, worker_batch=batch, merge="block-momentum") for batch in BATCHES]
    teams = [rounds.team_of(world, one, data) for one in options]
    every = 2 * asked.repeats * asked.comparisons
    spent = np.stack([one.sum(axis=1) for one in rounds.in_turn(teams, every)], axis=1)
    if world.root:
        spent = spent.reshape(asked.comparisons, 2 * asked.repeats, len(BATCHES))
        both = range(2 * asked.repeats)
        metrics = {
            "differ_in_turns_percent": share(spent, both[::2], both[1::2]),
            "differ_one_after_another_percent": share(spent, both[: asked.repeats], both[asked.repeats :]),
            "comparisons": float(asked.comparisons),
        }
        most = 100 * (CHANCE + 3 * sqrt(CHANCE * (1 - CHANCE) / asked.comparisons))
        found = metrics["differ_in_turns_percent"]
        detail = f"{found:.1f} % of {asked.comparisons} comparisons, at most {most:.1f}"
        program.write(
            asked.result,
            metrics,
            {"differ_in_turns_percent": "%", "differ_one_after_another_percent": "%", "comparisons": "1"},
            perf_counter() - began,
            checks=[program.check("runs of the same code, in turns, differ by chance only", found <= most, detail)],
            environment={"kernel_id": teams[0].kernel.id, "ranks": world.size},
        )
    world.stop()
    return 0


if __name__ == "__main__":
    run_command(main)
