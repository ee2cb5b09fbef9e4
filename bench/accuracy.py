"""`python -m bench.accuracy`: does this installation learn as it should? Accuracy over epochs and seeds, as Markdown.

Accuracy depends on the number of workers, not on ranks, so all runs are on one rank and need no mpirun.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple


class Case(NamedTuple):
    """One row of the table."""

    workers: int
    batch: int
    momentum: float | None  # None: the plain mean
    expected: dict[int, tuple[float, float]]  # epoch -> lowest and highest accuracy of the prototypes, %


SHOWN = (1, 2, 3, 4, 5, 15)  # epochs
WIDER = 0.4  # percentage points that a measured value may lie outside the prototypes' range
CASES = [  # of the prototypes: accuracy on the training set, five seeds
    Case(
        1,
        100,
        None,
        {1: (92.7, 93.4), 2: (95.2, 95.7), 3: (95.7, 96.7), 4: (96.7, 97.3), 5: (97.1, 97.7), 15: (99.0, 99.3)},
    ),
    Case(8, 100, 0.875, {1: (92.5, 93.0), 2: (95.2, 95.5), 3: (96.4, 96.8), 4: (97.2, 97.4), 5: (97.5, 97.8)}),
    Case(16, 25, 0.9375, {1: (92.4, 92.8), 2: (94.9, 95.5), 3: (96.5, 96.8), 4: (97.1, 97.4), 5: (97.4, 97.7)}),
    Case(16, 100, 0.9, {1: (88.7, 89.9), 2: (93.1, 93.5), 3: (94.6, 95.2), 4: (95.8, 96.2), 5: (96.4, 96.8)}),
]


def train(case: Case, seed: int, epochs: int) -> list[dict[str, Any]]:
    """Return the epochs of the result of one run."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "mpinn.train", "--quiet", "--seed", seed, "--epochs", epochs]
        command += ["--workers", case.workers, "--worker-batch", case.batch, "--result", result]
        if case.momentum is not None:
            command += ["--merge", "block-momentum", "--block-momentum", case.momentum]
        subprocess.run([str(word) for word in command], check=True)
        return json.loads(result.read_text())["epochs"]


def cell(values: list[float], expected: tuple[float, float] | None) -> str:
    """Return 'minimum-maximum', with a mark where that, to a decimal, is outside the prototypes' range, widened."""
    low, high = round(min(values), 1), round(max(values), 1)
    outside = expected and (expected[0] - low > WIDER + 0.01 or high - expected[1] > WIDER + 0.01)
    return f"{low:.1f}-{high:.1f}" + (" (!)" if outside else "")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N-1 (default: 5)")
    parser.add_argument("--epochs", type=int, default=15, metavar="N", help="default: 15")
    asked = parser.parse_args()
    shown = [epoch for epoch in SHOWN if epoch <= asked.epochs]
    print("| workers | worker batch | merge | " + " | ".join(f"epoch {epoch}" for epoch in shown) + " | test set |")
    print("| --- " * (len(shown) + 4) + "|")
    outside = False
    for case in CASES:
        runs = [train(case, seed, asked.epochs) for seed in range(asked.seeds)]
        cells = [cell([run[e - 1]["train_accuracy"] for run in runs], case.expected.get(e)) for e in shown]
        merge = "mean" if case.momentum is None else f"block momentum {case.momentum:g}"
        test = cell([run[-1]["test_accuracy"] for run in runs], None)
        print(f"| {case.workers} | {case.batch} | {merge} | {' | '.join(cells)} | {test} |", flush=True)
        outside |= any("(!)" in text for text in cells)
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
