"""`python -m tests.faults.try_faults --out faults.json`: what docs/reliability.md promises, tried many times over.

Every trial trains on real MNIST under real mpirun, has something done to it at a random moment, and ends with the
weights of the undisturbed run, bit for bit. Random moments come from a seed; processes are killed from
outside.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

RANKS = 8
SETTINGS = (*("--workers", "16", "--merge", "block-momentum", "--worker-batch", "50", "--epochs", "4"), "--debug")
HEADING = "epoch   train %"  # printed as training begins
PATIENCE = 120  # seconds for a trial to end
ULFM = ("--fault-tolerance", "ulfm")


class Job:
    """A training run under mpirun, in a directory of its own."""

    def __init__(self, folder: Path, *options: str, launcher: tuple[str, ...] = (), **extra: str) -> None:
        self.folder = folder
        self.result = folder / "result.json"
        launcher = launcher or ("mpirun", "--oversubscribe", "-n", str(RANKS), sys.executable, "-m", "mpinn.train")
        self.process = subprocess.Popen(
            [*launcher, *SETTINGS, *options, "--result", str(self.result)],
            stdout=subprocess.PIPE,
            stderr=(folder / "errors.txt").open("w"),
            text=True,
            env={**os.environ, **extra},
            start_new_session=True,
        )

    def wait_for_training(self) -> None:
        """Return when the first round begins."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(HEADING):
                return

    def ranks(self) -> dict[int, int]:
        """Return the process ids of the ranks that are alive, by rank."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if str(self.result).encode() not in (folder / "cmdline").read_bytes():
                    continue
                variables = (folder / "environ").read_bytes().split(b"\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            for text in variables:
                name, _, value = text.partition(b"=")
                if name in (b"OMPI_COMM_WORLD_RANK", b"PMI_RANK") and state != "Z":
                    found[int(value)] = int(folder.name)
        return found

    def end(self) -> int:
        """Wait for the end and return the exit status; kill what is left."""
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            return -1
        finally:
            for pid in self.ranks().values():
                os.kill(pid, signal.SIGKILL)
        return self.process.returncode

    def said(self) -> dict[str, Any]:
        """Return the result file, or {}."""
        try:
            found: dict[str, Any] = json.loads(self.result.read_text())
        except (OSError, ValueError):
            return {}
        return found


class Trial(NamedTuple):
    survived: bool  # it went on to its end
    hash: str  # of the weights there
    faults: int  # that came in time
    seconds_lost: float


class Reference(NamedTuple):
    """The undisturbed run."""

    hash: str
    seconds: float  # of training, evaluation included


def strike(job: Job, rng: random.Random, seconds: float, ranks: list[int], number: int) -> int:
    """Send a signal to ranks at random moments of so many seconds; return how many were still there."""
    job.wait_for_training()
    moments = sorted(rng.uniform(0, seconds) for _ in ranks)
    began, struck = time.monotonic(), 0
    for moment, rank in zip(moments, ranks, strict=True):
        time.sleep(max(0, began + moment - time.monotonic()))
        pid = job.ranks().get(rank)
        if pid is not None and job.process.poll() is None:
            os.kill(pid, number)
            struck += 1
    return struck


def outcome(job: Job, faults: int) -> Trial:
    """Return what came of the job: of faults that came after its result was complete, nothing is promised."""
    status = job.end()
    said = job.said()
    failures = said.get("failures", [])
    complete = said.get("status") == "completed"
    if complete and status and len(failures) < faults:
        status, faults = 0, len(failures)
    lost = sum(one["seconds_lost"] for one in failures)
    return Trial(status == 0 and complete, said.get("weights_sha256", ""), faults, lost)


def ulfm_launcher() -> tuple[str, ...]:
    return (*("mpirun", "--oversubscribe", "--with-ft", "ulfm", "-n", str(RANKS)), sys.executable, "-m", "mpinn.train")


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
    """ulfm: SIGKILL to three to six of eight ranks, each at a moment of its own."""
    return killed(folder, rng, reference, rng.sample(range(RANKS), rng.randint(3, RANKS - 2)))


def ranks_killed_at_once(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """ulfm: SIGKILL to two ranks at the same moment."""
    job = Job(folder, *ULFM, launcher=ulfm_launcher())
    job.wait_for_training()
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


def restarting(folder: Path, *options: str) -> Job:
    place = ("--checkpoint", str(folder / "snapshots"))
    launch = (sys.executable, "-m", "mpinn.launch", "--fault-tolerance", "restart", "-n", str(RANKS), "--force", "--")
    return Job(folder, *place, *options, launcher=launch)


def restarted(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: SIGKILL to a random rank; the job ends and goes on from its last snapshot."""
    job = restarting(folder)
    return outcome(job, strike(job, rng, reference.seconds, [rng.randrange(RANKS)], signal.SIGKILL))


def launcher_killed(folder: Path, rng: random.Random, reference: Reference) -> Trial:
    """restart: SIGKILL to mpirun itself."""
    job = restarting(folder)
    job.wait_for_training()
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
    job.wait_for_training()
    while len(list(place.glob("*.mpinn"))) < 2:
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


CLASSES: tuple[Callable[[Path, random.Random, Reference], Trial], ...] = (
    any_rank_killed,
    rank_0_killed,
    many_ranks_killed,
    ranks_killed_at_once,
    rank_stopped,
    restarted,
    launcher_killed,
    bit_flipped,
    snapshot_damaged,
)


def undisturbed() -> Reference:
    """Return the hash that every trial must come to, and how long it takes."""
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder))
        job.wait_for_training()
        began = time.monotonic()
        assert job.end() == 0, (Path(folder) / "errors.txt").read_text()
        return Reference(job.said()["weights_sha256"], time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.try_faults", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("faults.json"), help="default: faults.json")
    parser.add_argument("--trials", type=int, default=20, help="of each class of faults that come in time (20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="CLASS", help=", ".join(one.__name__ for one in CLASSES))
    asked = parser.parse_args()
    reference = undisturbed()
    print(f"undisturbed: {reference.seconds:.1f} s, weights {reference.hash[:12]}", flush=True)
    table: list[dict[str, Any]] = []
    for fault in CLASSES:
        if asked.only and fault.__name__ not in asked.only:
            continue
        rng = random.Random(f"{asked.seed} {fault.__name__}")
        trials: list[Trial] = []
        late = 0
        while len(trials) < asked.trials and late < 3 * asked.trials:
            folder = Path(tempfile.mkdtemp(prefix="mpinn-faults-"))
            trial = fault(folder, rng, reference)
            if trial.faults == 0 and trial.survived and trial.hash == reference.hash:
                late += 1  # it had ended before
            else:
                trials.append(trial)
                if not trial.survived or trial.hash != reference.hash:
                    print(f"  kept: {folder}", flush=True)
                    continue
            shutil.rmtree(folder)
        table.append(
            {
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
        )
        row = table[-1]
        print(
            f"{row['fault']:24} {row['trials']:3} trials {row['faults']:3} faults {row['survived']:3} survived "
            f"{row['hash_equal']:3} hash equal, {row['seconds_lost_median']:.3f} s lost (median)",
            flush=True,
        )
    asked.out.write_text(json.dumps({"ranks": RANKS, "settings": SETTINGS, "faults": table}, indent=1) + "\n")
    good = all(row["survived"] == row["hash_equal"] == row["trials"] >= asked.trials for row in table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
