"""`python -m bench.programs.peers.torch_eager`: the same network, data and per-exemplar SGD in PyTorch.

Without --in-place it is written as one writes PyTorch: a module, autograd, torch.optim.SGD; the paper's gradient (only
the diagonal of the softmax's Jacobian, no layer sizes in it) takes two autograd functions. With --in-place there is no
autograd: the update by hand on one vector of weights. With --ranks it is local SGD with model averaging over gloo, as
mpinn's round: each rank, on a core of its own, learns a worker batch of 100, then all_reduce makes the mean of their
weights.
"""

import argparse
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from bench.programs.peers import task as tasks
from bench.programs.peers.task import NETWORK, Task
from bench.programs.program import NotHereError
from mpinn.system.command_line import run_command
from mpinn.system.errors import MpinnError

if TYPE_CHECKING:
    from bench.programs.peers.torch_learners import Eager, InPlace


def main() -> int:
    parser = tasks.parser("torch_eager", __doc__, workers="ranks")
    parser.add_argument("--in-place", action="store_true", help="by hand and in place, without autograd")
    asked = parser.parse_args()
    task = tasks.task_of(asked, asked.ranks)
    try:
        import torch.multiprocessing
    except ImportError as error:
        raise NotHereError(f"PyTorch cannot be imported ({error}): pip install 'mpinn-bench[peers]'") from None
    if asked.ranks == 1:
        measure(0, asked, task, None)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            torch.multiprocessing.start_processes(
                measure,
                (asked, task, Path(folder) / "meeting"),
                asked.ranks,
                start_method="fork",  # so that none ends its interpreter, which a thread of gloo may outlive: SIGABRT
            )
        except (torch.multiprocessing.ProcessExitedException, torch.multiprocessing.ProcessRaisedException) as error:
            raise MpinnError(f"a rank failed: {str(error).strip().splitlines()[-1]}") from None
    return 0


def measure(rank: int, asked: argparse.Namespace, task: Task, meeting: Path | None) -> None:
    """Train as one rank; rank 0 writes the result. `meeting` is a file that the ranks, if several, meet by."""
    import torch

    from bench.programs.peers.torch_learners import Eager, InPlace

    torch.set_num_threads(1)
    if meeting:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=task.workers)
    learner = InPlace() if asked.in_place else Eager()
    ((_, first),) = train(learner, rank, task.first_round())
    epochs = train(learner, rank, task)
    if meeting:
        torch.distributed.destroy_process_group()
    if rank == 0:
        tasks.report(
            asked.result,
            task,
            [tasks.epoch(seconds, weights) for seconds, weights in epochs],
            tasks.same_as_reference(task, first),
            {"torch": torch.__version__, "threads": torch.get_num_threads()},
            workers="ranks",
        )


def train(learner: "Eager | InPlace", rank: int, task: Task) -> list[tuple[float, np.ndarray]]:
    """Return the seconds of each epoch and the weights after it, (parameters,) float32."""
    import torch
    from torch import distributed

    mnist = tasks.digits()
    images, labels = torch.from_numpy(mnist.train_images), mnist.train_labels.tolist()
    learner.load(NETWORK.initial_weights(task.seed))
    epochs = []
    for number in range(1, task.epochs + 1):
        batches = [batch[batch >= 0].tolist() for batch in task.batches(number, range(rank, rank + 1))[:, 0]]
        rounds = [task.schedule.counts(round_).all for round_ in range(task.schedule.rounds)]
        if task.workers > 1:
            distributed.barrier()
        start = perf_counter()
        for batch, learned in zip(batches, rounds, strict=True):
            learner.learn(images, labels, batch)
            if task.workers > 1:
                for tensor in learner.tensors():
                    distributed.all_reduce(tensor.mul_(len(batch) / learned))
        epochs.append((perf_counter() - start, learner.weights()))
    return epochs


if __name__ == "__main__":
    run_command(main)
