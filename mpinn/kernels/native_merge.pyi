"""What the compiled module offers; in the source the types are C's."""

import numpy as np

COMPILED: bool

def add_rounded(total: np.ndarray, vectors: np.ndarray, counts: np.ndarray, constant: float, limit: float) -> bool: ...
def move_master(
    master: np.ndarray, velocity: np.ndarray | None, total: np.ndarray, exemplars: int, momentum: float
) -> None: ...
def merge_workers(
    master: np.ndarray,
    velocity: np.ndarray | None,
    vectors: np.ndarray,
    counts: np.ndarray,
    momentum: float,
    constant: float,
    limit: float,
) -> bool: ...
