"""A training run that something is done to, and what is to come of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

RANKS = 8
SETTINGS = [*("--workers", "16", "--merge", "block-momentum", "--worker-batch", "50", "--epochs", "4"), "--debug"]
HEADING = "epoch   train %"  # printed as training begins
PATIENCE = 120  # seconds for a trial to end


def wait_for_training(process: subprocess.Popen[str]) -> None:
    """Return when the first round begins."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith(HEADING):
            return


class Job:
    """A training run under mpirun, in a directory of its own.

    What a killed mpirun leaves stays there, too: the next one that got its process id would not start.
    """

    def __init__(self, folder: Path, *options: str, launcher: tuple[str, ...] = (), **extra: str) -> None:
        self.folder = folder
        self.result = folder / "result.json"
        launcher = launcher or ("mpirun", "--oversubscribe", "-n", str(RANKS), sys.executable, "-m", "mpinn.train")
        self.process = subprocess.Popen(
            [*launcher, *SETTINGS, *options, "--result", str(self.result)],
            stdout=subprocess.PIPE,
            stderr=(folder / "errors.txt").open("w"),
            text=True,
            env={**os.environ, "TMPDIR": str(folder), **extra},
            start_new_session=True,
        )

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


def outcome(job: Any, faults: int) -> Trial:
    """Return what came of a job: of faults that came after its result was complete, nothing is promised."""
    status = job.end()
    said = job.said()
    failures = said.get("failures", [])
    complete = said.get("status") == "completed"
    if complete and status and len(failures) < faults:
        status, faults = 0, len(failures)
    lost = sum(one["seconds_lost"] for one in failures)
    return Trial(status == 0 and complete, said.get("weights_sha256", ""), faults, lost)


def undisturbed(job: Any) -> Reference:
    """Return the hash that every trial must come to, and how long it takes."""
    wait_for_training(job.process)
    began = time.monotonic()
    assert job.end() == 0, job.said()
    return Reference(job.said()["weights_sha256"], time.monotonic() - began)
