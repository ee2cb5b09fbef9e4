"""How one worker learns one batch, in NumPy and float64: the definition that every other kernel is compared with.

One exemplar at a time: forward, backward, update. All of the mathematics is in `shrink`, `forward` and `update`.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from mpinn.model.network import Network

Array = np.ndarray


def shrink(w: Array, a1: float, a2: float) -> Array:
    """Return w after one pull of the elastic net: (1 - a2) w - a1 sgn(w), 0 where that would change its sign."""
    pulled = (1 - a2) * w - a1 * np.sign(w)
    return np.where(np.sign(pulled) * np.sign(w) < 0, 0.0, pulled)


class Reference:
    """Per-exemplar stochastic gradient descent with elastic net regularisation."""

    def __init__(self, network: Network, learning_rate: float, l1: float, l2: float) -> None:
        self.network = network
        self.eta = learning_rate
        self.a1 = learning_rate * l1
        self.a2 = learning_rate * l2

    def forward(self, w: list[Array], image: Array) -> tuple[list[Array], list[Array]]:
        """Return the normalised net input x and the value phi = activation(x) of every layer, (units,) float64 each.

        w[l], (inputs + bias, outputs), joins layer l to layer l + 1; image (pixels,) uint8.
        """
        network = self.network
        x = [image / network.divisors[0]]
        phi = [network.activate(0, x[0])]
        for layer in range(len(w)):
            x.append(self.with_bias(phi[layer]) @ w[layer] / network.divisors[layer + 1])
            phi.append(network.activate(layer + 1, x[layer + 1]))
        return x, phi

    def update(self, w: list[Array], x: list[Array], phi: list[Array], target: Array) -> None:
        """Change the weights, in place, by the error of one exemplar; target (classes,) is its class, one-hot.

        A layer's delta is made with the weights above it as they were before this exemplar.
        """
        network = self.network
        delta = network.output_delta(target, phi[-1])
        for layer in reversed(range(len(w))):
            step = self.eta * np.outer(self.with_bias(phi[layer]), delta)
            if layer > 0:
                delta = w[layer][: network.sizes[layer]] @ delta * network.derivative(layer, x[layer], phi[layer])
            w[layer][:] = shrink(w[layer], self.a1, self.a2) + step

    def with_bias(self, phi: Array) -> Array:
        """Return a layer's values followed by its bias unit's 1, where there is one."""
        return np.append(phi, 1.0) if self.network.bias else phi

    def learn(
        self,
        weights: Array,
        images: Array,
        labels: Array,
        exemplars: Array,
        learned: Array,
        between: Callable[[], object] | None = None,
    ) -> tuple[float, float]:
        """Learn the exemplars, in their order, starting from `weights`; store the result in `learned`.

        weights, learned (parameters,) float32, possibly the same array; images (n, pixels) uint8; labels (n,) int32;
        exemplars (batch,) int32, positions in images and labels. `between` is called now and then between exemplars;
        an error that it raises ends learning, with nothing stored.
        Returns the seconds spent thinking (forward) and training (backward and update).
        """
        exact = weights.astype(np.float64)
        w = self.network.views(exact)
        targets = np.eye(self.network.sizes[-1])
        think = train = 0.0
        for exemplar in exemplars:
            start = perf_counter()
            x, phi = self.forward(w, images[exemplar])
            thought = perf_counter()
            self.update(w, x, phi, targets[labels[exemplar]])
            think += thought - start
            train += perf_counter() - thought
            if between:
                between()
        learned[:] = exact
        return think, train

    def classify(self, weights: Array, images: Array) -> Array:
        """Return the most likely class of each image, (n,) int; images (n, pixels) uint8."""
        return self.network.predict(weights, images).argmax(axis=1)
