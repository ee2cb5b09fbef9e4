"""Faults on one machine: ranks, launchers and snapshots."""

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.job import RANKS, Job, Reference, Trial, outcome, undisturbed, wait_for_training

ULFM = ("--fault-tolerance", "ulfm")


def strike(job: Job, rng: random.Random, seconds: float, ranks: list[int], number: int) -> int:
    """Send a signal to ranks at random moments of so many seconds; return how many were still there."""
    wait_for_training(job.process)
    moments = sorted(rng.uniform(0, seconds) for _ in ranks)
    began, struck = time.monotonic(), 0
    for moment, rank in zip(moments, ranks, strict=True):
        time.sleep(max(0, began + moment - time.monotonic()))
        pid = job.ranks().get(rank)
        if pid is not None and job.process.poll() is None:
            os.kill(pid, number)
            struck += 1
    return struck


def ulfm_launcher() -> tuple[str, ...]:
    return (*("mpirun", "--oversubscribe", "--with-ft", "ulfm", "-n", str(RANKS)), sys.executable, "-m", "mpinn.train")


def supervised(folder: Path, how: str, *options: str) -> Job:
    place = ("--checkpoint", str(folder / "snapshots"))
    launch = (sys.executable, "-m", "mpinn.launch", "--fault-tolerance", how, "-n", str(RANKS), "--force", "--")
    return Job(folder, *place, *options, launcher=launch)


def killed(folder: Path, rng: random.Random, reference: Reference, ranks: list[int]) -> Trial:
    job = Job(folder, *ULFM, launcher=ulfm_launcher())
    return outcome(job, strike(job, rng, 2 * reference.seconds, ranks, signal.SIGKILL))


def any_rank_killed(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm: SIGKILL to a random rank."""
    return killed(folder, rng, reference, [rng.randrange(1, RANKS)])


def rank_0_killed(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm: SIGKILL to rank 0."""
    return killed(folder, rng, reference, [0])


def many_ranks_killed(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm, with snapshots: SIGKILL to three to six of eight ranks, each at a moment of its own."""
    job = supervised(folder, "ulfm")
    ranks = rng.sample(range(RANKS), rng.randint(3, RANKS - 2))
    return outcome(job, strike(job, rng, 2 * reference.seconds, ranks, signal.SIGKILL))


def ranks_killed_at_once(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm: SIGKILL to two ranks at the same moment."""
    job = Job(folder, *ULFM, launcher=ulfm_launcher())
    wait_for_training(job.process)
    time.sleep(rng.uniform(0, 2 * reference.seconds))
    alive = job.ranks()
    victims = [alive[rank] for rank in rng.sample(range(RANKS), 2) if rank in alive]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    return outcome(job, len(victims))


def rank_stopped(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm: SIGSTOP to a random rank; it is taken for dead after --stall-timeout."""
    job = Job(folder, *ULFM, "--stall-warning", "1", "--stall-timeout", "2", launcher=ulfm_launcher())
    return outcome(job, strike(job, rng, reference.seconds, [rng.randrange(RANKS)], signal.SIGSTOP))


def restarted(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: SIGKILL to a random rank; the job ends and goes on from its last snapshot."""
    job = supervised(folder, "restart")
    return outcome(job, strike(job, rng, reference.seconds, [rng.randrange(RANKS)], signal.SIGKILL))


def killed_at_the_start(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: SIGKILL to a rank while MPI, the data or the kernel are being made ready."""
    job = supervised(folder, "restart")
    while not job.ranks() and job.process.poll() is None:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 1.5))
    alive = job.ranks()
    if alive:
        os.kill(alive[rng.choice(sorted(alive))], signal.SIGKILL)
    return outcome(job, len(alive) and 1)


def launcher_killed(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart, or ulfm with snapshots: SIGKILL to mpirun itself."""
    job = supervised(folder, rng.choice(("restart", "ulfm")))
    wait_for_training(job.process)
    time.sleep(rng.uniform(0, reference.seconds))
    children = Path(f"/proc/{job.process.pid}/task/{job.process.pid}/children").read_text().split()
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    return outcome(job, len(children))


def bit_flipped(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """A bit of one rank's master weights flips; the replicas are compared, and the run goes back to a snapshot."""
    fault = f"flip:rank={rng.randrange(RANKS)},round={rng.randint(77, 300)}"
    place = ("--checkpoint", str(folder / "snapshots"), "--exchange", "allreduce")
    return outcome(Job(folder, *place, "--check-replicas", "1", MPINN_FAULT=fault), 1)


def snapshot_damaged(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """A job is killed whole, and its newest snapshot cut short or changed; resumed on another number of ranks."""
    place = folder / "snapshots"
    job = Job(folder, "--checkpoint", str(place))
    wait_for_training(job.process)
    while len(list(place.glob("*.mpinn"))) < 2:
        if job.process.poll() is not None:
            return outcome(job, 1)
        time.sleep(0.02)
    time.sleep(rng.uniform(0, reference.seconds / 4))
    os.killpg(job.process.pid, signal.SIGKILL)
    job.end()
    newest = max(place.glob("*.mpinn"))
    content = bytearray(newest.read_bytes())
    if rng.random() < 0.5:
        del content[rng.randrange(len(content)) :]
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    newest.write_bytes(content)
    ranks = str(rng.randint(1, 4))
    again = ("mpirun", "--oversubscribe", "-n", ranks, sys.executable, "-m", "mpinn.train")
    return outcome(Job(folder, "--resume", str(place), launcher=again), 1)


CLASSES = (
    any_rank_killed,
    rank_0_killed,
    many_ranks_killed,
    ranks_killed_at_once,
    rank_stopped,
    restarted,
    killed_at_the_start,
    launcher_killed,
    bit_flipped,
    snapshot_damaged,
)


@contextmanager
def ready() -> Iterator[Reference]:
    """Have the undisturbed run."""
    with tempfile.TemporaryDirectory() as folder:
        reference = undisturbed(Job(Path(folder)))
    yield reference
