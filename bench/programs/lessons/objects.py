"""Lesson 1: arrays against an object a neuron. The same per-exemplar training, both in float64, in turn."""

import math
from functools import partial
from statistics import median

import numpy as np

from bench.programs import program
from mpinn import datasets
from mpinn.kernels.reference import Reference
from mpinn.model.network import Network
from mpinn.parallel.schedule import epoch_order
from mpinn.system.command_line import run_command

ETA, LAMBDA = 0.8, 1e-7
BATCH = 10
TOLERANCE = 1e-5  # of a weight


class Neuron:
    """A unit that holds the weights of what comes in; its bias weight is the last."""

    def __init__(self, weights: list[float], divisor: int) -> None:
        self.weights = weights
        self.divisor = divisor
        self.x = self.phi = self.delta = 0.0

    def think(self, inputs: list[float]) -> None:
        self.x = sum(w * value for w, value in zip(self.weights, inputs, strict=True)) / self.divisor

    def learn(self, inputs: list[float]) -> None:
        for index, value in enumerate(inputs):
            w = self.weights[index]
            pulled = (1 - ETA * LAMBDA) * w - ETA * LAMBDA * ((w > 0) - (w < 0))
            self.weights[index] = (pulled if pulled * w > 0 else 0.0) + ETA * self.delta * value


class Objects:
    """784-100-10 as a list of neurons a layer."""

    def __init__(self, network: Network, weights: np.ndarray) -> None:
        first, second = network.views(weights.astype(np.float64))
        self.hidden = [Neuron(column.tolist(), network.divisors[1]) for column in first.T]
        self.output = [Neuron(column.tolist(), network.divisors[2]) for column in second.T]
        self.network = network

    def learn(self, images: np.ndarray, labels: np.ndarray, exemplars: np.ndarray) -> None:
        for exemplar in exemplars:
            self.learn_one(images[exemplar], int(labels[exemplar]))

    def learn_one(self, image: np.ndarray, label: int) -> None:
        pixels = [value / self.network.divisors[0] for value in image.tolist()] + [1.0]
        for neuron in self.hidden:
            neuron.think(pixels)
            neuron.phi = neuron.x if neuron.x > 0 else self.network.alpha * math.expm1(neuron.x)
        values = [neuron.phi for neuron in self.hidden] + [1.0]
        for neuron in self.output:
            neuron.think(values)
        highest = max(neuron.x for neuron in self.output)
        powers = [math.exp(neuron.x - highest) for neuron in self.output]
        for number, (neuron, power) in enumerate(zip(self.output, powers, strict=True)):
            neuron.phi = power / sum(powers)
            neuron.delta = ((number == label) - neuron.phi) * neuron.phi * (1 - neuron.phi)
        for index, neuron in enumerate(self.hidden):
            error = sum(after.weights[index] * after.delta for after in self.output)
            neuron.delta = error * (1.0 if neuron.x > 0 else neuron.phi + self.network.alpha)
        for neuron in self.output:
            neuron.learn(values)
        for neuron in self.hidden:
            neuron.learn(pixels)

    def weights(self) -> np.ndarray:
        """Return the (parameters,) vector that the arrays hold."""
        layers = [np.array([neuron.weights for neuron in layer]).T for layer in (self.hidden, self.output)]
        return np.concatenate([layer.ravel() for layer in layers])


def main() -> int:
    parser = program.parser("lessons.objects", __doc__)
    parser.add_argument(
        "--batches", type=program.positive, default=5, metavar="N", help="batches of 10 exemplars to learn"
    )
    asked = parser.parse_args()
    digits = datasets.load()
    network = Network()
    arrays, weights = Reference(network, ETA, LAMBDA, LAMBDA), network.initial_weights(0)
    objects = Objects(network, weights)
    spent: dict[str, list[float]] = {"arrays": [], "objects": []}
    for batch in np.split(epoch_order(0, 1, len(digits.train_labels))[: asked.batches * BATCH], asked.batches):
        train = (digits.train_images, digits.train_labels, batch)
        turn = program.in_turn(
            {"arrays": partial(arrays.learn, weights, *train, weights), "objects": partial(objects.learn, *train)},
            turns=1,
        )
        for name, seconds in turn.items():
            spent[name] += seconds
    apart = float(np.abs(objects.weights() - weights).max())
    metrics = {f"{name}_microseconds": 1e6 * median(times) / BATCH for name, times in spent.items()}
    metrics["objects_by_arrays"] = median(slow / fast for fast, slow in zip(*spent.values(), strict=True))
    program.write(
        asked.result,
        metrics,
        {"arrays_microseconds": "us", "objects_microseconds": "us", "objects_by_arrays": "1"},
        sum(map(sum, spent.values())),
        checks=[program.check("the objects' weights", apart <= TOLERANCE, f"{apart:.1e} from the arrays'")],
    )
    return 0


if __name__ == "__main__":
    run_command(main)
