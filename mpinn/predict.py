"""`python -m mpinn.predict SNAPSHOT IMAGES`: classify images with the weights of a snapshot."""

import csv
import sys
from pathlib import Path

import numpy as np

from mpinn import datasets
from mpinn.system.command_line import Parser, run_command
from mpinn.system.errors import UsageError
from mpinn.training import snapshots

BLOCK = 1000  # images classified at a time


def main(arguments: list[str] | None = None) -> None:
    """Print one CSV line an image: its number, its class, how sure the network is, and the label where one is known."""
    parser = Parser(prog="python -m mpinn.predict", description="Classify images with the weights of a snapshot.")
    parser.add_argument("snapshot", type=Path, help="a snapshot, or a directory: then its newest good one")
    parser.add_argument(
        "images", type=Path, help="an IDX file of images, a CSV, an NPZ, or a data directory (its test set)"
    )
    asked = parser.parse_args(arguments)
    snapshot = snapshots.load(asked.snapshot)
    network = snapshot.network
    images, labels = datasets.load_images(asked.images)
    if images.shape[1] != network.sizes[0]:
        raise UsageError(f"{asked.images}: images of {images.shape[1]} pixels; the network takes {network.sizes[0]}")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image", "class", "probability"] + (["label"] if labels is not None else []))
    right = 0
    for start in range(0, len(images), BLOCK):
        phi = network.predict(snapshot.state.master.weights, images[start : start + BLOCK])
        chosen = phi.argmax(axis=1)
        for i, (row, best) in enumerate(zip(phi, chosen, strict=True), start):
            known = [] if labels is None else [labels[i]]
            writer.writerow([i, best, f"{row[best]:.4f}", *known])
        if labels is not None:
            right += int(np.count_nonzero(chosen == labels[start : start + BLOCK]))
    if labels is not None:
        print(f"{right} of {len(images)} right, {100 * right / len(images):.2f}%", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
