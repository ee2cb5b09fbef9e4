"""`python -m tests.faults.soak`: 200 epochs on 8 ranks, a random rank killed every few seconds, down to 2.

Ends with status 0 if the weights are the undisturbed run's and no rank's memory grew by more than `GROWTH`.
"""

import argparse
import os
import random
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.job import RANKS, Job, wait_for_training
from tests.faults.processes import ULFM, ulfm_launcher

LEFT = 2
GROWTH = 2.0  # MiB


def pss(pid: int) -> float | None:
    """Return the proportional set size of a process but for what it shares, MiB."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    found = re.search(r"^Pss_Anon: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS", help="mean time between two kills (10)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    options = ("--epochs", str(asked.epochs), "--evaluate-every", "10")
    with tempfile.TemporaryDirectory(prefix="mpinn-soak-") as folder:
        whole = Job(Path(folder), *options)
        assert whole.end() == 0, (Path(folder) / "errors.txt").read_text()
        expected = whole.said()["weights_sha256"]
        print(f"undisturbed: {whole.said()['total_seconds']:.0f} s, weights {expected[:12]}", flush=True)
        job = Job(Path(folder), *options, *ULFM, launcher=ulfm_launcher())
        wait_for_training(job.process)
        memory: dict[int, list[float]] = {}
        due = time.monotonic() + rng.expovariate(1 / asked.every)
        while job.process.poll() is None:
            time.sleep(0.5)
            alive = job.ranks()
            for rank, pid in alive.items():
                used = pss(pid)
                if used:
                    memory.setdefault(rank, []).append(used)
            if time.monotonic() > due and len(alive) > LEFT:
                rank = rng.choice(sorted(alive))
                os.kill(alive[rank], signal.SIGKILL)
                print(f"killed rank {rank}, {len(alive) - 1} left", flush=True)
                due = time.monotonic() + rng.expovariate(1 / asked.every)
        status, said = job.end(), job.said()
    grown = max(used[-2] - used[len(used) // 4] for used in memory.values() if len(used) > 8)
    same = said.get("weights_sha256") == expected
    failures = said.get("failures", [])
    print(
        f"{len(failures)} of {RANKS} ranks lost, {sum(one['seconds_lost'] for one in failures):.3f} s with them, "
        f"status {status}, {said.get('total_seconds', 0):.0f} s; memory grew by {grown:.1f} MiB at most; "
        + ("the same weights" if same else "OTHER WEIGHTS")
    )
    return 0 if same and status == 0 and grown < GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
