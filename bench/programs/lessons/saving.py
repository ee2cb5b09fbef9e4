"""Lesson 2: saving a snapshot after every batch, after every epoch, or at the end. One worker, in turn."""

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from bench.programs import program
from mpinn import config, datasets, kernels
from mpinn.config import Options
from mpinn.datasets import Dataset
from mpinn.merging.master import Master
from mpinn.model.network import Network, weights_sha256
from mpinn.parallel.schedule import epoch_order
from mpinn.system.command_line import run_command
from mpinn.system.errors import UsageError
from mpinn.training.snapshots import Snapshot, Store
from mpinn.training.state import RunState

BATCH, EPOCHS = 100, 3


def snapshot(weights: np.ndarray, rounds: int) -> Snapshot:
    """Return a snapshot of (parameters,) float32 weights after so many rounds, as training makes it."""
    settings = config.resolve(Options(workers=1), BATCH, 784, 10, 60_000, 1)
    state = RunState(1, rounds, Master.at_rest(weights, settings.rule, 0.0), None)
    return Snapshot(settings.determines_weights, "", "", None, "", state)


def train(digits: Dataset, exemplars: int, every: int, directory: Path, learned: set[str]) -> None:
    """Train from the start, with a snapshot after every so many batches; add the weights' SHA-256 to `learned`."""
    weights, store = Network().initial_weights(0), Store(directory, "")
    learner = kernels.choose("auto", Network(), 0.8, 1e-7, 1e-7).learner
    batches = [
        batch
        for epoch in range(1, EPOCHS + 1)
        for batch in np.split(epoch_order(0, epoch, len(digits.train_labels))[:exemplars], exemplars // BATCH)
    ]
    for done, batch in enumerate(batches, start=1):
        learner.learn(weights, digits.train_images, digits.train_labels, batch, weights)
        if done % every == 0:
            store.save(snapshot(weights, done))
    learned.add(weights_sha256(weights))


def main() -> int:
    parser = program.parser("lessons.saving", __doc__)
    parser.add_argument(
        "--exemplars", type=program.positive, default=6000, metavar="N", help="of an epoch, a multiple of 100"
    )
    parser.add_argument(
        "--turns", type=program.positive, default=3, metavar="N", help="trainings with each way of saving"
    )
    asked = parser.parse_args()
    digits = datasets.load()
    if asked.exemplars % BATCH or asked.exemplars > len(digits.train_labels):
        raise UsageError(
            f"--exemplars {asked.exemplars}: expected a multiple of {BATCH} up to {len(digits.train_labels)}"
        )
    epoch = asked.exemplars // BATCH
    ways = {"every_batch": 1, "every_epoch": epoch, "at_end": EPOCHS * epoch}
    learned: set[str] = set()
    with tempfile.TemporaryDirectory(dir=asked.result.parent if asked.result else None) as name:
        spent = program.in_turn(
            {
                way: partial(train, digits, asked.exemplars, every, Path(name) / way, learned)
                for way, every in ways.items()
            },
            asked.turns,
        )
    metrics = {f"{way}_seconds": median(times) for way, times in spent.items()}
    units = dict.fromkeys(metrics, "s")
    for way in ("every_batch", "every_epoch"):
        ratios = [slow / fast for slow, fast in zip(spent[way], spent["at_end"], strict=True)]
        metrics[f"{way}_by_at_end"], units[f"{way}_by_at_end"] = median(ratios), "1"
    same = program.check("weights", len(learned) == 1, "saving changes nothing of what is learned")
    program.write(asked.result, metrics, units, sum(map(sum, spent.values())), checks=[same])
    return 0


if __name__ == "__main__":
    run_command(main)
