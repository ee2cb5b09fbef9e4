"""`python -m tests.network.measure --out DIR`: the suite `network` on hosts of this machine, over links of any speed.

The hosts are those of tests/deployment/cluster.sh: namespaces that share this machine's cores, so that learning takes
longer than on as many machines, and the bound knows it. The links are as fast as said, so that a merge takes what it
would. Needs root.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deployment.cluster import GOVERNOR, HOME, PYTHON, SCRIPT, cluster, on, script

RATES = ("free", "1gbit", "100mbit")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results, a directory for each rate")
    parser.add_argument("--hosts", type=int, default=4, metavar="N", help="hosts (default: 4)")
    parser.add_argument("--rates", nargs="+", default=RATES, metavar="RATE", help="of links, as tc says it")
    parser.add_argument("--set", dest="changes", nargs="*", default=[], metavar="KEY=VALUE", help="of `bench run`")
    asked = parser.parse_args()
    names = [f"node{number}" for number in range(1, asked.hosts + 1)]
    with tempfile.TemporaryDirectory() as home, cluster(Path(home), names) as control:
        control.well("deploy.yml")
        for name in names:
            on(name, f"echo performance >{GOVERNOR}")
        places = {rate: asked.out / f"{asked.hosts}-hosts-{rate}" for rate in asked.rates}
        return max(measure(names, rate, asked.changes, out) for rate, out in places.items())


def measure(names: list[str], rate: str, changes: list[str], out: Path) -> int:
    """Run the suite at a rate, and fetch what it left; return its exit status."""
    for name in names:
        script("shape", name, rate)
    there = f"{HOME}/network/{rate}"
    command = [PYTHON, "-m", "bench", "run", "network", "--hostfile", f"{HOME}/hosts.txt", "--out", there]
    cores = min(1.0, len(os.sched_getaffinity(0)) / len(names))
    shared = [f"experiments.{name}.options.cores={cores}" for name in ("formats", "overlap", "all-ranks")]
    command += [word for change in [*shared, *changes] for word in ("--set", change)]
    as_user = ["su", "-", "mpinn", "-c", f"cd {HOME}/current; {shlex.join(command)}"]
    status = subprocess.run([SCRIPT, "in", names[0], *as_user], stdin=subprocess.DEVNULL).returncode
    fetched(names[0], there, out)
    return status


def fetched(host: str, there: str, out: Path, what: str = ".") -> None:
    """Copy what is in a directory of a host."""
    out.mkdir(parents=True, exist_ok=True)
    pack = [SCRIPT, "in", host, "tar", "-C", there, "-c", what]
    packed = subprocess.run(pack, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-C", out, "-x", "--no-same-owner"], input=packed, check=True)


if __name__ == "__main__":
    sys.exit(main())
