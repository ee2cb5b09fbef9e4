"""`python -m bench.programs.peers.torch_optimizers`: the networks of the suite `learning` by PyTorch's optimizers.

A module, autograd, torch.optim, minibatches of 64, one thread. Network, initial weights, order of exemplars, learning
rate and settings of the optimizer are those that mpinn has for `--merge gradient --loss cross-entropy`. Only the
elastic net (1e-7) is left out.
"""

from time import perf_counter
from typing import Any

import numpy as np

from bench.programs import program
from bench.programs.peers import task as tasks
from bench.programs.peers.task import Epoch, Task
from bench.programs.program import NotHereError
from mpinn import config
from mpinn.config import Options, Settings
from mpinn.kernels.reference import Reference
from mpinn.merging import optimizers
from mpinn.merging.optimizers import OPTIMIZERS
from mpinn.system.command_line import run_command

MINIBATCH = 64
FIRST = 10  # minibatches after which the weights are compared
NEAR = 0.001  # of the way that the weights went, so far may they be apart


def main() -> int:
    parser = tasks.parser("torch_optimizers", __doc__)
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="sgd", help="that moves the weights")
    parser.add_argument("--layers", type=program.positive, nargs="+", default=[784, 100, 10], help="units of each")
    asked = parser.parse_args()
    task = tasks.task_of(asked, workers=1)
    settings = settings_of(asked.optimizer, tuple(asked.layers), task)
    try:
        import torch
    except ImportError as error:
        raise NotHereError(f"PyTorch cannot be imported ({error}): pip install 'mpinn-bench[peers]'") from None
    torch.set_num_threads(1)
    check = same_at_first(task, settings)
    epochs = train(task, settings)
    tasks.report(asked.result, task, epochs, check, {"torch": torch.__version__, "threads": 1})
    return 0


def settings_of(optimizer: str, layers: tuple[int, ...], task: Task) -> Settings:
    """Return the settings that mpinn learns with. Raises UsageError."""
    options = Options(
        layers=layers, loss="cross-entropy", merge="gradient", optimizer=optimizer, worker_batch=MINIBATCH
    )
    mnist = tasks.digits()
    return config.resolve(options, MINIBATCH, mnist.pixels, mnist.classes, len(mnist.train_labels), 1)


def minibatches(task: Task, epoch: int) -> list[np.ndarray]:
    """Return the minibatches of an epoch (from 1), (MINIBATCH,) int32 each; the last may be shorter."""
    order = task.order(epoch)
    return [order[start : start + MINIBATCH] for start in range(0, len(order), MINIBATCH)]


def perceptron(task: Task, settings: Settings) -> Any:
    from bench.programs.peers.torch_minibatches import Perceptron

    weights, name = settings.network.initial_weights(task.seed), str(settings.optimizer)
    return Perceptron(settings.network, weights, name, settings.master_rate, settings.hyper)


def train(task: Task, settings: Settings) -> list[Epoch]:
    """Return what came of each epoch."""
    import torch

    mnist, module = tasks.digits(), perceptron(task, settings)
    images, labels = torch.from_numpy(mnist.train_images), torch.from_numpy(mnist.train_labels).long()
    test_images, test_labels = torch.from_numpy(mnist.test_images), torch.from_numpy(mnist.test_labels).long()
    epochs = []
    for number in range(1, task.epochs + 1):
        batches = [torch.from_numpy(batch) for batch in minibatches(task, number)]
        start = perf_counter()
        for batch in batches:
            module.learn(images[batch], labels[batch])
        seconds = perf_counter() - start
        epochs.append(Epoch(seconds, module.accuracy(images, labels), module.accuracy(test_images, test_labels)))
    return epochs


def same_at_first(task: Task, settings: Settings) -> dict[str, Any]:
    """Return the check that the first minibatches lead to the weights that the reference kernel comes to."""
    import torch

    mnist, module = tasks.digits(), perceptron(task, settings)
    name, network = str(settings.optimizer), settings.network
    start = network.initial_weights(task.seed)
    ours, direction = start.copy(), np.empty_like(start)
    moments = np.zeros((len(OPTIMIZERS[name].moments), len(start)), np.float32)
    reference = Reference(network, 1.0, 0, 0)
    for t, batch in enumerate(minibatches(task, 1)[:FIRST], 1):
        module.learn(torch.from_numpy(mnist.train_images[batch]), torch.from_numpy(mnist.train_labels[batch]).long())
        reference.gradient(ours, mnist.train_images, mnist.train_labels, batch, direction)
        numbers = np.array(OPTIMIZERS[name].numbers(settings.hyper, settings.master_rate, t), np.float32)
        optimizers.move(name, ours, moments, direction, 0.0, 0.0, numbers)
    apart = float(np.linalg.norm(module.weights() - ours) / np.linalg.norm(ours - start))
    detail = (
        f"after the first minibatches weights are {apart:.1e} of their way from mpinn's formulas' (at most {NEAR:g})"
    )
    return program.check("first minibatches", apart <= NEAR, detail)


if __name__ == "__main__":
    run_command(main)
