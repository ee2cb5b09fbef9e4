"""Lesson 5, packing structs, which here is how weights lie in memory: float32 or float64, rows padded or packed.

The paper's dense step on the first layer, in NumPy: net inputs, then the outer product added to the weights. Packed, a
row has 100 weights; padded, it begins on a cache line.
"""

from functools import partial
from statistics import median

import numpy as np

from bench.programs import program
from mpinn.model.network import Network
from mpinn.system.command_line import run_command

LINE = 64  # bytes of a cache line
INPUTS, OUTPUTS = Network().shapes[0]
TOLERANCE = 1e-4  # of a net input, relative to the largest
STEP = 1e-3


class Layer:
    """A (785, 100) array of weights, and the buffer of its update."""

    def __init__(self, weights: np.ndarray, kind: type, padded: bool) -> None:
        numbers = LINE // np.dtype(kind).itemsize
        width = -(-OUTPUTS // numbers) * numbers if padded else OUTPUTS
        self.weights, self.update = (aligned(width, kind)[:, :OUTPUTS] for _ in range(2))
        self.weights[:] = weights

    def step(self, pixels: np.ndarray, deltas: np.ndarray) -> np.ndarray:
        """Return the net inputs for pixels (785,), and add the outer product with deltas (100,) to the weights."""
        net: np.ndarray = pixels @ self.weights
        np.multiply(pixels[:, None], deltas, out=self.update)
        self.weights += self.update
        return net


def aligned(width: int, kind: type) -> np.ndarray:
    """Return zeros (785, width) that begin on a cache line."""
    size = np.dtype(kind).itemsize
    room: np.ndarray = np.zeros(INPUTS * width + LINE // size, kind)
    start = -room.ctypes.data % LINE // size
    return room[start : start + INPUTS * width].reshape(INPUTS, width)


def steps(layer: Layer, pixels: np.ndarray, deltas: np.ndarray, count: int) -> None:
    for _ in range(count):
        layer.step(pixels, deltas)


def main() -> int:
    parser = program.parser("lessons.layout", __doc__)
    parser.add_argument("--turns", type=program.positive, default=25, metavar="N", help="turns of each layout")
    parser.add_argument("--steps", type=program.positive, default=200, metavar="N", help="steps of a turn")
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    weights, pixels, deltas = random.random((INPUTS, OUTPUTS)), random.random(INPUTS), STEP * random.random(OUTPUTS)
    layers = {
        f"{kind.__name__}_{'padded' if padded else 'packed'}": Layer(weights, kind, padded)
        for kind in (np.float32, np.float64)
        for padded in (False, True)
    }
    work = {
        name: (layer, pixels.astype(layer.weights.dtype), deltas.astype(layer.weights.dtype))
        for name, layer in layers.items()
    }
    spent = program.in_turn({name: partial(steps, *parts, asked.steps) for name, parts in work.items()}, asked.turns)
    nets = {name: layer.step(x, delta) for name, (layer, x, delta) in work.items()}
    right = nets["float64_packed"]
    apart = max(float(np.abs(net - right).max() / np.abs(right).max()) for net in nets.values())
    metrics = {f"{name}_microseconds": 1e6 * median(times) / asked.steps for name, times in spent.items()}
    units = dict.fromkeys(metrics, "us")
    for name, slow, fast in (
        ("float64_by_float32", "float64_packed", "float32_packed"),
        ("packed_by_padded", "float32_packed", "float32_padded"),
    ):
        metrics[name] = median(a / b for a, b in zip(spent[slow], spent[fast], strict=True))
        units[name] = "1"
    detail = f"{apart:.1e} apart, at most {TOLERANCE:g}"
    checks = [program.check("net inputs of all layouts", apart <= TOLERANCE, detail)]
    program.write(asked.result, metrics, units, sum(map(sum, spent.values())), checks=checks)
    return 0


if __name__ == "__main__":
    run_command(main)
