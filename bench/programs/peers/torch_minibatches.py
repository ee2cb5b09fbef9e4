"""How PyTorch learns minibatches: a module, autograd and its own optimizers. Needs PyTorch."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mpinn.merging.optimizers import Hyper
from mpinn.model.network import GREY_LEVELS, Network

NO_SCHEDULE = 1e9  # of NAdam's beta1, after which it is what beta1 says
Weights = Iterable[nn.Parameter]
THEIRS: dict[str, Callable[[Weights, float, Hyper], torch.optim.Optimizer]] = {
    "sgd": lambda w, rate, h: torch.optim.SGD(w, rate),
    "momentum": lambda w, rate, h: torch.optim.SGD(w, rate, momentum=h.momentum),
    "nesterov": lambda w, rate, h: torch.optim.SGD(w, rate, momentum=h.momentum, nesterov=True),
    "adagrad": lambda w, rate, h: torch.optim.Adagrad(w, rate, eps=h.epsilon),
    "rmsprop": lambda w, rate, h: torch.optim.RMSprop(w, rate, alpha=h.beta2, eps=h.epsilon),
    "adam": lambda w, rate, h: torch.optim.Adam(w, rate, betas=(h.beta1, h.beta2), eps=h.epsilon),
    "nadam": lambda w, rate, h: torch.optim.NAdam(
        w, rate, betas=(h.beta1, h.beta2), eps=h.epsilon, momentum_decay=NO_SCHEDULE
    ),
    "rprop": lambda w, rate, h: torch.optim.Rprop(w, rate),
}


class Perceptron(nn.Module):
    """A network with ELU between its layers, from weights (parameters,) float32, and the optimizer that moves it."""

    def __init__(self, network: Network, weights: np.ndarray, name: str, rate: float, hyper: Hyper) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(network.sizes))
        self.alpha = network.alpha
        for layer, view in zip(self.layers, network.views(weights), strict=True):
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(view[:-1].T))
                layer.bias.copy_(torch.from_numpy(view[-1]))
        self.optimizer = THEIRS[name](self.parameters(), rate, hyper)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the net inputs of the last layer, (n, classes); images (n, pixels) uint8."""
        phi = images.float() / (GREY_LEVELS - 1)
        for layer in self.layers[:-1]:
            phi = functional.elu(layer(phi), self.alpha)
        return self.layers[-1](phi)

    def learn(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Make one step for a minibatch under cross-entropy; images (n, pixels) uint8, labels (n,) int64."""
        self.optimizer.zero_grad()
        functional.cross_entropy(self(images), labels).backward()
        self.optimizer.step()

    def accuracy(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Return the percentage of images that it classifies right."""
        with torch.no_grad():
            return 100 * float((self(images).argmax(1) == labels).double().mean())

    def weights(self) -> np.ndarray:
        """Return the weights, (parameters,) float32."""
        parts = [part for layer in self.layers for part in (layer.weight.T.flatten(), layer.bias)]
        return torch.cat(parts).detach().numpy()
