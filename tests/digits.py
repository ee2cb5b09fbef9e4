"""A small data set for tests: two hundred lit pixels' worth of learnable structure, made in a moment."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mpinn.datasets import Dataset


def digits(train: int = 1010, test: int = 130, side: int = 12, classes: int = 5) -> Dataset:
    """Return noisy copies of one random mostly dark pattern a class; 1010 divides by few batches on purpose."""
    rng = np.random.default_rng(7)
    patterns = rng.integers(0, 256, (classes, side * side)) * (rng.random((classes, side * side)) < 0.3)
    labels = rng.integers(0, classes, train + test, dtype=np.int32)
    noise = rng.integers(0, 128, (train + test, side * side)) * (rng.random((train + test, side * side)) < 0.1)
    images = np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8)
    return Dataset("digits", (side, side), classes, images[:train], labels[:train], images[train:], labels[train:])


def framed() -> Dataset:
    """Return them with pixels that no exemplar lights: the first row and column."""
    data = digits()
    dark = np.zeros(data.image_shape, bool)
    dark[0] = dark[:, 0] = True
    lit = ~dark.ravel()
    return replace(data, train_images=data.train_images * lit, test_images=data.test_images * lit)


def write_npz(path: Path, data: Dataset | None = None) -> Path:
    """Write the data set as an NPZ that --data reads; return its path."""
    data = data or digits()
    np.savez(
        path,
        x_train=data.train_images.reshape(-1, *data.image_shape),
        y_train=data.train_labels,
        x_test=data.test_images.reshape(-1, *data.image_shape),
        y_test=data.test_labels,
    )
    return path
