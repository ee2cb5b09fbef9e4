"""What the compiled module offers; in the source the types are C's. It has its own `mpinn.merging.sums`, compiled."""

from collections.abc import Callable, Sequence

import numpy as np

from mpinn.kernels.reference import Learned
from mpinn.merging.sums import add as add
from mpinn.merging.sums import go_on as go_on
from mpinn.merging.sums import move as move
from mpinn.merging.sums import pass_on as pass_on
from mpinn.merging.sums import write as write
from mpinn.merging.term import Term
from mpinn.model.network import Network

VECTORS: str  # which c/vectors.h chose
FUSED: bool  # whether the processor fuses multiplications and additions

def declines(network: Network, rule: str) -> str: ...
def self_test() -> list[str]: ...

class Native:
    def __init__(
        self,
        network: Network,
        learning_rate: float,
        l1: float,
        l2: float,
        layer_rates: Sequence[float] | None = None,
        momentum: float = 0.0,
    ) -> None: ...
    def set_epoch(self, seed: int, epoch: int) -> None: ...
    def set_rate(self, learning_rate: float) -> None: ...
    def learn(
        self,
        weights: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        exemplars: np.ndarray,
        learned: np.ndarray | Term,
        between: Callable[[], object] | None = None,
    ) -> Learned: ...
    def gradient(
        self,
        weights: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        exemplars: np.ndarray,
        direction: np.ndarray | Term,
        between: Callable[[], object] | None = None,
    ) -> Learned: ...
    def bound(self, weights: np.ndarray, images: np.ndarray, exemplars: np.ndarray) -> float: ...
    def classify(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray: ...
