"""Optimizers and merged gradients against PyTorch's own, where it is installed (the extra `peers`)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mpinn.kernels.native import Native
from mpinn.merging import optimizers
from mpinn.merging.optimizers import OPTIMIZERS, Hyper
from mpinn.model.network import Network
from mpinn.parallel.schedule import epoch_order
from tests.digits import digits

RATE, HYPER = 0.01, Hyper(0.9, 0.9, 0.99, 1e-6)
NO_SCHEDULE = 1e9  # of NAdam's beta1, after which it is what beta1 says
THEIRS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda w: torch.optim.SGD(w, RATE),
    "momentum": lambda w: torch.optim.SGD(w, RATE, momentum=0.9),
    "nesterov": lambda w: torch.optim.SGD(w, RATE, momentum=0.9, nesterov=True),
    "adagrad": lambda w: torch.optim.Adagrad(w, RATE, eps=1e-6),
    "rmsprop": lambda w: torch.optim.RMSprop(w, RATE, alpha=0.99, eps=1e-6),
    "adam": lambda w: torch.optim.Adam(w, RATE, betas=(0.9, 0.99), eps=1e-6),
    "nadam": lambda w: torch.optim.NAdam(w, RATE, betas=(0.9, 0.99), eps=1e-6, momentum_decay=NO_SCHEDULE),
    "rprop": lambda w: torch.optim.Rprop(w, RATE),
}


def test_every_optimizer_is_compared() -> None:
    assert set(THEIRS) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_steps_along_random_gradients_are_theirs(name: str) -> None:
    rng = np.random.default_rng(3)
    ours = rng.uniform(-1, 1, 500).astype(np.float32)
    theirs = torch.from_numpy(ours.copy()).requires_grad_()
    optimizer = THEIRS[name]([theirs])
    moments = np.zeros((len(OPTIMIZERS[name].moments), 500), np.float32)
    scale = 10.0 ** rng.uniform(-4, 1, 500)
    for t in range(1, 40):
        gradient = (scale * (np.sin(0.3 * t + np.arange(500)) + rng.standard_normal(500))).astype(np.float32)
        theirs.grad = torch.from_numpy(gradient)
        optimizer.step()
        c = np.array(OPTIMIZERS[name].numbers(HYPER, RATE, t), np.float32)
        optimizers.move(name, ours, moments, -gradient, 0.0, 0.0, c)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-5, err_msg=f"step {t}")


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_network_learns_the_same_weights_as_their_module(name: str) -> None:
    """The kernel's gradient and the optimizer, against autograd and theirs, over some minibatches."""
    data = digits()
    network = Network((144, 20, 5), loss="cross-entropy", layer_normalisation=False, initial="lecun", input_divisor=255)
    ours = network.initial_weights(1)
    layers = [torch.nn.Linear(144, 20), torch.nn.Linear(20, 5)]
    for layer, view in zip(layers, network.views(ours), strict=True):
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(view[:-1].T.copy()))
            layer.bias.copy_(torch.from_numpy(view[-1].copy()))
    module = torch.nn.Sequential(layers[0], torch.nn.ELU(network.alpha), layers[1])
    optimizer = THEIRS[name](module.parameters())
    moments = np.zeros((len(OPTIMIZERS[name].moments), len(ours)), np.float32)
    native, direction = Native(network, 1.0, 0, 0), np.empty_like(ours)
    order = epoch_order(1, 1, len(data.train_labels))
    for t in range(1, 11):
        batch = order[(t - 1) * 32 : t * 32]
        optimizer.zero_grad()
        inputs = torch.from_numpy(data.train_images[batch].astype(np.float32) / 255)
        torch.nn.functional.cross_entropy(module(inputs), torch.from_numpy(data.train_labels[batch]).long()).backward()
        optimizer.step()
        native.gradient(ours, data.train_images, data.train_labels, batch, direction)
        c = np.array(OPTIMIZERS[name].numbers(HYPER, RATE, t), np.float32)
        optimizers.move(name, ours, moments, direction, 0.0, 0.0, c)
    for layer, view in zip(layers, network.views(ours), strict=True):
        np.testing.assert_allclose(view[:-1].T, layer.weight.detach().numpy(), rtol=0, atol=2e-4)
        np.testing.assert_allclose(view[-1], layer.bias.detach().numpy(), rtol=0, atol=2e-4)
