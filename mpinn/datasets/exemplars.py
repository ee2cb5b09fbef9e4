"""One set of exemplars, training or test: images with their labels, checked against each other."""

from dataclasses import dataclass

import numpy as np

from mpinn.system.errors import UsageError

MOST_GREY = 255
MOST_LABEL = 2**16 - 1
MOST_PIXELS = 2**20  # of an image: a first layer of 100 units then has 400 MB of weights
LONGEST_NAME = 64  # characters, of a class


@dataclass(frozen=True)
class Exemplars:
    """A training or a test set, its images shaped as in the file."""

    source: str  # where the images come from, for messages
    images: np.ndarray  # (n, height, width) or (n, pixels): uint8, or what `scaling.Scale` makes grey levels of
    labels: np.ndarray  # (n,) int32, or text: names of classes

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    @property
    def size(self) -> str:
        """As people write it: '28 x 28 pixels'."""
        return " x ".join(map(str, self.image_shape)) + " pixels"


def checked(images: np.ndarray, labels: np.ndarray, source: str, labels_source: str) -> Exemplars:
    """Return images (n, ...) and labels (n,), of any type of numbers or text, as a set. Raises UsageError."""
    check_images(images, source)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise UsageError(
            f"{labels_source}: labels of type {labels.dtype} in an array of shape {labels.shape}; "
            f"expected integers or names, in the shape ({len(images)},)"
        )
    if len(labels) != len(images):
        raise UsageError(f"{labels_source}: {len(labels)} labels, but {len(images)} images in {source}")
    if labels.dtype.kind != "U":
        low, high = labels.min(), labels.max()
        if low < 0 or high > MOST_LABEL:
            raise UsageError(f"{labels_source}: labels from {low} to {high}; expected 0 to {MOST_LABEL} at most")
        labels = labels.astype(np.int32)
    return Exemplars(source, np.ascontiguousarray(as_numbers(images, source)), labels)


def check_images(images: np.ndarray, source: str) -> None:
    """Raise UsageError if there are no images (n, ...) in the array, or none with pixels."""
    if images.ndim < 2 or images.size == 0:
        raise UsageError(
            f"{source}: no images in an array of shape {images.shape}; "
            "expected (images, height, width) or (images, pixels), none of them 0"
        )


def check_pixels(pixels: int, source: str) -> None:
    """Raise UsageError for an image of more pixels than a network could learn."""
    if pixels > MOST_PIXELS:
        raise UsageError(f"{source}: images of {pixels:,} pixels; expected at most {MOST_PIXELS:,}: scale them down")


def as_numbers(values: np.ndarray, source: str) -> np.ndarray:
    """Return values of any type of numbers as uint8 or, where some are fractions, as they are. Raises UsageError."""
    if values.dtype == np.uint8:
        return values
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise UsageError(f"{source}: values that are no numbers, or infinite; write numbers")
    if low >= 0 and high <= MOST_GREY:
        grey = values.astype(np.uint8)
        if np.array_equal(grey, values):
            return grey
    if values.dtype.kind != "f" or not has_fractions(values):
        raise UsageError(f"{source}: integers from {low:g} to {high:g}; expected 0 to {MOST_GREY}, or fractions")
    return values


def has_fractions(values: np.ndarray) -> bool:
    return any((block != np.trunc(block)).any() for block in values)
