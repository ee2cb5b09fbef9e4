"""`python -m tests.network.predict --out DIR`: predictions for hosts of this machine, held against what they take.

Two hosts are calibrated over links as they are; then the suite `prediction-hosts` is run on two hosts and on all, over
links of every rate. The hosts share this machine's cores: each has a part of them, and the model is told so. Needs
root.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deployment.cluster import GOVERNOR, HOME, PYTHON, SCRIPT, cluster, on, script
from tests.network.measure import fetched

RATES = {"free": None, "1gbit": 1000, "100mbit": 100}  # of links, Mbit/s; the first are as they were calibrated
MACHINE = f"{HOME}/calibration.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results, a directory for each cluster")
    parser.add_argument("--hosts", type=int, nargs="+", default=[2, 4], metavar="N", help="hosts (default: 2 and 4)")
    parser.add_argument("--set", dest="changes", nargs="*", default=[], metavar="KEY=VALUE", help="of `bench run`")
    asked = parser.parse_args()
    names = [f"node{number}" for number in range(1, max(asked.hosts) + 1)]
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as home, cluster(Path(home), names) as control:
        control.well("deploy.yml")
        for name in names:
            on(name, f"echo performance >{GOVERNOR}")
        for count in sorted({2, *asked.hosts}):
            as_user(f"head -n {count} {HOME}/hosts.txt >{HOME}/hosts-{count}.txt")
        shape(names, "free")
        run = [PYTHON, "-m", "bench", "calibrate", "--hostfile", f"{HOME}/hosts-2.txt", "--out", MACHINE]
        status = as_user(f"cd {HOME}/current; {shlex.join(run)}")
        for count in asked.hosts:
            for rate, mbits in RATES.items():
                shape(names, rate)
                said = {"machine": MACHINE, "cores": min(1.0, cores / count)} | ({"link_mbits": mbits} if mbits else {})
                changes = [f"experiments.hosts.options.{key}={value}" for key, value in said.items()]
                there = f"{HOME}/prediction/{count}-{rate}"
                run = [PYTHON, "-m", "bench", "run", "prediction-hosts", "--hostfile", f"{HOME}/hosts-{count}.txt"]
                run += ["--out", there, *(word for one in [*changes, *asked.changes] for word in ("--set", one))]
                status = max(status, as_user(f"cd {HOME}/current; {shlex.join(run)}"))
                fetched(names[0], there, asked.out / f"{count}-hosts-{rate}")
        fetched(names[0], HOME, asked.out, "calibration.json")
        return status


def shape(names: list[str], rate: str) -> None:
    for name in names:
        script("shape", name, rate)


def as_user(command: str) -> int:
    """Run a shell command as the deployed user of the first host; return its exit status."""
    line = [SCRIPT, "in", "node1", "su", "-", "mpinn", "-c", command]
    return subprocess.run(line, stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
