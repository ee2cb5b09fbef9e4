"""`python -m bench.waiting`: how should ranks wait? Seconds an epoch by wait policy and number of ranks, as Markdown.

Sixteen workers learn MNIST on 1, 2, 4, ... ranks of this machine. The points are run in random order, several times:
trust the ratios, not the times.
"""

import argparse
import dataclasses
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from mpinn.hosts.detect import detect
from mpinn.hosts.profile import dump

POLICIES = ("yield", "spin")
WORKERS = 16


def epoch_seconds(profile: Path, ranks: int, folder: Path) -> float:
    """Return the shortest epoch of a short run."""
    result = folder / "result.json"
    options = ["--workers", str(WORKERS), "--epochs", "2", "--evaluate-every", "2", "--quiet", "--result", str(result)]
    launch = [sys.executable, "-m", "mpinn.launch", "--host", str(profile), "-n", str(ranks), "--force"]
    subprocess.run([*launch, "--", *options], check=True)
    return min(epoch["train_seconds"] for epoch in json.loads(result.read_text())["epochs"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8, 16], metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="default: 3")
    asked = parser.parse_args()
    machine = detect()
    times: dict[tuple[int, str], list[float]] = {(n, policy): [] for n in asked.ranks for policy in POLICIES}
    points = list(times) * asked.repeats
    random.Random(0).shuffle(points)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for policy in POLICIES:
            profile = dataclasses.replace(machine, mpi=dataclasses.replace(machine.mpi, wait_policy=policy))
            (folder / f"{policy}.yml").write_text(dump(profile))
        for done, (ranks, policy) in enumerate(points, start=1):
            times[ranks, policy].append(epoch_seconds(folder / f"{policy}.yml", ranks, folder))
            print(f"{done} of {len(points)}: {ranks} ranks, {policy}", file=sys.stderr)
    print("| ranks | " + " | ".join(f"{policy}, s" for policy in POLICIES) + " | spin / yield |")
    print("| --- | --- | --- | --- |")
    for ranks in asked.ranks:
        yielding, spinning = (statistics.median(times[ranks, policy]) for policy in POLICIES)
        print(f"| {ranks} | {yielding:.2f} | {spinning:.2f} | {spinning / yielding:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
