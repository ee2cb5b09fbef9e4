"""`python -m bench.programs.peers.go`: the same in Go, a goroutine a worker, as in the paper. Does Go parallelise well?

Builds the program in bench/programs/peers/go (flat arrays, float32; the native kernel's sparse rows, or with --dense
every weight for every exemplar) and runs it. How many goroutines run at once is Go's GOMAXPROCS: the processor's cores,
unless that variable is set.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.programs.peers import task as tasks
from bench.programs.peers.task import NETWORK, SETTINGS, Task
from bench.programs.program import NotHereError
from mpinn.config import LEARNING_RATE
from mpinn.system.command_line import run_command
from mpinn.system.errors import MpinnError

SOURCE = Path(__file__).parent / "go"


def main() -> int:
    parser = tasks.parser("go", __doc__, workers="workers")
    parser.add_argument("--dense", action="store_true", help="every weight for every exemplar, as the formulas say")
    asked = parser.parse_args()
    task = tasks.task_of(asked, asked.workers)
    compiler = shutil.which("go")
    if compiler is None:
        raise NotHereError("no Go: install it (Debian: apt install golang-go, 1.18 or newer), so that `go` is found")
    with tempfile.TemporaryDirectory() as folder:
        peer = build(compiler, Path(folder))
        first, _ = train(peer, task.first_round(), asked.dense, Path(folder))
        learned, said = train(peer, task, asked.dense, Path(folder))
    tasks.report(
        asked.result,
        task,
        [tasks.epoch(seconds, weights) for seconds, weights in zip(said["train_seconds"], learned, strict=True)],
        tasks.same_as_reference(task, first[0]),
        {"go": said["version"], "gomaxprocs": said["gomaxprocs"]},
        workers="workers",
    )
    return 0


def build(compiler: str, folder: Path) -> Path:
    """Return the program, built in the folder, with the Go that is here. Raises MpinnError."""
    peer = folder / "peer"
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GO111MODULE": "on"}
    run([compiler, "build", "-buildvcs=false", "-o", str(peer), "."], SOURCE, environment)
    return peer


def train(peer: Path, task: Task, dense: bool, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the weights after every epoch, (epochs, parameters) float32, and what the program said of the run."""
    mnist = tasks.digits()
    mnist.train_images.tofile(folder / "images")
    mnist.train_labels.astype("<i4").tofile(folder / "labels")
    NETWORK.initial_weights(task.seed).astype("<f4").tofile(folder / "weights")
    orders = [task.order(number) for number in range(1, task.epochs + 1)]
    np.concatenate(orders).astype("<i4").tofile(folder / "order")
    options = {
        "dir": folder,
        "dense": str(dense).lower(),
        "workers": task.workers,
        "worker-batch": SETTINGS.worker_batch,
        "exemplars": task.exemplars,
        "learning-rate": LEARNING_RATE,
        "l1": SETTINGS.l1,
        "l2": SETTINGS.l2,
        "alpha": SETTINGS.alpha,
    }
    said = run([str(peer), *(f"-{name}={value}" for name, value in options.items())], folder, dict(os.environ))
    learned = np.fromfile(folder / "learned", "<f4").astype(np.float32).reshape(task.epochs, NETWORK.parameters)
    return learned, json.loads(said)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command in the folder and return what it prints. Raises MpinnError."""
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ran.returncode:
        raise MpinnError(f"{Path(command[0]).name}: {ran.stderr.strip() or f'exit status {ran.returncode}'}")
    return ran.stdout


if __name__ == "__main__":
    run_command(main)
