"""Which sums have to travel between ranks: not those of pixels that no exemplar of the data set ever lights.

Nothing is learned about such a pixel: a worker batch only shrinks its weights, and to the same for every worker with as
many exemplars. So the sum over all workers is known without asking: that of those here, by their number, times all.
(In MNIST 67 of 784 pixels: 8 % of what is sent.)
"""

import numpy as np

from mpinn.model.network import Network


def learned_weights(network: Network, lit_pixels: np.ndarray) -> np.ndarray:
    """Return which weights workers learn apart, (parameters,) bool; lit_pixels (pixels,) bool: `Dataset.lit_pixels`."""
    found = np.ones(network.parameters, bool)
    if network.input_table()[0] == 0:
        network.views(found)[0][: network.sizes[0]] = lit_pixels[:, None]
    return found


class Travelling:
    """The parts of a vector of sums that are sent."""

    def __init__(self, learned: np.ndarray, notes: int, dtype: type[np.generic]) -> None:
        """`learned`, (n,) bool: of the weights whose sums come first; after them there are so many notes."""
        sent = np.append(learned, np.ones(notes, bool))
        self.sent, self.known = runs(sent), runs(~sent)
        self.packed = np.empty(np.count_nonzero(sent), dtype)

    def fill(self, sums: np.ndarray, here: int, everywhere: int) -> None:
        """Make what is known in `sums`, of so many workers here, that of all; all have learned as many exemplars."""
        for run in self.known:
            sums[run] = sums[run] / here * everywhere

    def pack(self, sums: np.ndarray) -> np.ndarray:
        """Return what is to be sent, an array that is used again."""
        return np.concatenate([sums[run] for run in self.sent], out=self.packed)

    def unpack(self, sums: np.ndarray) -> None:
        """Write to `sums` what was sent."""
        start = 0
        for run in self.sent:
            end = start + run.stop - run.start
            sums[run] = self.packed[start:end]
            start = end


def runs(chosen: np.ndarray) -> list[slice]:
    """Return where (n,) bool is true, as slices."""
    edges = np.flatnonzero(np.diff(chosen, prepend=False, append=False))
    return [slice(*pair) for pair in edges.reshape(-1, 2).tolist()]
