"""Microseconds an exemplar of the native and the reference kernel, side by side, on MNIST and one core.

Beside them the bound: the least that learning can take on this core, reading the weights that an exemplar lights
twice and writing them once. All take turns, so that what disturbs one disturbs the others: trust the ratios, not the
times. A turn is five worker batches, of which the first is not timed: it brings the caches to where they are in
training, where one batch follows another.
"""

from statistics import median

import numpy as np

from bench.programs import program
from mpinn import datasets, kernels
from mpinn.model.network import Network
from mpinn.parallel.schedule import epoch_order
from mpinn.system.command_line import run_command
from mpinn.system.errors import UsageError

BATCH = 100
TURN = 5  # worker batches
TOLERANCE = 1e-5  # of a weight after one batch


def main() -> int:
    parser = program.parser("kernel_speed", __doc__)
    layers = [784, 100, 10]
    parser.add_argument(
        "--layers", type=program.positive, nargs="+", default=layers, metavar="UNITS", help="units of each layer"
    )
    parser.add_argument(
        "--input", choices=("identity", "sigmoid"), default="identity", help="activation of the input: sigmoid is dense"
    )
    parser.add_argument(
        "--turns", type=program.positive, default=12, metavar="N", help="turns, of five worker batches of 100"
    )
    asked = parser.parse_args()
    digits = datasets.load()
    most = len(digits.train_labels) // (TURN * BATCH)
    if asked.turns > most:
        raise UsageError(f"--turns {asked.turns}: MNIST has exemplars for {most}")
    network = Network(tuple(asked.layers), (asked.input, *["elu"] * (len(asked.layers) - 2), "softmax"))
    order = epoch_order(0, 1, len(digits.train_labels))
    chosen = [kernels.choose(name, network, 0.8, 1e-7, 1e-7) for name in ("auto", "reference")]
    kinds = {kernel.name: kernel for kernel in chosen}
    np.empty(2**24, np.uint8)  # freed at once: from here on glibc keeps what NumPy frees, and no page comes and goes
    weights = {name: network.initial_weights(0) for name in kinds}
    spent: dict[str, list[float]] = {name: [] for name in kinds}
    bounds: list[float] = []
    after_one: dict[str, np.ndarray] = {}  # worker batch
    for turn in order[: asked.turns * TURN * BATCH].reshape(asked.turns, TURN, BATCH):
        for name, kernel in kinds.items():
            for number, batch in enumerate(turn):
                done = kernel.learner.learn(
                    weights[name], digits.train_images, digits.train_labels, batch, weights[name]
                )
                after_one.setdefault(name, weights[name].copy())
                if number:
                    spent[name].append(done.think + done.train)
        if "native" in kinds:
            native = kinds["native"].learner
            for number, batch in enumerate(turn):
                took = native.bound(weights["native"], digits.train_images, batch)  # type: ignore[attr-defined]
                if number:
                    bounds.append(took)
    timed = spent | ({"bound": bounds} if "native" in kinds else {})
    series = {f"{name}_microseconds": [1e6 * one / BATCH for one in times] for name, times in timed.items()}
    units = dict.fromkeys(series, "us")
    if "native" in kinds:
        for slow, fast in (("reference", "native"), ("native", "bound")):
            series[f"{slow}_by_{fast}"] = [s / f for s, f in zip(timed[slow], timed[fast], strict=True)]
            units[f"{slow}_by_{fast}"] = "1"
    apart = float(np.abs(after_one["native"] - after_one["reference"]).max()) if "native" in kinds else 0.0
    detail = f"{apart:.1e} from the reference kernel after one batch, at most {TOLERANCE:g}"
    checks = [program.check("the native kernel's weights", apart <= TOLERANCE, detail)] if "native" in kinds else []
    program.write(
        asked.result,
        {name: median(values) for name, values in series.items()},
        units,
        sum(map(sum, spent.values())),
        checks=checks,
        series=series,
        environment={"kernel_id": kinds["native"].id if "native" in kinds else kinds["reference"].id},
    )
    return 0


if __name__ == "__main__":
    run_command(main)
