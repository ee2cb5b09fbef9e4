"""Faults of a cluster of three hosts: a cut cable, a pulled plug, a slow host; training and benchmarks. Needs root."""

import json
import random
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deployment.cluster import HOME, HOSTS, PYTHON, SCRIPT, cluster, on, script, until
from tests.faults.job import PATIENCE, SETTINGS, Reference, Trial, outcome, undisturbed, wait_for_training

FOLDER = f"{HOME}/trial"
HOSTFILE = ("--hostfile", f"{HOME}/hosts.txt")
LAUNCH = (PYTHON, "-m", "mpinn.launch", *HOSTFILE, "-n", "6", "--force", "--fault-tolerance")
RANK = f"^{PYTHON} -m mpinn.train"  # as `ps` shows it
BENCH = (PYTHON, "-m", "bench", "run", f"{FOLDER}/suite.yml", *HOSTFILE, "--out", f"{FOLDER}/results")
SUITE = """
title: Faults
description: While a cable is cut.
repeats: 2
minimum_seconds: 0
experiments:
  strong: {title: Over ranks, ranks: [3, 6], workers: 16, options: {epochs: 2, merge: block-momentum, worker_batch: 50}}
"""
MOST_RUNS = 4
SOON = 12  # seconds for a rank to end that hears of no other


def start(*words: str) -> subprocess.Popen[str]:
    """Start a command on the first host, as its user mpinn."""
    command = f"cd {HOME}/current; mkdir -p {FOLDER}; export PYTHONUNBUFFERED=1; exec {shlex.join(words)}"
    return subprocess.Popen(
        [SCRIPT, "in", HOSTS[0], "su", "-", "mpinn", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def read(name: str) -> str:
    """Return a file that the first host's trial left, or an empty string."""
    return on(HOSTS[0], f"cat {FOLDER}/{name} 2>/dev/null")


def clear() -> None:
    """Mend the cluster, end what is left of a trial on every host, and forget it."""
    for host in HOSTS:
        script("mend", host)
        on(host, f"pkill -KILL -u mpinn; rm -rf {FOLDER}")


class Job:
    """A training run over all hosts, which is started again where it must be."""

    def __init__(self, how: str = "restart", *options: str) -> None:
        clear()
        places = ("--checkpoint", f"{FOLDER}/snapshots", "--result", f"{FOLDER}/result.json")
        self.process = start(*LAUNCH, how, "--", *SETTINGS, *places, *options)

    def end(self) -> int:
        """Wait for the end and return the exit status; kill what is left."""
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            on(HOSTS[0], "pkill -KILL -u mpinn")
            self.process.communicate()
            return -1
        return self.process.returncode

    def said(self) -> dict[str, Any]:
        """Return the result file, or {}."""
        found: dict[str, Any] = json.loads(read("result.json") or "{}")
        return found


def came(job: Job) -> Trial:
    """Return what came of a job that something was done to, where it had not ended before; no rank may stay."""
    trial = outcome(job, 1)
    gone = until(lambda: not any(on(host, "pgrep -u mpinn -f mpinn.train") for host in HOSTS), SOON)
    return trial._replace(survived=trial.survived and gone, faults=len(job.said().get("failures", [])))


def link_cut(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: the network cable of a host is pulled, that of the first one too, where mpirun and rank 0 are."""
    job = Job()
    wait_for_training(job.process)
    time.sleep(rng.uniform(0, reference.seconds))
    script("cut", rng.choice(HOSTS))
    return came(job)


def host_killed(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: the plug of a host is pulled."""
    job = Job()
    wait_for_training(job.process)
    time.sleep(rng.uniform(0, reference.seconds))
    host = rng.choice(HOSTS[1:])
    script("stop", host)
    trial = came(job)
    script("start", host)
    return trial


def host_slow(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: a host becomes ten times slower, its ranks being stopped nine tenths of the time; none is lost."""
    job = Job()
    wait_for_training(job.process)
    time.sleep(rng.uniform(0, reference.seconds / 2))
    ranks = "-u mpinn -f mpinn.train"
    slow = f"while pkill -STOP {ranks}; do sleep 0.09; pkill -CONT {ranks}; sleep 0.01; done"
    brake = subprocess.Popen([SCRIPT, "in", rng.choice(HOSTS[1:]), "sh", "-c", slow])
    trial = outcome(job, 1)
    brake.wait()
    return trial._replace(survived=trial.survived and not job.said()["failures"])


def rank_of_a_host_stopped(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm: SIGSTOP to a rank of any host; a rank beside it kills it, and those of all hosts go on."""
    job = Job("ulfm", "--stall-warning", "1", "--stall-timeout", "2")
    wait_for_training(job.process)
    time.sleep(rng.uniform(0, reference.seconds))
    host = rng.choice(HOSTS)
    ranks = on(host, f"pgrep -u mpinn -f '{RANK}'").split()
    if ranks:
        on(host, f"kill -STOP {rng.choice(ranks)}")
    trial = came(job)
    return trial._replace(survived=trial.survived and all(one["cause"] == "lost" for one in job.said()["failures"]))


def bench_disturbed(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """A cable is pulled while a benchmark runs; the same command goes on: no record is lost, and none is wrong."""
    clear()
    on(HOSTS[0], f"su mpinn -c 'mkdir -p {FOLDER}; cat >{FOLDER}/suite.yml' <<'END'\n{SUITE}END\n")
    running = start(*BENCH)
    until(lambda: bool(read("results/records.jsonl")) or running.poll() is not None, PATIENCE)
    time.sleep(rng.uniform(0, 12))
    struck = running.poll() is None
    script("cut", rng.choice(HOSTS))
    running.communicate()
    kept = read("results/records.jsonl")
    for host in HOSTS:
        script("mend", host)
    runs = 0
    while running.returncode and runs < MOST_RUNS:
        running = start(*BENCH, *(("--again",) if runs else ()))
        running.communicate()
        runs += 1
    content = read("results/records.jsonl")
    latest = {(one["point"], one["repeat"]): one["verdict"] for one in map(json.loads, content.splitlines())}
    whole = len(latest) == 4 and "INVALID" not in latest.values() and content.startswith(kept)
    return Trial(whole, reference.hash if whole else "", int(struck), 0.0)


CLASSES = (link_cut, host_killed, host_slow, rank_of_a_host_stopped, bench_disturbed)


@contextmanager
def ready() -> Iterator[Reference]:
    """Have a cluster with mpinn on it, and the undisturbed run."""
    with tempfile.TemporaryDirectory() as home, cluster(Path(home)) as control:
        control.well("deploy.yml")
        yield undisturbed(Job())
