"""Data sets: the embedded MNIST, and readers for IDX, CSV and NPZ files that may come from anywhere.

A file is not trusted: a size that it claims is compared with its own size, memory grows only as data arrive,
nothing is unpickled, and whatever is wrong is a UsageError of one line that names the file. All formats end
in `exemplars`, where images and labels are checked against each other.
"""

import gzip
import hashlib
import math
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import IO

import numpy as np

from mpinn.errors import UsageError

MNIST = Path(__file__).parent / "data" / "mnist"
MNIST_SHA256 = {  # of the uncompressed files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

MOST_GREY = 255
MOST_LABEL = 2**16 - 1

CHUNK = 2**20  # bytes read at a time
LONGEST_LINE = 2**24  # bytes
MAX_BYTES = 2**33  # of data in one file, uncompressed
MAX_RATIO = 200  # of data to the size of their file; MNIST's is 5
ANY_RATIO = 2**26  # bytes of data up to which the ratio does not matter

DAMAGED = (  # what gzip, zipfile and numpy raise for bytes that make no sense
    *(EOFError, OverflowError, RuntimeError, ValueError),
    *(gzip.BadGzipFile, struct.error, zipfile.BadZipFile, zlib.error),
)
GZIP_MAGIC = b"\x1f\x8b"
IDX_MAGIC = {"images": b"\x00\x00\x08\x03", "labels": b"\x00\x00\x08\x01"}  # bytes, in 3 dimensions and in 1
NPY_MAGIC = b"\x93NUMPY\x01\x00"
NPY_HEADER = re.compile(  # a Python dictionary, its keys in any order
    rb"(?=.*'descr': *'([<>|]?(?:[iu][1248]|f[248]))')"
    rb"(?=.*'fortran_order': *(True|False))"
    rb"(?=.*'shape': *\(([\d, ]*)\))",
    re.DOTALL,
)
CSV_HEADER = re.compile("(\xef\xbb\xbf)? *[\"']?[A-Za-z_#]")  # the bytes are UTF-8's byte order mark
CSV_INTEGER = re.compile(" *[0-9]{1,5} *")

Stream = IO[bytes] | BufferedIOBase


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

    @property
    def pixels(self) -> int:
        """Number of inputs of a network that learns these data."""
        return math.prod(self.image_shape)


@dataclass(frozen=True)
class Exemplars:
    """A training or a test set, its images shaped as in the file."""

    source: str  # where the images come from, for messages
    images: np.ndarray  # (n, height, width) or (n, pixels) uint8
    labels: np.ndarray  # (n,) int32

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    @property
    def size(self) -> str:
        """As people write it: '28 x 28 pixels'."""
        return " x ".join(map(str, self.image_shape)) + " pixels"


def load(path: str | Path | None = None, test_path: str | Path | None = None) -> Dataset:
    """Return the embedded MNIST, or the data set at `path`; its test set from `test_path`, if that is given.

    A path is a directory with the four IDX files or with train.csv and test.csv (plain or .gz), an NPZ file
    with x_train, y_train, x_test and y_test, or a CSV file, which holds one set only. Raises UsageError.
    """
    train_path = MNIST if path is None else Path(path)
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
    return Dataset(
        name="MNIST" if path is None else str(path),
        image_shape=image_shape,
        classes=max(2, 1 + int(max(train.labels.max(), test.labels.max()))),
        train_images=train.images.reshape(len(train.images), -1),
        train_labels=train.labels,
        test_images=test.images.reshape(len(test.images), -1),
        test_labels=test.labels,
    )


def load_images(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images, (n, pixels) uint8, and where they are known their labels, (n,) int32.

    A path is an IDX file of images, or any that `load` takes: then its test set. Raises UsageError.
    """
    path = Path(path)
    if is_directory(path) or is_npz(path) or is_csv(path):
        found = read_set(path, "test")
        images, labels = found.images, found.labels
    else:
        images, labels = read_idx(path, "images"), None
        check_images(images, str(path))
    return images.reshape(len(images), -1), labels


def is_directory(path: Path) -> bool:
    """Return whether the path leads to a directory. Raises UsageError if it leads nowhere."""
    with complaints(path):
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
        return read_npz(path, part)
    if is_csv(path):
        return read_csv(path)
    raise UsageError(f"{path}: no known kind of data; give a directory of IDX or CSV files, or .npz, or .csv")


def read_directory(directory: Path, part: str) -> Exemplars:
    """Return the set `part` of a directory with IDX or CSV files. Raises UsageError."""
    stem = {"train": "train", "test": "t10k"}[part]
    names = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte", f"{part}.csv"
    with complaints(directory):
        images, labels, csv = (find(directory, name) for name in names)
    if images and labels:
        return exemplars(read_idx(images, "images"), read_idx(labels, "labels"), str(images), str(labels))
    if csv:
        return read_csv(csv)
    raise UsageError(
        f"{directory}: holds no {part} set: looked for {names[0]} with {names[1]}, and for {names[2]}, "
        "each plain or .gz"
    )


def find(directory: Path, name: str) -> Path | None:
    """Return the file of that name, plain or .gz; an IDX name may be spelled with a dot."""
    dotted = name.replace("-idx", ".idx")
    paths = (directory / spelling for spelling in (name, f"{name}.gz", dotted, f"{dotted}.gz"))
    return next((path for path in paths if path.exists()), None)


def exemplars(images: np.ndarray, labels: np.ndarray, source: str, labels_source: str) -> Exemplars:
    """Return images (n, ...) and labels (n,), of any type of numbers, as a set. Raises UsageError."""
    check_images(images, source)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UsageError(
            f"{labels_source}: labels of type {labels.dtype} in an array of shape {labels.shape}; "
            f"expected integers, in the shape ({len(images)},)"
        )
    if len(labels) != len(images):
        raise UsageError(f"{labels_source}: {len(labels)} labels, but {len(images)} images in {source}")
    low, high = labels.min(), labels.max()
    if low < 0 or high > MOST_LABEL:
        raise UsageError(f"{labels_source}: labels from {low} to {high}; expected 0 to {MOST_LABEL} at most")
    return Exemplars(source, np.ascontiguousarray(as_grey(images, source)), labels.astype(np.int32))


def check_images(images: np.ndarray, source: str) -> None:
    """Raise UsageError if there are no images (n, ...) in the array, or none with pixels."""
    if images.ndim < 2 or images.size == 0:
        raise UsageError(
            f"{source}: no images in an array of shape {images.shape}; "
            "expected (images, height, width) or (images, pixels), none of them 0"
        )


def as_grey(values: np.ndarray, source: str) -> np.ndarray:
    """Return values of any type of numbers as uint8. Raises UsageError if they are not grey levels."""
    if values.dtype == np.uint8:
        return values
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= MOST_GREY):  # so that NaN is refused too
        raise UsageError(f"{source}: values from {low} to {high}; expected integers from 0 to {MOST_GREY}")
    grey = values.astype(np.uint8)
    if not np.array_equal(grey, values):
        raise UsageError(f"{source}: fractions; expected unscaled grey levels, integers 0 to {MOST_GREY}")
    return grey


def read_idx(path: Path, kind: str) -> np.ndarray:
    """Return an IDX file of 'images' (n, height, width) or 'labels' (n,) as uint8. Raises UsageError."""
    magic = IDX_MAGIC[kind]
    with opened(path) as (file, limit):
        stream = unzipped(file)
        found = bytes(read(stream, len(magic), str(path)))
        if found != magic:
            known = "".join(f" (that of {name})" for name in IDX_MAGIC if IDX_MAGIC[name] == found)
            raise UsageError(
                f"{path}: not an IDX file of {kind}: its magic number is 0x{found.hex()}{known}; "
                f"expected 0x{magic.hex()}"
            )
        header = read(stream, 4 * magic[-1], str(path))
        shape = struct.unpack(f">{magic[-1]}I", header)
        content = read_rest(stream, math.prod(shape), limit, str(path))
        array = np.frombuffer(content, np.uint8).reshape(shape)
    if path.parent == MNIST:
        digest = hashlib.sha256(magic + header)
        digest.update(content)
        if digest.hexdigest() != MNIST_SHA256.get(path.stem):
            raise UsageError(f"{path}: the embedded MNIST is damaged: wrong SHA-256; install mpinn again")
    return array


def read_npz(path: Path, part: str) -> Exemplars:
    """Return the set `part` of an NPZ file. Raises UsageError."""
    sources = f"{path}, x_{part}", f"{path}, y_{part}"
    with opened(path) as (file, limit), zipfile.ZipFile(file) as archive:
        images = read_npy(archive, f"x_{part}.npy", limit, sources[0])
        labels = read_npy(archive, f"y_{part}.npy", limit, sources[1])
        return exemplars(images, labels, *sources)


def read_npy(archive: zipfile.ZipFile, name: str, limit: int, source: str) -> np.ndarray:
    """Return an array of numbers; NumPy's reader would allocate what a header claims. Raises UsageError."""
    if name not in archive.namelist():
        raise UsageError(f"{source}: not in the file; expected x_train, y_train, x_test and y_test")
    member = archive.getinfo(name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UsageError(f"{source}: compressed in a way that NumPy does not use; write it with numpy.savez")
    with archive.open(member) as stream:
        magic, length = read(stream, len(NPY_MAGIC), source), read(stream, 2, source)
        header = NPY_HEADER.match(read(stream, int.from_bytes(length, "little"), source))
        if magic != NPY_MAGIC or header is None:
            raise UsageError(f"{source}: not an array of numbers; write integers or floats with numpy.savez")
        dtype = np.dtype(header[1].decode())
        shape = [int(size) for size in header[3].split(b",") if size.strip()]
        content = read_rest(stream, math.prod(shape) * dtype.itemsize, limit, source)
        return np.frombuffer(content, dtype).reshape(shape, order="F" if header[2] == b"True" else "C")


def read_csv(path: Path) -> Exemplars:
    """Return a CSV file, a label and then grey levels in each row, as a set. Raises UsageError."""
    images, labels = bytearray(), bytearray()
    columns = 0
    with opened(path) as (file, limit):
        for number, lines in blocks(unzipped(file), limit, str(path)):
            try:
                rows = parse_rows([line for line in lines if line], columns)
            except ValueError:
                raise UsageError(f"{path}, {next(faults(lines, number, columns))}") from None
            columns = rows.shape[1]
            labels += rows[:, 0].tobytes()
            images += rows[:, 1:].astype(np.uint8).tobytes()
    if not columns:
        raise UsageError(f"{path}: no rows; expected a label and grey levels in each")
    label_array = np.frombuffer(labels, np.uint16)
    image_array = np.frombuffer(images, np.uint8).reshape(len(label_array), columns - 1)
    return exemplars(image_array, label_array, str(path), str(path))


def blocks(stream: Stream, limit: int, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV file, many at a time, with the number of the first; a header is left blank."""
    number = 1
    while block := stream.read(CHUNK):
        rest = stream.readline(LONGEST_LINE)
        check_size(stream.tell(), limit, source)
        lines = [line.strip(" \r") for line in (block + rest).decode("latin-1").split("\n")]
        if len(rest) == LONGEST_LINE:
            raise UsageError(f"{source}, line {number + len(lines) - 1}: longer than {LONGEST_LINE:,} bytes")
        if number == 1 and CSV_HEADER.match(lines[0]):
            lines[0] = ""
        if any(lines):
            yield number, lines
        number += len(lines) - 1


def parse_rows(lines: list[str], columns: int) -> np.ndarray:
    """Return lines of a CSV file as (n, columns) uint16; 0 columns mean any number. Raises ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older NumPy reads 1.5 as 1, and only warns
        rows = np.loadtxt(lines, np.uint16, delimiter=",", comments=None, ndmin=2)
    if columns not in (0, rows.shape[1]) or (rows[:, 1:] > MOST_GREY).any():
        raise ValueError
    return rows


def faults(lines: list[str], first: int, columns: int) -> Iterator[str]:
    """Yield what is wrong with lines of a CSV file, the first of which has the number `first`."""
    for number, line in enumerate(lines, first):
        fields = line.split(",") if line else []
        columns = columns or len(fields)
        if len(fields) not in (0, columns):
            yield f"line {number}: {len(fields)} columns, but {columns} in the rows before"
        for column, field in enumerate(fields, 1):
            highest = MOST_LABEL if column == 1 else MOST_GREY
            if not CSV_INTEGER.fullmatch(field) or int(field) > highest:
                yield f"line {number}, column {column}: {field[:20]!r} is not an integer from 0 to {highest}"


@contextmanager
def complaints(path: Path) -> Iterator[None]:
    """Turn what a bad file raises into a UsageError that names it."""
    try:
        yield
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise UsageError(f"{path}: damaged: {reason}; copy or download it again") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; check path, rights and content") from None
    except MemoryError:
        raise UsageError(f"{path}: too large for this machine's memory; give fewer exemplars") from None


@contextmanager
def opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """Open a file; give it with the most bytes of data that it is believed to hold. Raises UsageError."""
    with complaints(path):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path}: not a regular file")
        with path.open("rb") as file:
            yield file, min(MAX_BYTES, max(ANY_RATIO, MAX_RATIO * status.st_size))


def unzipped(file: BufferedReader) -> Stream:
    """Return the file, decompressed if it is gzipped, whatever its name."""
    return gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == GZIP_MAGIC else file


def read(stream: Stream, size: int, source: str) -> bytearray:
    """Return the next `size` bytes; memory grows only as they arrive. Raises UsageError if they are fewer."""
    content = bytearray()
    while len(content) < size:
        chunk = stream.read(min(CHUNK, size - len(content)))
        if not chunk:
            raise UsageError(f"{source}: truncated: {size:,} bytes expected where {len(content):,} are left")
        content += chunk
    return content


def read_rest(stream: Stream, size: int, limit: int, source: str) -> bytearray:
    """Return the rest of a stream, `size` bytes as a header claims. Raises UsageError if that is not so."""
    check_size(size, limit, source)
    content = read(stream, size, source)
    if stream.read(1):
        raise UsageError(f"{source}: more data than the {size:,} bytes that its header announces")
    return content


def check_size(size: int, limit: int, source: str) -> None:
    """Raise UsageError if there are more data than a file of its size is believed to hold."""
    if size > limit:
        raise UsageError(
            f"{source}: {size:,} bytes of data, but a file of its size is trusted with {limit:,} at most; "
            "if they are right, give them uncompressed"
        )
