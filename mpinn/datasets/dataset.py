"""Data sets: the embedded MNIST, or one's own as IDX, CSV or NPZ files, which may come from anywhere.

A reader trusts nothing in a file (`bounded`), and each ends in `exemplars.checked`.
"""

import dataclasses
import math
import stat
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mpinn.datasets import csv, idx, mnist, npz
from mpinn.datasets.bounded import named_errors
from mpinn.datasets.exemplars import Exemplars, check_images, checked
from mpinn.datasets.scaling import Scale
from mpinn.system.errors import UsageError

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")  # of a Dataset


@dataclass(frozen=True)
class Dataset:
    """A training and a test set. Arrays are C-contiguous; a row of images holds one image's grey levels."""

    name: str  # 'MNIST' for the embedded one, else the path
    image_shape: tuple[int, ...]  # (28, 28); (pixels,) where the files do not say
    classes: int
    train_images: np.ndarray  # (n, pixels) uint8
    train_labels: np.ndarray  # (n,) int32
    test_images: np.ndarray  # (m, pixels) uint8
    test_labels: np.ndarray  # (m,) int32
    class_names: tuple[str, ...] = ()  # in the order of their labels, where the files name them
    notes: tuple[str, ...] = ()  # what was done to the files' content, and what is odd about it

    @property
    def pixels(self) -> int:
        """Number of inputs of a network that learns these data."""
        return math.prod(self.image_shape)

    @property
    def about(self) -> dict[str, Any]:
        """All fields but the arrays, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ARRAYS}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, name).nbytes for name in ARRAYS)

    @cached_property
    def lit_pixels(self) -> np.ndarray:
        """Whether any training image lights a pixel, (pixels,) bool."""
        lit: np.ndarray = self.train_images.max(axis=0) > 0
        return lit

    @cached_property
    def commonest_percent(self) -> float:
        """How much of the training set is of its commonest class."""
        return 100 * float(np.bincount(self.train_labels).max()) / len(self.train_labels)

    @cached_property
    def fingerprint(self) -> str:
        """CRC-32 of the training images and labels, in hexadecimal: equal where a snapshot is of the same data."""
        return f"{zlib.crc32(self.train_labels.data, zlib.crc32(self.train_images.data)):08x}"


def load(path: str | Path | None = None, test_path: str | Path | None = None) -> Dataset:
    """Return the embedded MNIST, or the data set at `path`; its test set from `test_path`, if that is given.

    A path is a directory with the four IDX files or with train.csv and test.csv (plain or .gz), an NPZ file
    with x_train, y_train, x_test and y_test, or a CSV file, which holds one set only. Raises UsageError.
    """
    train_path = mnist.DIRECTORY if path is None else Path(path)
    if test_path is None and is_csv(train_path):
        raise UsageError(f"{path}: a CSV file holds one set only; give the test set with --test-data")
    train = read_set(train_path, "train")
    test = read_set(train_path if test_path is None else Path(test_path), "test")
    image_shape = max(train.image_shape, test.image_shape, key=len)
    alike = image_shape, (math.prod(image_shape),)
    if train.image_shape not in alike or test.image_shape not in alike:
        raise UsageError(
            f"{test.source}: test images of {test.size}, "
            f"but training images of {train.size} in {train.source}; give sets of the same size"
        )
    scale = Scale.of(train.images)
    scaled = (scale.note,) if train.images.dtype != np.uint8 else ()
    names, train_labels, test_labels = numbered(train, test)
    classes = max(2, 1 + int(train_labels.max()))
    return Dataset(
        name="MNIST" if path is None else str(path),
        image_shape=image_shape,
        classes=classes,
        train_images=scale.grey(train.images).reshape(len(train.images), -1),
        train_labels=train_labels,
        test_images=scale.grey(test.images).reshape(len(test.images), -1),
        test_labels=test_labels,
        class_names=names,
        notes=scaled + gap(train_labels, classes),
    )


def numbered(train: Exemplars, test: Exemplars) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Return the names of classes, where they have some, and the labels of both sets as int32. Raises UsageError."""
    known = np.unique(train.labels)
    if (train.labels.dtype.kind == "U") != (test.labels.dtype.kind == "U"):
        raise UsageError(f"{test.source}: classes have names in one set and numbers in the other; write both alike")
    strange = np.setdiff1d(test.labels, known)
    if len(strange):
        raise UsageError(
            f"{test.source}: class {strange[0]} is not in the training set, {train.source}, which has "
            f"{', '.join(map(str, known[:12]))}{' and others' if len(known) > 12 else ''}; nobody could learn it"
        )
    if train.labels.dtype.kind != "U":
        return (), train.labels, test.labels
    first, second = (np.searchsorted(known, one.labels).astype(np.int32) for one in (train, test))
    return tuple(map(str, known)), first, second


def gap(labels: np.ndarray, classes: int) -> tuple[str, ...]:
    """Return what is odd about labels, if they leave out numbers below their largest."""
    found = len(np.unique(labels))
    if found == classes or (found == 1 and classes == 2):
        return ()
    return (f"only {found} of the labels 0 to {classes - 1} occur: {classes - found} outputs learn nothing",)


def load_images(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images, (n, pixels) uint8, and where they are known their labels, (n,) int32.

    A path is an IDX file of images, or any that `load` takes: then its test set. Raises UsageError.
    """
    path = Path(path)
    if is_directory(path) or is_npz(path) or is_csv(path):
        found = read_set(path, "test")
        images, labels = as_grey(found), None if found.labels.dtype.kind == "U" else found.labels
    else:
        images, labels = idx.read_array(path, "images"), None
        check_images(images, str(path))
    return images.reshape(len(images), -1), labels


def as_grey(found: Exemplars) -> np.ndarray:
    """Return the images of a set that comes without its training set, uint8. Raises UsageError."""
    if found.images.dtype != np.uint8 and not (found.images.min() >= 0 and found.images.max() <= 1):
        raise UsageError(f"{found.source}: neither grey levels 0 to 255 nor fractions 0 to 1; scale as for training")
    return found.images if found.images.dtype == np.uint8 else Scale(0.0, 1.0).grey(found.images)


def is_directory(path: Path) -> bool:
    """Return whether the path leads to a directory. Raises UsageError if it leads nowhere."""
    with named_errors(path):
        return stat.S_ISDIR(path.stat().st_mode)


def is_npz(path: Path) -> bool:
    return path.name.lower().endswith(".npz")


def is_csv(path: Path) -> bool:
    return path.name.lower().endswith((".csv", ".csv.gz"))


def read_set(path: Path, part: str) -> Exemplars:
    """Return the set `part`, 'train' or 'test', of what is at the path. Raises UsageError."""
    if is_directory(path):
        return read_directory(path, part)
    if is_npz(path):
        return npz.read_set(path, part)
    if is_csv(path):
        return csv.read_set(path)
    raise UsageError(f"{path}: no known kind of data; give a directory of IDX or CSV files, or .npz, or .csv")


def read_directory(directory: Path, part: str) -> Exemplars:
    """Return the set `part` of a directory with IDX or CSV files. Raises UsageError."""
    stem = {"train": "train", "test": "t10k"}[part]
    names = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte", f"{part}.csv"
    with named_errors(directory):
        images, labels, table = (find(directory, name) for name in names)
    if images and labels:
        return checked(idx.read_array(images, "images"), idx.read_array(labels, "labels"), str(images), str(labels))
    if table:
        return csv.read_set(table)
    raise UsageError(
        f"{directory}: holds no {part} set: looked for {names[0]} with {names[1]}, and for {names[2]}, "
        "each plain or .gz"
    )


def find(directory: Path, name: str) -> Path | None:
    """Return the file of that name, plain or .gz; an IDX name may be spelled with a dot."""
    dotted = name.replace("-idx", ".idx")
    paths = (directory / spelling for spelling in (name, f"{name}.gz", dotted, f"{dotted}.gz"))
    return next((path for path in paths if path.exists()), None)
