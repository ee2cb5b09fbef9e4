"""`python -m tests.faults.soak`: 200 epochs on 8 ranks, a random rank killed every few seconds, down to 2.

Ends with status 0 if the weights are the undisturbed run's, and memory is flat: no rank of that run may grow by more
than `GROWTH`; of the other, not by more than that, `LOSS` for every lost rank, which makes new communicators and
gives workers to others, and `AGREEMENT` for every round, which Open MPI 5.0 keeps of each agreement after a loss.
"""

import argparse
import itertools
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.job import Job, wait_for_training
from tests.faults.processes import supervised

LEFT = 2
MIB = 2**20
GROWTH, LOSS, AGREEMENT = 2.5 * MIB, MIB, 256  # bytes


def private(pid: int) -> int:
    """Return the memory of a process that it shares with none, bytes; 0 where it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss_Anon: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def growth(job: Job, pauses: Iterator[float]) -> int:
    """Wait for the end, and kill a rank after every pause; return how much a rank's memory grew, at most, bytes."""
    wait_for_training(job.process)
    memory: dict[int, list[int]] = {}  # of a process
    due = time.monotonic() + next(pauses)
    while job.process.poll() is None:
        time.sleep(0.5)
        alive = job.ranks()
        for pid in alive.values():
            memory.setdefault(pid, []).append(private(pid))
        if time.monotonic() > due and len(alive) > LEFT:
            rank = random.choice(sorted(alive))
            os.kill(alive[rank], signal.SIGKILL)
            print(f"killed rank {rank}, {len(alive) - 1} left", flush=True)
            due = time.monotonic() + next(pauses)
    steady = [[bytes_ for bytes_ in used if bytes_][8:-4] for used in memory.values()]  # seconds 4 to 2 before the end
    return max(used[-1] - used[0] for used in steady if used)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS", help="mean time between two kills (10)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    random.seed(asked.seed)
    options = ("--epochs", str(asked.epochs), "--evaluate-every", "10")
    with tempfile.TemporaryDirectory(prefix="mpinn-soak-") as folder:
        whole = Job(Path(folder), *options)
        steady = growth(whole, itertools.repeat(float("inf")))
        assert whole.end() == 0, (Path(folder) / "errors.txt").read_text()
        right = whole.said()
        print(f"undisturbed: {right['total_seconds']:.0f} s, memory grew by {steady / MIB:.1f} MiB at most", flush=True)
        job = supervised(Path(folder), "ulfm", *options)
        grown = growth(job, (random.expovariate(1 / asked.every) for _ in itertools.count()))
        status, said = job.end(), job.said()
        if status:
            print((Path(folder) / "errors.txt").read_text())
    same = said.get("weights_sha256") == right["weights_sha256"]
    failures = said.get("failures", [])
    lost = [one["seconds_lost"] for one in failures if one["cause"] == "lost"]
    print(
        f"{len(lost)} ranks lost, {sum(lost):.3f} s with them; {len(failures) - len(lost)} restarts; "
        f"status {status}, {said.get('total_seconds', 0):.0f} s; memory grew by {grown / MIB:.1f} MiB at most; "
        + ("the same weights" if same else "OTHER WEIGHTS")
    )
    allowed = GROWTH + LOSS * len(failures) + AGREEMENT * asked.epochs * right["rounds_per_epoch"]
    return 0 if same and status == 0 and steady < GROWTH and grown < allowed else 1


if __name__ == "__main__":
    sys.exit(main())
