"""`python -m tests.faults.try_faults --out faults.json`: what docs/reliability.md promises, tried many times over.

Every trial trains on real MNIST under real mpirun, has something done to it at a random moment, and ends with the
weights of the undisturbed run, bit for bit. Random moments come from a seed; processes are killed from
outside. Those of `hosts` need root, and the packages of `make test-system`.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import hosts, processes
from tests.faults.job import RANKS, SETTINGS, Reference, Trial

Fault = Callable[[Path, random.Random, Reference], Trial]


def tried(fault: Fault, reference: Reference, most: int, seed: int) -> dict[str, Any]:
    """Try a class of faults so many times that come in time; return its row of the table."""
    rng = random.Random(f"{seed} {fault.__name__}")
    trials: list[Trial] = []
    late = 0
    while len(trials) < most and late < 3 * most:
        folder = Path(tempfile.mkdtemp(prefix="mpinn-faults-"))
        trial = fault(folder, rng, reference)
        good = trial.survived and trial.hash == reference.hash
        if trial.faults == 0 and good:
            late += 1  # it had ended before
        else:
            trials.append(trial)
        if good:
            shutil.rmtree(folder)
        else:
            print(f"  {trial} kept: {folder}", flush=True)
    if not trials:
        raise RuntimeError(f"{fault.__name__}: {late} faults in a row came too late")
    return {
        "fault": fault.__name__.replace("_", " "),
        "what": fault.__doc__,
        "trials": len(trials),
        "faults": sum(trial.faults for trial in trials),
        "survived": sum(trial.survived for trial in trials),
        "hash_equal": sum(trial.hash == reference.hash for trial in trials),
        "wrong_hash": sum(trial.survived and trial.hash != reference.hash for trial in trials),
        "seconds_lost_median": sorted(trial.seconds_lost for trial in trials)[len(trials) // 2],
        "seconds_lost_most": max(trial.seconds_lost for trial in trials),
    }


def main() -> int:
    names = [one.__name__ for place in (processes, hosts) for one in place.CLASSES]
    parser = argparse.ArgumentParser(prog="python -m tests.faults.try_faults", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("faults.json"), help="default: faults.json")
    parser.add_argument("--trials", type=int, default=20, help="of each class of faults that come in time (20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CLASS", help=", ".join(names))
    parser.add_argument("--overlap", action="store_true", help="let merges be under way when something happens")
    asked = parser.parse_args()
    if asked.overlap:
        SETTINGS.append("--overlap")
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)  # under nohup, too, jobs can be hung up
    table: list[dict[str, Any]] = []
    for place in (processes, hosts):
        wanted = [one for one in place.CLASSES if one.__name__ in asked.only]
        if not wanted:
            continue
        if place is hosts and os.geteuid():
            print("not root: the faults of a cluster are not tried", flush=True)
            return 1
        with place.ready() as reference:
            print(f"undisturbed: {reference.seconds:.1f} s, weights {reference.hash[:12]}", flush=True)
            for fault in wanted:
                row = tried(fault, reference, asked.trials, asked.seed)
                table.append(row)
                print(
                    f"{row['fault']:24} {row['trials']:3} trials {row['faults']:3} faults {row['survived']:3} survived "
                    f"{row['hash_equal']:3} hash equal, {row['seconds_lost_median']:.3f} s lost (median)",
                    flush=True,
                )
                about = {"ranks": RANKS, "settings": SETTINGS, "faults": table}
                asked.out.write_text(json.dumps(about, indent=1) + "\n")
    good = all(row["survived"] == row["hash_equal"] == row["trials"] >= asked.trials for row in table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
