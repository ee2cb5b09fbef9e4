"""Optimizers and merged gradients against PyTorch's own, where it is installed (the extra `peers`)."""

import numpy as np
import pytest
import torch

from bench.programs.peers.torch_minibatches import THEIRS, Perceptron
from mpinn.datasets import Dataset, load
from mpinn.kernels.native import Native
from mpinn.merging import optimizers
from mpinn.merging.optimizers import OPTIMIZERS, Hyper
from mpinn.model.network import Network
from mpinn.parallel.schedule import epoch_order
from tests.digits import digits

RATE, HYPER = 0.01, Hyper(0.9, 0.9, 0.99, 1e-6)
USUAL = {"sgd": 0.25, "momentum": 0.025, "nesterov": 0.025}  # rates under cross-entropy; of others their own
SEEDS = (0, 1, 2)


def test_every_optimizer_is_compared() -> None:
    assert set(THEIRS) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_steps_along_random_gradients_are_theirs(name: str) -> None:
    rng = np.random.default_rng(3)
    ours = rng.uniform(-1, 1, 500).astype(np.float32)
    theirs = torch.from_numpy(ours.copy()).requires_grad_()
    optimizer = THEIRS[name]([theirs], RATE, HYPER)
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
    ours, module = learned_by_both(name, network, data, seed=1, rate=RATE, batch=32, steps=10)
    np.testing.assert_allclose(ours, module.weights(), rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", sorted({*OPTIMIZERS} - {"rprop"}))  # which is not for minibatches
def test_accuracies_of_mnist_are_theirs_within_what_seeds_differ(name: str) -> None:
    """A third of an epoch, from the same weights and in the same order."""
    data = load()
    network = Network(loss="cross-entropy", layer_normalisation=False, initial="lecun", input_divisor=255)
    accuracies = []
    for seed in SEEDS:
        rate = USUAL.get(name, OPTIMIZERS[name].rate)
        ours, module = learned_by_both(name, network, data, seed, rate, batch=64, steps=300)
        mine = network.predict(ours, data.test_images).argmax(axis=1)
        other = module.accuracy(torch.from_numpy(data.test_images), torch.from_numpy(data.test_labels))
        accuracies.append([100 * float(np.mean(mine == data.test_labels)), other])
    found = np.array(accuracies)
    assert found.min() > 90
    apart, spread = np.abs(found[:, 0] - found[:, 1]), np.ptp(found, axis=0).max()
    assert apart.max() <= max(spread, 0.3), (apart, spread)


def learned_by_both(
    name: str, network: Network, data: Dataset, seed: int, rate: float, batch: int, steps: int
) -> tuple[np.ndarray, Perceptron]:
    """Return our weights and their module after some steps from the same weights and with the same minibatches."""
    ours = network.initial_weights(seed)
    module = Perceptron(network, ours, name, rate, HYPER)
    moments = np.zeros((len(OPTIMIZERS[name].moments), len(ours)), np.float32)
    native, direction = Native(network, 1.0, 0, 0), np.empty_like(ours)
    order = epoch_order(seed, 1, len(data.train_labels))
    for t in range(1, steps + 1):
        chosen = order[(t - 1) * batch : t * batch]
        module.learn(torch.from_numpy(data.train_images[chosen]), torch.from_numpy(data.train_labels[chosen]).long())
        native.gradient(ours, data.train_images, data.train_labels, chosen, direction)
        c = np.array(OPTIMIZERS[name].numbers(HYPER, rate, t), np.float32)
        optimizers.move(name, ours, moments, direction, 0.0, 0.0, c)
    return ours, module
