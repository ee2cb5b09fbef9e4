"""`python -m mpinn.verify`: does this machine learn the weights that every machine learns?"""

import argparse
import sys
from collections.abc import Sequence

from mpinn.kernels.kernel import NUMERICS
from mpinn.parallel.launched import launched
from mpinn.parallel.stop_requests import STATUS
from mpinn.system.command_line import Parser
from mpinn.train import World, fail, printed_once, start_mpi
from mpinn.training import golden
from mpinn.training.golden import RUNS

DESCRIPTION = (
    "Train short runs and compare their weights, bit for bit, with those that docs/numerics.md promises on every "
    "processor, with any compiler, MPI and number of ranks: also under mpirun. Exit status: 0 all are equal, 1 some "
    "are not, 2 wrong usage, 130 and 143 stopped."
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m mpinn.verify", description=DESCRIPTION)
    parser.add_argument("names", nargs="*", metavar="RUN", help="one of " + ", ".join(map(repr, RUNS)) + " (all)")
    parser.add_argument("--debug", action="store_true", help="show where an error arose")
    asked = parser.parse_args(arguments)
    for name in asked.names:
        if name not in RUNS:
            parser.error(f"no run {name!r}; there are {', '.join(map(repr, RUNS))}")
    return asked


def verify(world: World, names: Sequence[str]) -> int:
    """Train golden runs on all ranks, and say on rank 0 which are equal; return the exit status."""
    from mpinn.training import setup
    from mpinn.training.stopwatch import Stopwatch

    equal = 0
    for name in names:
        with world.borrowed_memory():
            run = setup.prepare(world, {**RUNS[name], "kernel": "native", "quiet": True}, Stopwatch())
            right = golden.find(run.settings.determines_weights, run.facts.data.fingerprint)
            if stopped := run.train():
                return STATUS[stopped]
        rows = run.state.epochs
        mine = [golden.Epoch(row["weights_sha256"], row["train_accuracy"], row["test_accuracy"]) for row in rows]
        same = mine == right[: len(mine)]
        equal += same
        if world.root:
            word, last = "equal" if same else "OTHER", mine[-1]
            about = f"{name:16} {len(mine)} epochs  {last.weights_sha256[:16]}  {last.test_accuracy:.2f} %"
            print(f"{word}  {about}", flush=True)
    if world.root:
        print(f"{equal} of {len(names)} are what every machine learns (numerics {NUMERICS})", flush=True)
    return 0 if equal == len(names) else 1


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status. Of all ranks, rank 0 alone prints."""
    world, (_, _, rank) = None, launched()
    try:
        with printed_once(rank):
            asked = parse(arguments)
        world = start_mpi()
        status = verify(world, asked.names or list(RUNS))
    except KeyboardInterrupt:
        return STATUS["interrupt"]
    except SystemExit:  # --help
        return 0
    except Exception as error:
        return fail(error, world, rank, "--debug" in arguments)
    world.stop()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
