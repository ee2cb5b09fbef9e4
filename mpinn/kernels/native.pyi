"""What the compiled module offers; in the source the types are C's."""

import numpy as np

from mpinn.model.network import Network

VECTORS: str  # which c/vectors.h chose
FUSED: bool  # whether the processor fuses multiplications and additions

def declines(network: Network, rule: str) -> str: ...
def self_test() -> list[str]: ...

class Native:
    def __init__(self, network: Network, learning_rate: float, l1: float, l2: float) -> None: ...
    def learn(
        self,
        weights: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        exemplars: np.ndarray,
        learned: np.ndarray,
    ) -> tuple[float, float]: ...
    def bound(self, weights: np.ndarray, images: np.ndarray, exemplars: np.ndarray) -> float: ...
    def classify(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray: ...

def store_steps(
    term: np.ndarray, learned: np.ndarray, master: np.ndarray, factor: float, most: int
) -> tuple[int, int]: ...
def store_copy(term: np.ndarray, learned: np.ndarray) -> int: ...
def store_rounded(term: np.ndarray, learned: np.ndarray, exemplars: float, constant: float) -> int: ...
def add(total: np.ndarray, terms: np.ndarray, counts: np.ndarray) -> None: ...
def move(
    rule: str, weights: np.ndarray, moments: np.ndarray, total: np.ndarray, share: float, momentum: float
) -> None: ...
def merge(
    rule: str,
    weights: np.ndarray,
    moments: np.ndarray,
    terms: np.ndarray,
    counts: np.ndarray,
    share: float,
    momentum: float,
) -> None: ...
