"""How one worker learns one batch, in NumPy and float64: the definition that every other kernel is held against.

One exemplar at a time: forward, backward, update. All of the mathematics is in `learn` and `shrink`.
"""

from time import perf_counter

import numpy as np

from mpinn.network import Network, output_delta


def shrink(w: np.ndarray, a1: float, a2: float) -> np.ndarray:
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

    def learn(
        self,
        weights: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        exemplars: np.ndarray,
        learned: np.ndarray,
    ) -> tuple[float, float]:
        """Learn the exemplars, in their order, starting from `weights`; what they become goes into `learned`.

        weights, learned (parameters,) float32, and may be the same array; images (n, pixels) uint8; labels (n,) int32;
        exemplars (batch,) int32, positions.
        Returns the seconds spent thinking (forward) and training (backward and update).
        """
        net = self.network
        exact = weights.astype(np.float64)
        w = net.views(exact)  # w[l] joins layer l to layer l + 1
        targets = np.eye(net.sizes[-1])
        think = train = 0.0
        for exemplar in exemplars:
            start = perf_counter()
            x = [images[exemplar] / net.divisors[0]]
            phi = [net.activate(0, x[0])]
            for layer in range(len(w)):
                x.append(self.with_bias(phi[layer]) @ w[layer] / net.divisors[layer + 1])
                phi.append(net.activate(layer + 1, x[layer + 1]))
            thought = perf_counter()
            delta = output_delta(net.loss, targets[labels[exemplar]], phi[-1])
            for layer in reversed(range(len(w))):
                step = self.eta * np.outer(self.with_bias(phi[layer]), delta)
                if layer > 0:
                    delta = w[layer][: net.sizes[layer]] @ delta * net.derivative(layer, x[layer], phi[layer])
                w[layer][:] = shrink(w[layer], self.a1, self.a2) + step
            think += thought - start
            train += perf_counter() - thought
        learned[:] = exact
        return think, train

    def with_bias(self, phi: np.ndarray) -> np.ndarray:
        """Return a layer's values with its bias unit's 1 behind them, where there is one."""
        return np.append(phi, 1.0) if self.network.bias else phi

    def classify(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Return the most likely class of each image, (n,) int; images (n, pixels) uint8."""
        return self.network.predict(weights, images).argmax(axis=1)
