"""`python -m bench.kernels`: microseconds an exemplar of the native and the reference kernel, side by side, on MNIST.

The two take turns, batch by batch, so that what disturbs one disturbs the other: trust the ratio, not the times.
"""

import mpinn.one_thread  # isort: skip # noqa: F401

import argparse
import statistics
import sys

import numpy as np

from mpinn import data, kernels
from mpinn.network import Network
from mpinn.schedule import epoch_order

BATCH = 100


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.kernels", description=__doc__)
    parser.add_argument("--batches", type=int, default=50, metavar="N", help="worker batches of 100 (default: 50)")
    parser.add_argument("--layers", type=int, nargs="+", default=[784, 100, 10], metavar="UNITS")
    asked = parser.parse_args()
    digits = data.load()
    network = Network(tuple(asked.layers), ("identity", *["elu"] * (len(asked.layers) - 2), "softmax"))
    order = epoch_order(0, 1, len(digits.train_labels))
    kinds = [kernels.choose(name, network, 0.8, 1e-7, 1e-7) for name in ("native", "reference")]
    weights = [network.initial_weights(0) for _ in kinds]
    spent: list[list[float]] = [[] for _ in kinds]
    for batch in np.split(order[: asked.batches * BATCH], asked.batches):
        for number, kernel in enumerate(kinds):
            seconds = kernel.learner.learn(weights[number], digits.train_images, digits.train_labels, batch)
            spent[number].append(1e6 * sum(seconds) / BATCH)
    for kernel, times in zip(kinds, spent, strict=True):
        print(f"{kernel.name:9}  {statistics.median(times):8.2f} microseconds an exemplar (median)  {kernel.id}")
    ratios = [slow / fast for fast, slow in zip(*spent, strict=True)]
    median, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(f"native is {median:.0f} times reference (batch by batch: {low:.0f} to {high:.0f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
