"""What other ways of learning cost on one core, on MNIST: gradients and momentum beside plain steps, and optimizers.

Plain steps, gradients and steps with momentum take turns over the same worker batches: trust the ratios. An optimizer's
step is that over all weights, given the sum of workers' terms, as one rank alone does it.
"""

from statistics import median
from time import perf_counter

import numpy as np

from bench.programs import program
from mpinn import datasets
from mpinn.kernels import kernel
from mpinn.merging.optimizers import OPTIMIZERS, Hyper
from mpinn.merging.rules import RULES
from mpinn.model.network import Network
from mpinn.parallel.schedule import epoch_order
from mpinn.system.command_line import run_command

BATCH = 100
TURN = 5  # worker batches, of which the first is not timed
STEPS = 50  # of an optimizer
HYPER = Hyper(0.9, 0.9, 0.999, 1e-8)


def main() -> int:
    parser = program.parser("learning_speed", __doc__)
    parser.add_argument(
        "--layers",
        type=program.positive,
        nargs="+",
        default=[784, 100, 10],
        metavar="UNITS",
        help="units of each layer",
    )
    parser.add_argument(
        "--turns", type=program.positive, default=20, metavar="N", help="turns, of five worker batches of 100"
    )
    asked = parser.parse_args()
    digits = datasets.load()
    network = Network(tuple(asked.layers), ("identity", *["elu"] * (len(asked.layers) - 2), "softmax"))
    order = epoch_order(0, 1, len(digits.train_labels))
    batches = order[: len(order) // (TURN * BATCH) * TURN * BATCH].reshape(-1, TURN, BATCH)
    steps, moving = (kernel.choose("native", network, 0.05, 1e-7, 1e-7, momentum=mu) for mu in (0.0, 0.9))
    start, learned = network.initial_weights(0), np.empty(network.parameters, np.float32)
    ways = {"steps": steps.learner.learn, "gradient": steps.learner.gradient, "momentum": moving.learner.learn}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(asked.turns):
        for name, learn in ways.items():
            for number, batch in enumerate(batches[turn % len(batches)]):
                begun = perf_counter()
                learn(start, digits.train_images, digits.train_labels, batch, learned)
                if number:
                    spent[name].append(perf_counter() - begun)
    series = {f"{name}_microseconds": [1e6 * one / BATCH for one in times] for name, times in spent.items()}
    units = dict.fromkeys(series, "us")
    for name in ("gradient", "momentum"):
        series[f"{name}_by_steps"] = [slow / fast for slow, fast in zip(spent[name], spent["steps"], strict=True)]
        units[f"{name}_by_steps"] = "1"
    total = np.random.default_rng(0).integers(-1000, 1000, network.parameters, np.int32)
    for name, about in OPTIMIZERS.items():
        moments = np.zeros((len(RULES[name].moments), network.parameters), np.float32)
        numbers = np.array([0.0, 1e-10, 1e-10, *about.numbers(HYPER, 1e-4, 5)])
        series[f"{name}_step_microseconds"], units[f"{name}_step_microseconds"] = [], "us"
        for _ in range(STEPS):
            begun = perf_counter()
            steps.merger.move(name, start, moments, total, 1e-6, numbers)
            series[f"{name}_step_microseconds"].append(1e6 * (perf_counter() - begun))
    metrics = {name: median(values) for name, values in series.items()}
    measured = sum(map(sum, spent.values()))
    finite = bool(np.isfinite(start).all())
    checks = [program.check("the optimizers' weights", finite, "all are numbers")]
    program.write(
        asked.result, metrics, units, measured, checks=checks, series=series, environment={"kernel_id": steps.id}
    )
    return 0


if __name__ == "__main__":
    run_command(main)
