"""The network: its layers, and one contiguous vector that holds all of its weights.

Layer l joins `sizes[l]` units, and a bias unit whose value is 1, to `sizes[l + 1]` units. Its weights are a
(inputs + bias, outputs) array in C order with the bias unit's row last; the layers' arrays follow one another in
one float32 vector, without padding. What moves over MPI, into a snapshot and into `weights_sha256` is that vector.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mpinn.model import losses
from mpinn.model.activations import ACTIVATIONS
from mpinn.model.losses import LOSSES

GREY_LEVELS = 256
SATURATED = 1e-3  # a derivative below it moves nothing that matters

# Initial weights are uniform within +- what these say, of a layer's inputs and outputs: the paper's; and variances of
# 1 / inputs (LeCun et al. 1998), 2 / (inputs + outputs) (Glorot and Bengio 2010), 2 / inputs (He et al. 2015).
INITIAL: dict[str, Callable[[int, int], float]] = {
    "uniform": lambda inputs, outputs: 0.1,
    "lecun": lambda inputs, outputs: math.sqrt(3 / inputs),
    "glorot": lambda inputs, outputs: math.sqrt(6 / (inputs + outputs)),
    "he": lambda inputs, outputs: math.sqrt(6 / inputs),
}


def raw_bits(seed: int, stream: int, count: int) -> np.ndarray:
    """Return `count` uint64 of the stream `stream` of `seed`: stream 0 draws the initial weights, e shuffles epoch e.

    Raw bits of PCG64, because NumPy's distributions may change from one version to the next.
    """
    return np.random.PCG64(np.random.SeedSequence((seed, stream))).random_raw(count)


@dataclass(frozen=True)
class Network:
    """A feed-forward network. It holds no weights: functions that need them take them as an argument."""

    sizes: tuple[int, ...] = (784, 100, 10)
    activations: tuple[str, ...] = ("identity", "elu", "softmax")
    alpha: float = 0.5
    bias: bool = True
    layer_normalisation: bool = True
    loss: str = "quadratic"
    initial: str = "uniform"
    input_divisor: int | None = None
    dropout: float = 0.0  # share of the hidden units that an exemplar is learned without

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(inputs + bias, outputs) of every layer of weights."""
        return [(n + self.bias, m) for n, m in pairwise(self.sizes)]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(rows * columns for rows, columns in self.shapes)

    @property
    def divisors(self) -> list[int]:
        """What each layer's values are divided by before its activation: its size, bias unit included, or 1.

        The output layer has no bias unit. `input_divisor` is the input layer's, where it is given.
        """
        sizes = [n + self.bias for n in self.sizes[:-1]] + [self.sizes[-1]]
        found = sizes if self.layer_normalisation else [1] * len(sizes)
        return [self.input_divisor or found[0], *found[1:]]

    def views(self, weights: np.ndarray) -> list[np.ndarray]:
        """Return the vector (parameters,) as one (inputs + bias, outputs) view a layer."""
        views, start = [], 0
        for rows, columns in self.shapes:
            views.append(weights[start : start + rows * columns].reshape(rows, columns))
            start += rows * columns
        return views

    def initial_weights(self, seed: int) -> np.ndarray:
        """Return the float32 vector that training with this seed starts from."""
        unit = (raw_bits(seed, 0, self.parameters) >> np.uint64(11)) * 2.0**-53
        weights = 2 * unit - 1
        for layer, view in enumerate(self.views(weights)):
            view *= INITIAL[self.initial](self.sizes[layer], self.sizes[layer + 1])
            if self.bias and self.initial != "uniform":
                view[-1] = 0
        return weights.astype(np.float32)

    def activate(self, layer: int, x: np.ndarray) -> np.ndarray:
        """Return phi of a layer for its (normalised) net input."""
        return ACTIVATIONS[self.activations[layer]].function(x, self.alpha)

    def derivative(self, layer: int, x: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Return d phi / d x of a layer, given its (normalised) net input and phi."""
        return ACTIVATIONS[self.activations[layer]].derivative(x, phi, self.alpha)

    def output_delta(self, target: np.ndarray, phi: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Return the output layer's delta, (classes,): minus d loss / d net input; slope: d phi / d net input."""
        return LOSSES[self.loss].delta(target, phi, slope)

    def saturated_percent(self, weights: np.ndarray, images: np.ndarray) -> float:
        """Return how many of a hidden layer's units none of the images, (n, pixels) uint8, moves: of the worst layer.

        Such a unit has a derivative below SATURATED for all of them, so that what is before it learns nothing from it.
        """
        worst = 0.0
        for layer, x, phi in self.layers_of(weights, images):
            if layer < len(self.sizes) - 1:
                moved = np.abs(self.derivative(layer, x, phi)).max(axis=0) >= SATURATED
                worst = max(worst, 100 * float(np.mean(~moved)))
        return worst

    def loss_of(self, target: np.ndarray, phi: np.ndarray) -> int:
        """Return the loss of an exemplar in `losses.UNIT`, given its class, one-hot, and the output layer's values."""
        found = LOSSES[self.loss].value(target, phi, self.activations[-1] == "softmax")
        return round((found if found < losses.MOST else losses.MOST) / losses.UNIT)

    def input_table(self) -> np.ndarray:
        """Return the input layer's phi of each of the 256 grey levels, float64."""
        return self.activate(0, np.arange(GREY_LEVELS) / self.divisors[0])

    def layers_of(self, weights: np.ndarray, images: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield each layer from the first hidden one on, its net inputs and its values for uint8 images (n, pixels).

        The number of the layer, float32 (n, units) each.
        """
        phi = self.input_table().astype(np.float32)[images]
        for layer, w in enumerate(self.views(weights), start=1):
            net = phi @ w[: self.sizes[layer - 1]]
            if self.bias:
                net += w[-1]
            net /= np.float32(self.divisors[layer])
            phi = self.activate(layer, net)
            yield layer, net, phi

    def predict(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Return the output layer's values, float32 (n, classes), for uint8 images (n, pixels)."""
        *_, (_, _, phi) = self.layers_of(weights, images)
        return phi


def weights_sha256(weights: np.ndarray) -> str:
    """Return the SHA-256, in hexadecimal, of a vector of weights as little-endian float32."""
    return hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest()
