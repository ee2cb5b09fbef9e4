"""Lesson 7: two wrong gradients beside the right one, and what they do to accuracy with many workers.

`updated-weights` sends the output's delta back through weights that were already updated; `old-elu` takes ELU's
derivative at 0 for 1, as the paper's equation (4) prints it, not for alpha: it shows only where a net input is exactly
0, and those are counted. The elastic net is left out: its part would be the same in all. The plain mean merges; all
workers are on one rank.
"""

from statistics import median
from time import perf_counter

import numpy as np

from bench.programs import program
from mpinn import datasets
from mpinn.kernels.reference import Reference
from mpinn.model.network import Network
from mpinn.parallel.schedule import Schedule, epoch_order
from mpinn.system.command_line import run_command

GRADIENTS = ("right", "updated-weights", "old-elu")
ETA, BATCH = 0.8, 100
TOLERANCE = 1e-4  # of a weight after one batch, in float32
EPOCH = 60_000


class Learner:
    """Per-exemplar training of 784-100-10, one gradient of the three. Only rows of lit pixels are read and written."""

    def __init__(self, network: Network, gradient: str) -> None:
        self.network = network
        self.updated_first = gradient == "updated-weights"
        self.at_zero = 1.0 if gradient == "old-elu" else network.alpha
        self.pixel_values = network.input_table().astype(np.float32)
        self.targets = np.eye(10, dtype=np.float32)
        self.zeros = 0  # net inputs that were exactly 0, where the two derivatives differ

    def learn(self, weights: np.ndarray, images: np.ndarray, labels: np.ndarray, exemplars: np.ndarray) -> None:
        """Learn exemplars in order, changing weights (parameters,) float32 in place."""
        first, second = self.network.views(weights)
        alpha = np.float32(self.network.alpha)
        _, hidden_divisor, output_divisor = (np.float32(divisor) for divisor in self.network.divisors)
        for exemplar in exemplars:
            lit = np.append(np.flatnonzero(images[exemplar]), 784)  # and the bias unit
            values = np.append(self.pixel_values[images[exemplar][lit[:-1]]], np.float32(1))
            x = values @ first[lit] / hidden_divisor
            hidden = np.append(np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), np.float32(1))
            net = hidden @ second / output_divisor
            powers = np.exp(net - net.max())
            phi = powers / powers.sum()
            delta = self.network.output_delta(self.targets[labels[exemplar]], phi, phi * (1 - phi))
            slope = np.where(x > 0, np.float32(1), hidden[:-1] + alpha)
            slope[x == 0] = self.at_zero
            self.zeros += int(np.count_nonzero(x == 0))
            step = ETA * np.outer(hidden, delta)
            if self.updated_first:
                second += step
            back = second[:-1] @ delta * slope
            if not self.updated_first:
                second += step
            first[lit] += ETA * np.outer(values, back)


def main() -> int:
    parser = program.parser("lessons.gradients", __doc__)
    parser.add_argument("--gradient", choices=GRADIENTS, default="right", help="which gradient")
    parser.add_argument("--workers", type=program.positive, default=1, metavar="N", help="workers")
    parser.add_argument("--worker-batch", type=program.positive, default=BATCH, metavar="N", help="between merges")
    parser.add_argument("--epochs", type=program.positive, default=2, metavar="N", help="epochs")
    parser.add_argument("--exemplars", type=program.positive, default=EPOCH, metavar="N", help="exemplars of an epoch")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of initial weights and order")
    asked = parser.parse_args()
    digits, network = datasets.load(), Network()
    train, test = (digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels)
    apart = distance_from_reference(network, asked.gradient, train, asked.seed)
    learner = Learner(network, asked.gradient)
    schedule = Schedule(asked.exemplars, asked.workers, asked.worker_batch)
    master = network.initial_weights(asked.seed)
    series: dict[str, list[float]] = {"train_accuracy": [], "test_accuracy": []}
    seconds = []
    for epoch in range(1, asked.epochs + 1):
        start = perf_counter()
        order = epoch_order(asked.seed, epoch, len(digits.train_labels))[: asked.exemplars]
        for batches in schedule.slices(order, range(asked.workers)):
            total, count = np.zeros(len(master)), 0
            for batch in (row[row >= 0] for row in batches):
                weights = master.copy()
                learner.learn(weights, *train, batch)
                total += len(batch) * weights.astype(np.float64)
                count += len(batch)
            master = (total / count).astype(np.float32)
        seconds.append(perf_counter() - start)
        for name, (images, labels) in (("train", train), ("test", test)):
            right = network.predict(master, images).argmax(axis=1) == labels
            series[f"{name}_accuracy"].append(100 * float(right.mean()))
    series |= {
        "exemplar_microseconds": [1e6 * one / asked.exemplars for one in seconds],
        "zero_net_inputs": [float(learner.zeros)],
    }
    if asked.exemplars == EPOCH:
        series["train_seconds"] = seconds
    metrics = {
        **{name: median(series[name]) for name in ("exemplar_microseconds", "zero_net_inputs")},
        **{name: series[name][-1] for name in ("train_accuracy", "test_accuracy")},
    }
    units = {"exemplar_microseconds": "us", "zero_net_inputs": "1", "train_accuracy": "%", "test_accuracy": "%"}
    passed = (apart <= TOLERANCE) == (asked.gradient != "updated-weights")
    detail = f"{apart:.1e} from the reference kernel after one batch"
    checks = [program.check(f"gradient {asked.gradient}", passed, detail)]
    program.write(asked.result, metrics, units, sum(seconds), checks=checks, series=series)
    return 0


def distance_from_reference(network: Network, gradient: str, train: tuple[np.ndarray, np.ndarray], seed: int) -> float:
    """Return the largest difference of a weight from the reference kernel's after one batch."""
    batch = epoch_order(seed, 1, len(train[1]))[:BATCH]
    learned = [network.initial_weights(seed) for _ in range(2)]
    Learner(network, gradient).learn(learned[0], *train, batch)
    Reference(network, ETA, 0.0, 0.0).learn(learned[1], *train, batch, learned[1])
    return float(np.abs(learned[0] - learned[1]).max())


if __name__ == "__main__":
    run_command(main)
