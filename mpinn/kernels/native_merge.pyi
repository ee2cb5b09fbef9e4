"""What the compiled module offers; in the source the types are C's."""

import numpy as np

COMPILED: bool

def declines(rule: str) -> str: ...
def add_rounded(total: np.ndarray, vectors: np.ndarray, counts: np.ndarray, constant: float, limit: float) -> bool: ...
def move_master(
    rule: str, weights: np.ndarray, moments: np.ndarray, total: np.ndarray, exemplars: int, momentum: float
) -> None: ...
def merge_workers(
    rule: str,
    weights: np.ndarray,
    moments: np.ndarray,
    vectors: np.ndarray,
    counts: np.ndarray,
    momentum: float,
    constant: float,
    limit: float,
) -> bool: ...
