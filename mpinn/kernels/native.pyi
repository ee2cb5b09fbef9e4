"""What the compiled module offers; in the source the types are C's."""

import numpy as np

from mpinn.model.network import Network

COMPILED: bool

def declines(network: Network) -> str: ...

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
