"""`python -m mpinn.verify`: does this machine learn the weights that every machine learns?"""

import argparse
import os
import sys

from mpinn.kernels.kernel import NUMERICS
from mpinn.parallel.launched import launched
from mpinn.system.command_line import Parser
from mpinn.system.errors import MpinnError
from mpinn.train import World, fail, start_mpi
from mpinn.training import golden
from mpinn.training.golden import RUNS

DESCRIPTION = (
    "Train short runs and compare their weights, bit for bit, with those that docs/numerics.md promises on every "
    "processor, with any compiler, MPI and number of ranks: also under mpirun. Exit status: 0 all are "
    "equal, 1 some are not."
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m mpinn.verify", description=DESCRIPTION)
    parser.add_argument("names", nargs="*", metavar="RUN", help="one of " + ", ".join(map(repr, RUNS)) + " (all)")
    asked = parser.parse_args(arguments)
    for name in asked.names:
        if name not in RUNS:
            parser.error(f"no run {name!r}; there are {', '.join(map(repr, RUNS))}")
    return asked


def verify(world: World, name: str) -> bool:
    """Train a golden run on all ranks, and say on rank 0 whether its weights and accuracies are the golden ones."""
    from mpinn.training import setup
    from mpinn.training.stopwatch import Stopwatch

    run = setup.prepare(world, {**golden.RUNS[name], "kernel": "native", "quiet": True}, Stopwatch())
    right = golden.find(run.settings.determines_weights, run.facts.data.fingerprint)
    if run.train():
        raise MpinnError("stopped").on_every_rank()
    rows = run.state.epochs
    mine = [golden.Epoch(row["weights_sha256"], row["train_accuracy"], row["test_accuracy"]) for row in rows]
    equal = mine == right[: len(mine)]
    if world.root:
        about = f"{name:16} {len(mine)} epochs  {mine[-1].weights_sha256[:16]}"
        print(f"{'equal' if equal else 'OTHER'}  {about}  {mine[-1].test_accuracy:.2f} %", flush=True)
    return equal


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status. Of all ranks, rank 0 alone prints."""
    world, (_, _, rank) = None, launched()
    try:
        asked = parse(arguments)
        world = start_mpi()
        equal = [verify(world, name) for name in asked.names or RUNS]
        if world.root:
            print(f"{sum(equal)} of {len(equal)} are what every machine learns (numerics {NUMERICS})", flush=True)
        world.stop()
        return 0 if all(equal) else 1
    except Exception as error:
        return fail(error, world, rank, debug="MPINN_DEBUG" in os.environ)


if __name__ == "__main__":
    sys.exit(main())
