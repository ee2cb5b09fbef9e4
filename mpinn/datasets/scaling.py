"""Fractions as grey levels: the network's inputs are one byte a pixel, however they were written."""

from typing import NamedTuple

import numpy as np

from mpinn.datasets.exemplars import MOST_GREY


class Scale(NamedTuple):
    """What values become grey levels 0 and 255. 0 stays dark wherever no value is negative."""

    low: float
    high: float

    @classmethod
    def of(cls, images: np.ndarray) -> "Scale":
        """Return the scale of a training set; that of grey levels is their own."""
        if images.dtype == np.uint8:
            return cls(0.0, float(MOST_GREY))
        low, high = min(0.0, float(images.min())), float(images.max())
        return cls(low, high if high > low else low + 1.0)

    def grey(self, images: np.ndarray) -> np.ndarray:
        """Return images (n, ...) as grey levels, uint8: rounded, and cut where they lie beyond the training set's."""
        if images.dtype == np.uint8 and self == Scale.of(images):
            return images
        grey = np.empty(images.shape, np.uint8)
        for place, image in enumerate(images):  # one by one: a copy of all as float64 would be eight times as large
            share = (image.astype(np.float64) - self.low) / (self.high - self.low)
            grey[place] = np.rint(MOST_GREY * np.clip(share, 0.0, 1.0))
        return grey

    @property
    def note(self) -> str:
        """What has been done, in words."""
        return f"values from {self.low:g} to {self.high:g} became grey levels 0 to {MOST_GREY}"
