"""Faults on one machine: ranks, launchers and snapshots."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpinn.failures.lines import LOOPBACK
from tests.command.commands import ports
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


def killed_while_another_is_stopped(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm: SIGSTOP to a rank and, before it is taken for dead, SIGKILL to another; MPI waits for both meanwhile."""
    job = Job(folder, *ULFM, "--stall-warning", "1", "--stall-timeout", "3", launcher=ulfm_launcher())
    wait_for_training(job.process)
    time.sleep(rng.uniform(0, reference.seconds))
    alive = job.ranks()
    struck = 0
    for rank, number in zip(rng.sample(range(RANKS), 2), (signal.SIGSTOP, signal.SIGKILL), strict=True):
        if rank in alive and job.process.poll() is None:
            os.kill(alive[rank], number)
            struck += 1
        time.sleep(rng.uniform(0, 2.5))
    return outcome(job, struck)


def stopped_during_evaluation(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm: SIGSTOP to a rank as an epoch's rounds are done and its evaluation begins."""
    stall = ("--stall-warning", "1", "--stall-timeout", "2", "--log-level", "debug")
    job = Job(folder, *ULFM, *stall, launcher=ulfm_launcher())
    rank, epoch = rng.randrange(RANKS), rng.randint(1, 4)
    begins = f"RoundsEnded: epoch {epoch}, round "
    wait_for_training(job.process)
    while job.process.poll() is None and begins not in (folder / "errors.txt").read_text(errors="replace"):
        time.sleep(0.005)
    pid = job.ranks().get(rank)
    if pid is not None:
        os.kill(pid, signal.SIGSTOP)
    return outcome(job, int(pid is not None))


def two_jobs(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: another job is given the same places while a rank of the first is killed; it is refused."""
    job = supervised(folder, "restart")
    wait_for_training(job.process)
    places = ("--checkpoint", str(folder / "snapshots"), "--result", str(job.result))
    other = [sys.executable, "-m", "mpinn.train", "--seed", "7", "--workers", "2", *places]
    second = subprocess.Popen(other, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(rng.uniform(0, reference.seconds))
    alive = job.ranks()
    if alive:
        os.kill(alive[rng.choice(sorted(alive))], signal.SIGKILL)
    trial = outcome(job, int(bool(alive)))
    _, said = second.communicate()
    refused = second.returncode == 2 and ("in use by job" in said or "holds snapshots of another run" in said)
    return trial._replace(survived=trial.survived and refused)


def hang_up(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: the terminal of mpinn.launch goes; the job saves and ends, and goes on when it is resumed."""
    job = supervised(folder, "restart")
    wait_for_training(job.process)
    time.sleep(rng.uniform(0, reference.seconds))
    job.process.send_signal(signal.SIGHUP)
    status = job.end()
    said = job.said()
    if said.get("status") == "completed":
        return outcome(job, 0)
    ended = status == 143 and said.get("status") == "terminated" and not said["failures"]
    again = outcome(Job(folder, "--resume", str(folder / "snapshots")), 0)
    return again._replace(survived=again.survived and ended, faults=1)


FLOOD = """
import os, socket, sys, time
ports, until = set(), time.monotonic() + 20
os.set_blocking(0, False)
while time.monotonic() < until:
    read = sys.stdin.buffer.raw.read(4096)
    if read == b"":
        break
    ports.update(int(word) for word in (read or b"").split())
    for port in ports:
        try:
            one = socket.create_connection(("127.0.0.1", port), timeout=0.05)
            one.sendall(b"beat" * 200)
            one.close()
        except OSError:
            pass
"""
NOBODY = 65534
PUBLIC_PYTHON = "/usr/bin/python3"  # one that nobody may run, too


def ports_flooded(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: another user of the machine calls every port of the launcher and of the ranks; nothing is lost."""
    job = supervised(folder, "restart")
    attacker = subprocess.Popen([PUBLIC_PYTHON, "-c", FLOOD], user=NOBODY, stdin=subprocess.PIPE, text=True, cwd="/")
    assert attacker.stdin and job.process.stdout
    os.set_blocking(job.process.stdout.fileno(), False)
    found: set[int] = set()
    while job.process.poll() is None:
        for pid in [job.process.pid, *job.ranks().values()]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                ours = {port for host, port in ports(pid) if host == LOOPBACK or pid == job.process.pid} - found
                attacker.stdin.write("".join(f"{port}\n" for port in ours))
                attacker.stdin.flush()
                found |= ours
        with contextlib.suppress(BlockingIOError):
            os.read(job.process.stdout.fileno(), 2**16)
        time.sleep(0.01)
    trial = outcome(job, len(found))
    attacker.kill()
    attacker.communicate()
    return trial._replace(survived=trial.survived and not job.said()["failures"])


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
    killed_while_another_is_stopped,
    stopped_during_evaluation,
    two_jobs,
    hang_up,
    ports_flooded,
)


@contextmanager
def ready() -> Iterator[Reference]:
    """Have the undisturbed run."""
    with tempfile.TemporaryDirectory() as folder:
        reference = undisturbed(Job(Path(folder)))
    yield reference
