"""How PyTorch learns one exemplar after another: with autograd, and by hand in place. Needs PyTorch."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bench.programs.peers.task import NETWORK, SETTINGS
from mpinn.config import LEARNING_RATE

HIDDEN, CLASSES = NETWORK.sizes[1:]
INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE = NETWORK.divisors
TARGETS = torch.eye(CLASSES)


class Normalise(torch.autograd.Function):
    """Division by a layer's size, which does not appear in the paper's gradient."""

    @staticmethod
    def forward(ctx: Any, net: torch.Tensor, size: int) -> torch.Tensor:
        return net / size

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


class Softmax(torch.autograd.Function):
    """Softmax, and backward only the diagonal of its Jacobian, as in the paper."""

    @staticmethod
    def forward(ctx: Any, net: torch.Tensor) -> torch.Tensor:
        phi = net.softmax(-1)
        ctx.save_for_backward(phi)
        return phi

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (phi,) = ctx.saved_tensors
        return gradient * phi * (1 - phi)


class Eager(nn.Module):
    """The network as a module: autograd, `torch.optim.SGD`, its weight decay as the elastic net's quadratic part."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(NETWORK.sizes[0], HIDDEN)
        self.output = nn.Linear(HIDDEN, CLASSES)
        self.optimiser = torch.optim.SGD(self.parameters(), lr=LEARNING_RATE, weight_decay=SETTINGS.l2)

    @torch.no_grad()
    def load(self, weights: np.ndarray) -> None:
        """Take the weights (parameters,) float32."""
        for linear, w in zip((self.hidden, self.output), NETWORK.views(weights), strict=True):
            linear.weight.copy_(torch.from_numpy(w[:-1].T))
            linear.bias.copy_(torch.from_numpy(w[-1]))

    def weights(self) -> np.ndarray:
        """Return a copy of the weights, (parameters,) float32."""
        parts = [part for linear in (self.hidden, self.output) for part in (linear.weight.T.flatten(), linear.bias)]
        return torch.cat(parts).detach().numpy()

    def tensors(self) -> list[torch.Tensor]:
        """Return the parameters themselves, for merging."""
        return [parameter.data for parameter in self.parameters()]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        phi = functional.elu(Normalise.apply(self.hidden(x), HIDDEN_SIZE), SETTINGS.alpha)
        return Softmax.apply(Normalise.apply(self.output(phi), OUTPUT_SIZE))

    def learn(self, images: torch.Tensor, labels: list[int], exemplars: Iterable[int]) -> None:
        """Learn the exemplars in their order; images (n, pixels) uint8."""
        for exemplar in exemplars:
            self.optimiser.zero_grad()
            phi = self(images[exemplar] / INPUT_SIZE)
            loss = 0.5 * (TARGETS[labels[exemplar]] - phi).square().sum()
            loss.backward()
            for parameter in self.parameters():
                parameter.grad.add_(parameter.sign(), alpha=SETTINGS.l1)
            self.optimiser.step()


class InPlace:
    """The same by hand: one vector of weights, buffers made once, no autograd.

    Like `Eager` it lets a weight that the elastic net pulls over zero pass zero, by less than 1e-7.
    """

    def __init__(self) -> None:
        self.flat = torch.zeros(NETWORK.parameters)
        self.w1, self.w2 = (torch.from_numpy(view) for view in NETWORK.views(self.flat.numpy()))
        self.pull = torch.empty_like(self.flat)
        self.x = torch.ones(NETWORK.sizes[0] + 1)  # each layer's values with its bias unit's 1 behind them
        self.phi = torch.ones(HIDDEN + 1)

    def load(self, weights: np.ndarray) -> None:
        """Take the weights (parameters,) float32."""
        self.flat.copy_(torch.from_numpy(weights))

    def weights(self) -> np.ndarray:
        """Return a copy of the weights, (parameters,) float32."""
        return self.flat.numpy().copy()

    def tensors(self) -> list[torch.Tensor]:
        """Return the parameters themselves, for merging."""
        return [self.flat]

    @torch.no_grad()
    def learn(self, images: torch.Tensor, labels: list[int], exemplars: Iterable[int]) -> None:
        """Learn the exemplars in their order; images (n, pixels) uint8."""
        eta, alpha = LEARNING_RATE, SETTINGS.alpha
        a1, a2 = eta * SETTINGS.l1, eta * SETTINGS.l2
        pixels, hidden = self.x[:-1], self.phi[:-1]
        w1_transposed, w2_transposed, w2_hidden = self.w1.T, self.w2.T, self.w2[:-1]
        for exemplar in exemplars:
            torch.div(images[exemplar], INPUT_SIZE, out=pixels)
            torch.mv(w1_transposed, self.x, out=hidden)
            functional.elu_(hidden.div_(HIDDEN_SIZE), alpha)
            phi = torch.mv(w2_transposed, self.phi).div_(OUTPUT_SIZE).softmax(0)
            delta = (TARGETS[labels[exemplar]] - phi).mul_(phi).mul_(1 - phi)
            hidden_delta = torch.mv(w2_hidden, delta).mul_(torch.where(hidden > 0, 1.0, hidden + alpha))
            torch.sign(self.flat, out=self.pull)
            self.flat.sub_(self.pull.mul_(a1).add_(self.flat, alpha=a2))
            self.w2.addr_(self.phi, delta, alpha=eta)
            self.w1.addr_(self.x, hidden_delta, alpha=eta)
