"""How one worker learns one batch, in NumPy and float64: the definition that every other kernel is compared with.

One exemplar at a time: forward, backward, update. All of the mathematics is in `shrink`, `forward` and `backward`.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np

from mpinn.merging import sums
from mpinn.merging.term import Term
from mpinn.model import dropout
from mpinn.model.dropout import Drop
from mpinn.model.network import Network

Array = np.ndarray


def shrink(w: Array, a1: float, a2: float) -> Array:
    """Return w after one pull of the elastic net: (1 - a2) w - a1 sgn(w), 0 where that would change its sign."""
    pulled = (1 - a2) * w - a1 * np.sign(w)
    return np.where(np.sign(pulled) * np.sign(w) < 0, 0.0, pulled)


class Learned(NamedTuple):
    """What learning some exemplars took, and how far the network was off."""

    think: float  # seconds
    train: float
    loss: int  # the sum of the exemplars' losses, each before its step, in `losses.UNIT`


class Thought(NamedTuple):
    """What a forward pass comes to, of every layer, (units,) float64 each."""

    given: list[Array]  # phi = activation(x), x the normalised net input; of units that are dropped, what they give
    slopes: list[Array]  # d given / d x; of the input layer none


def store(result: Array, to: Array | Term) -> None:
    """Store a result, (parameters,) float64, as float32."""
    if isinstance(to, Term):
        sums.write(to, result.astype(np.float32))
    else:
        to[:] = result


class Reference:
    """Per-exemplar stochastic gradient descent with elastic net regularisation."""

    def __init__(
        self,
        network: Network,
        learning_rate: float,
        l1: float,
        l2: float,
        layer_rates: Sequence[float] | None = None,
        momentum: float = 0.0,
    ) -> None:
        """layer_rates: by which the learning rate of each layer of weights is multiplied; None: all by 1.

        momentum: of a worker's steps, from rest at the start of every batch.
        """
        self.network = network
        self.layer_rates = layer_rates or [1.0] * len(network.shapes)
        self.l1, self.l2 = l1, l2
        self.momentum = momentum
        self.set_rate(learning_rate)
        self.set_epoch(0, 1)

    def set_rate(self, learning_rate: float) -> None:
        """Learn with another rate from now on."""
        self.eta = learning_rate
        self.a1 = learning_rate * self.l1
        self.a2 = learning_rate * self.l2

    def set_epoch(self, seed: int, epoch: int) -> None:
        """Learn this epoch of a run from now on: which units are dropped follows from it."""
        self.seed, self.epoch = seed, epoch

    def forward(self, w: list[Array], image: Array, exemplar: int) -> Thought:
        """Return what the layers come to for an image, (pixels,) uint8, of an exemplar.

        w[l], (inputs + bias, outputs), joins layer l to layer l + 1.
        """
        network = self.network
        given = [network.activate(0, image / network.divisors[0])]
        slopes = [np.ones(0)]
        for layer, weights in enumerate(w, start=1):
            x = self.with_bias(given[-1]) @ weights / network.divisors[layer]
            phi = network.activate(layer, x)
            kept, drop = self.dropping(layer, exemplar)
            given.append(np.where(kept, drop.scale * phi + drop.shift, drop.dropped))
            slopes.append(kept * drop.scale * network.derivative(layer, x, phi))
        return Thought(given, slopes)

    def dropping(self, layer: int, exemplar: int) -> tuple[Array, Drop]:
        """Return which units of a layer are kept for an exemplar, (units,) bool, and what becomes of them."""
        network = self.network
        rate = network.dropout if layer < len(network.sizes) - 1 else 0.0
        if not rate:
            return np.ones(network.sizes[layer], bool), Drop(1.0, 0.0, 0.0)
        state = dropout.state_of(self.seed, self.epoch, exemplar, layer)
        return dropout.kept(state, network.sizes[layer], rate), Drop.of(network.activations[layer], rate)

    def backward(self, w: list[Array], thought: Thought, target: Array) -> list[Array]:
        """Return where the error of one exemplar pulls the weights; target (classes,): its class, one-hot.

        As w[l]: minus the gradient of the loss by the weights but for a constant factor a layer: its rate, and the net
        inputs' divisors from there on, which the paper's update leaves out.
        """
        given, slopes = thought
        delta = self.network.output_delta(target, given[-1], slopes[-1])
        pulls = []
        for layer in reversed(range(len(w))):
            pulls.append(np.outer(self.with_bias(given[layer]), delta))
            if layer > 0:
                delta = w[layer][: self.network.sizes[layer]] @ delta * slopes[layer]
        return [rate * pull for rate, pull in zip(self.layer_rates, reversed(pulls), strict=True)]

    def update(self, w: list[Array], v: list[Array], pulls: list[Array]) -> None:
        """Change weights and velocities, in place, by what one exemplar pulls."""
        for layer, velocity, pull in zip(w, v, pulls, strict=True):
            velocity[:] = self.momentum * velocity + pull
            layer[:] = shrink(layer, self.a1, self.a2) + self.eta * velocity

    def with_bias(self, phi: Array) -> Array:
        """Return a layer's values followed by its bias unit's 1, where there is one."""
        return np.append(phi, 1.0) if self.network.bias else phi

    def learn(
        self,
        weights: Array,
        images: Array,
        labels: Array,
        exemplars: Array,
        learned: Array | Term,
        between: Callable[[], object] | None = None,
    ) -> Learned:
        """Learn the exemplars, in their order, starting from `weights`; store the result in `learned`.

        weights, learned (parameters,) float32, possibly the same array; or `learned` is a term, which the result is
        made; images (n, pixels) uint8; labels (n,) int32; exemplars (batch,) int32, positions in images and labels.
        `between` is called now and then between exemplars; an error that it raises ends learning, with nothing stored.
        Returns the seconds spent thinking (forward) and training (backward and update), and the loss.
        """
        exact = weights.astype(np.float64)
        w, v = self.network.views(exact), self.network.views(np.zeros_like(exact))
        spent = self.follow(w, images, labels, exemplars, lambda pulls: self.update(w, v, pulls), between)
        store(exact, learned)
        return spent

    def gradient(
        self,
        weights: Array,
        images: Array,
        labels: Array,
        exemplars: Array,
        direction: Array | Term,
        between: Callable[[], object] | None = None,
    ) -> Learned:
        """Store the mean direction in which the exemplars pull the weights, (parameters,) float32; else as `learn`."""
        w, total = self.network.views(weights.astype(np.float64)), np.zeros(len(weights))

        def add(pulls: list[Array]) -> None:
            for layer, pull in zip(self.network.views(total), pulls, strict=True):
                layer += pull

        spent = self.follow(w, images, labels, exemplars, add, between)
        store(total / len(exemplars), direction)
        return spent

    def follow(
        self,
        w: list[Array],
        images: Array,
        labels: Array,
        exemplars: Array,
        use: Callable[[list[Array]], None],
        between: Callable[[], object] | None,
    ) -> Learned:
        """Let one exemplar after the other pull, and `use` do something about it."""
        targets = np.eye(self.network.sizes[-1])
        think = train = 0.0
        loss = 0
        for exemplar in exemplars:
            start = perf_counter()
            thought = self.forward(w, images[exemplar], int(exemplar))
            then = perf_counter()
            target = targets[labels[exemplar]]
            loss += self.network.loss_of(target, thought.given[-1])
            use(self.backward(w, thought, target))
            think += then - start
            train += perf_counter() - then
            if between:
                between()
        return Learned(think, train, loss)

    def classify(self, weights: Array, images: Array) -> Array:
        """Return the most likely class of each image, (n,) int; images (n, pixels) uint8."""
        return self.network.predict(weights, images).argmax(axis=1)
