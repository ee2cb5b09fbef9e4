"""What is learned from: data sets, and the readers of their formats."""

from mpinn.datasets.dataset import ARRAYS, Dataset, load, load_images

__all__ = ["ARRAYS", "Dataset", "load", "load_images"]
