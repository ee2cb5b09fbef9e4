"""Every reader returns what was written, and answers anything else with one line that names the file."""

import gzip
import os
import shutil
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpinn.datasets import Dataset, bounded, csv, load, load_images, mnist
from mpinn.system.errors import UsageError
from tests import data_files
from tests.data_files import FORMATS, Files, arrays, files, idx, npy, npz, write

MIB = 2**20


def small(train: int = 6, test: int = 4, shape: tuple[int, ...] = (3, 2), classes: int = 3) -> Dataset:
    """Return a data set with 0, 255 and every label in it."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (train + test, int(np.prod(shape))), np.uint8)
    images[0, 0], images[0, -1] = 0, 255
    labels = np.arange(train + test, dtype=np.int32) % classes
    return Dataset("small", shape, classes, images[:train], labels[:train], images[train:], labels[train:])


def assert_sound(read: Dataset) -> None:
    for images, labels in ((read.train_images, read.train_labels), (read.test_images, read.test_labels)):
        assert images.dtype == np.uint8 and images.flags.c_contiguous
        assert labels.dtype == np.int32 and labels.flags.c_contiguous
        assert images.shape == (len(labels), read.pixels) and images.size
        assert 0 <= labels.min() <= labels.max() < read.classes


def assert_same(read: Dataset, written: Dataset) -> None:
    assert_sound(read)
    assert (read.classes, read.pixels) == (written.classes, written.pixels)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def refusal(*paths: Path | None) -> str:
    """Return the one line with which the data are refused."""
    with pytest.raises(UsageError) as caught:
        load(*paths)
    line = str(caught.value)
    assert line.isprintable()
    return line


# The embedded MNIST


def test_the_embedded_mnist_is_mnist() -> None:
    mnist = load()
    assert (mnist.name, mnist.image_shape, mnist.pixels, mnist.classes) == ("MNIST", (28, 28), 784, 10)
    assert_sound(mnist)
    assert mnist.train_images.shape == (60000, 784)
    assert mnist.test_images.shape == (10000, 784)
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(mnist.train_labels).tolist() == train
    assert np.bincount(mnist.test_labels).tolist() == test
    assert round(np.count_nonzero(mnist.train_images) / 60000, 1) == 149.9


def test_one_wrong_label_in_the_embedded_mnist_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(mnist.DIRECTORY, tmp_path / "mnist")
    path = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content))
    monkeypatch.setattr(mnist, "DIRECTORY", tmp_path / "mnist")
    line = refusal(None)
    assert str(path) in line and "SHA-256" in line


# What is written is what is read


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_as_it_was_written(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, files(small(), kind))
    read = load(path)
    assert_same(read, small())
    assert read.name == str(path)
    assert read.image_shape == ((6,) if "csv" in kind else (3, 2))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".CSV"])
def test_two_csv_files(tmp_path: Path, ending: str) -> None:
    kind = "csv.gz" if ending == ".csv.gz" else "csv"
    for (_, content), name in zip(files(small(), kind, header=False).items(), "ab", strict=True):
        (tmp_path / f"{name}{ending}").write_bytes(content)
    assert_same(load(tmp_path / f"a{ending}", tmp_path / f"b{ending}"), small())


@pytest.mark.parametrize("kind", ["idx", "csv", "npz"])
@pytest.mark.parametrize("other", ["idx", "csv", "npz"])
def test_the_test_set_may_come_from_elsewhere(tmp_path: Path, kind: str, other: str) -> None:
    written = small()
    paths = []
    for name, one in (("a", kind), ("b", other)):
        (tmp_path / name).mkdir()
        paths.append(write(tmp_path / name, files(written, one)))
    read = load(*paths)
    assert_same(read, written)
    assert read.image_shape == ((6,) if (kind, other) == ("csv", "csv") else (3, 2))


def test_a_set_for_which_another_is_given_need_not_be_there(tmp_path: Path) -> None:
    named = {name: npy(array) for name, array in arrays(small()).items()}
    (tmp_path / "train.npz").write_bytes(npz({name: named[name] for name in ("x_train", "y_train")}))
    (tmp_path / "test.npz").write_bytes(npz({name: named[name] for name in ("x_test", "y_test")}))
    assert_same(load(tmp_path / "train.npz", tmp_path / "test.npz"), small())


def test_the_embedded_training_set_with_another_test_set(tmp_path: Path) -> None:
    path = write(tmp_path, files(small(shape=(28, 28)), "idx"))
    read = load(None, path)
    assert (read.name, len(read.train_labels), len(read.test_labels)) == ("MNIST", 60000, 4)


@pytest.mark.parametrize("kind", ["u1", "i2", ">i4", "u8", "f2", "<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npz_may_hold_any_type_of_numbers_in_any_order(tmp_path: Path, kind: str, order: str) -> None:
    named = arrays(small())
    members = {name: npy(np.asarray(array, order=order)) for name, array in named.items()}
    for name in ("x_train", "x_test"):
        members[name] = npy(np.asarray(named[name].astype(kind), order=order))
    for name in ("y_train", "y_test"):
        members[name] = npy(named[name].astype(kind.replace("f", "i").replace("i2", "u2")))
    assert_same(load(write(tmp_path, {"data.npz": npz(members)})), small())


def test_an_npz_header_in_other_order(tmp_path: Path) -> None:
    members = {name: npy(array) for name, array in arrays(small()).items()}
    start, end = members["x_test"].index(b"{"), members["x_test"].index(b"\n") + 1
    header = b"{'shape':(4,3, 2), 'fortran_order':False, 'descr':'|u1'}".ljust(end - start - 1) + b"\n"
    members["x_test"] = members["x_test"][:start] + header + members["x_test"][end:]
    assert_same(load(write(tmp_path, {"data.npz": npz(members)})), small())


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\n\n  \n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: text.replace(b",", b" ,  "),
        lambda text: text.replace(b"label,", b'"label",'),
        lambda text: text.partition(b"\n")[2],
    ],
    ids=["CRLF", "byte order mark", "blank lines", "no last newline", "spaces", "quoted header", "no header"],
)
def test_spellings_of_csv(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    written = {name: change(content) for name, content in files(small(), "csv").items()}
    assert_same(load(write(tmp_path, written)), small())


@pytest.mark.parametrize("kind", ["csv", "csv.gz"])
def test_a_csv_of_many_blocks(tmp_path: Path, kind: str) -> None:
    written = small(train=4000, shape=(20, 20), classes=300)
    held = files(written, kind)
    assert len(files(written, "csv")["train.csv"]) > 5 * bounded.CHUNK
    assert_same(load(write(tmp_path, held)), written)


def test_plain_data_under_a_gz_name_and_the_reverse(tmp_path: Path) -> None:
    held = files(small(), "idx")
    held["train-images-idx3-ubyte.gz"] = held.pop("train-images-idx3-ubyte")
    held["t10k-images-idx3-ubyte"] = gzip.compress(held["t10k-images-idx3-ubyte"])
    assert_same(load(write(tmp_path, held)), small())


def test_there_are_never_fewer_than_two_classes(tmp_path: Path) -> None:
    assert load(write(tmp_path, files(small(classes=1), "npz"))).classes == 2


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Data sets that every format can hold."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    train, test = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    pixels = shape[0] * shape[1]
    grey = draw(st.binary(min_size=(train + test) * pixels, max_size=(train + test) * pixels))
    images = np.frombuffer(grey, np.uint8).reshape(train + test, pixels)
    labels = np.frombuffer(draw(st.binary(min_size=train, max_size=train)), np.uint8).astype(np.int32)
    tested = np.array(draw(st.lists(st.sampled_from(labels.tolist()), min_size=test, max_size=test)), np.int32)
    classes = max(2, int(labels.max()) + 1)
    return Dataset("any", shape, classes, images[:train], labels, images[train:], tested)


@settings(max_examples=40)
@given(datasets(), st.booleans())
def test_any_data_are_the_same_through_all_formats(written: Dataset, header: bool) -> None:
    for kind in FORMATS:
        with tempfile.TemporaryDirectory() as directory:
            assert_same(load(write(Path(directory), files(written, kind, header))), written)


# What is refused: the files that differ from good ones, the file to be named, and words of the line

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
GOOD = small()
GOOD_ARRAYS = arrays(GOOD)
GOOD_IDX = files(GOOD, "idx")


def header(count: int, rows: int = 3, columns: int = 2) -> bytes:
    return struct.pack(">4I", 0x803, count, rows, columns)


BAD_IDX: dict[str, tuple[Files, str, str]] = {
    "empty": ({IMAGES: b""}, IMAGES, "truncated"),
    "magic number alone": ({IMAGES: GOOD_IDX[IMAGES][:4]}, IMAGES, "truncated"),
    "short header": ({IMAGES: GOOD_IDX[IMAGES][:15]}, IMAGES, "truncated"),
    "truncated": ({IMAGES: GOOD_IDX[IMAGES][:-1]}, IMAGES, "truncated: 36 bytes expected where 35"),
    "truncated labels": ({LABELS: GOOD_IDX[LABELS][:-1]}, LABELS, "truncated"),
    "trailing": ({IMAGES: GOOD_IDX[IMAGES] + b"\0"}, IMAGES, "more data than the 36 bytes"),
    "bad magic number": ({IMAGES: b"\0\0\x08\x04" + bytes(20)}, IMAGES, "0x00000804; expected 0x00000803"),
    "floats": ({IMAGES: b"\0\0\x0d\x03" + bytes(20)}, IMAGES, "magic number"),
    "labels for images": (
        {IMAGES: GOOD_IDX[LABELS]},
        IMAGES,
        "0x00000801 (that of labels); expected 0x00000803",
    ),
    "images for labels": (
        {LABELS: GOOD_IDX[IMAGES]},
        LABELS,
        "0x00000803 (that of images); expected 0x00000801",
    ),
    "one label more": ({LABELS: idx(np.zeros(7))}, LABELS, "7 labels, but 6 images"),
    "no images": (
        {IMAGES: header(0), LABELS: idx(np.zeros(0))},
        IMAGES,
        "no images in an array of shape (0, 3, 2)",
    ),
    "no pixels": ({IMAGES: header(6, 0)}, IMAGES, "(6, 0, 2)"),
    "no images of absurd size": ({IMAGES: header(0, 2**32 - 1, 2**32 - 1)}, IMAGES, ""),
    "2^40 bytes": ({IMAGES: header(2**20, 2**10, 2**10)}, IMAGES, "1,099,511,627,776 bytes"),
    "2^96 bytes": ({IMAGES: header(2**32 - 1, 2**32 - 1, 2**32 - 1)}, IMAGES, "pixels; expected at most"),
    "other test images": (
        {"t10k-images-idx3-ubyte": idx(np.zeros((4, 2, 3)))},
        "t10k-images-idx3-ubyte",
        "2 x 3 pixels",
    ),
    "text": ({IMAGES: b"label,pixel0\n1,2\n"}, IMAGES, "magic number"),
    "half a gzip file": ({IMAGES: gzip.compress(GOOD_IDX[IMAGES])[:-9]}, IMAGES, "damaged"),
    "half a gzip header": ({IMAGES: b"\x1f\x8b"}, IMAGES, "damaged"),
    "gzip with bad checksum": ({IMAGES: gzip.compress(GOOD_IDX[IMAGES])[:-8] + bytes(8)}, IMAGES, "damaged"),
    "gzip with bad data": ({IMAGES: gzip.compress(b"")[:10] + b"\xff" * 20}, IMAGES, "damaged"),
    "gzip with trailing bytes": ({IMAGES: gzip.compress(GOOD_IDX[IMAGES] + b"\0")}, IMAGES, "more data"),
    "gzip with trailing rubbish": ({IMAGES: gzip.compress(GOOD_IDX[IMAGES]) + b"x"}, IMAGES, "damaged"),
}


@pytest.mark.parametrize("name", BAD_IDX)
def test_bad_idx_files(tmp_path: Path, name: str) -> None:
    changed, named, words = BAD_IDX[name]
    line = refusal(write(tmp_path, GOOD_IDX | changed))
    assert line.startswith(str(tmp_path / named)) and words in line


BAD_CSV: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ": no rows"),
    "header alone": (b"label,pixel0\n", ": no rows"),
    "blank": (b"\n \n\r\n", ": no rows"),
    "labels alone": (b"1\n2\n", ": no images in an array of shape (2, 0)"),
    "grey level of 256": (
        b"label,a,b\n1,2,3\n\n1,256,3\n",
        ", line 4, column 2: '256' is not an integer from 0 to 255",
    ),
    "negative grey level": (b"1,2,3\n1,2,-1\n", ", line 2, column 3: '-1'"),
    "label a fraction": (b"1,2,3\n1.5,2,3\n", ", line 2, column 1: '1.5'"),
    "fraction and letters": (
        b"1,2.5,3\n1,x,3\n",
        ", line 2, column 2: 'x' is not an integer from 0 to 255, nor a fraction",
    ),
    "beyond float32": (b"1,2.5,3\n1,1e39,3\n", ", line 2, column 2: '1e39'"),
    "NaN": (b"1,2,3\n1,nan,3\n", ", line 2, column 2: 'nan'"),
    "name after a number": (b"1,2,3\ncat,2,3\n", ", line 2, column 1: 'cat' is not an integer"),
    "number after a name": (b"cat,2,3\n7,2,3\n", ", line 2, column 1: '7' is not the name of a class"),
    "name too long": (
        b"cat,2,3\n" + b"c" * 65 + b",2,3\n",
        ", line 2, column 1: 'cccccccccccccccccccc' is not the name",
    ),
    "underscore": (b"1,2,3\n1,2_0,3\n", ", line 2, column 2: '2_0'"),
    "empty field": (b"1,2,3\n1,,3\n", ", line 2, column 2: ''"),
    "two numbers in a field": (b"1,2,3\n1,2 2,3\n", ", line 2, column 2: '2 2'"),
    "quotes": (b'1,2,3\n1,"2",3\n', ", line 2, column 2: '\"2\"'"),
    "bytes of no text": (b"1,2,3\n1,\xff\0,3\n", r", line 2, column 2: 'ÿ\x00'"),
    "carriage return within a line": (b"1,2,3\n1,2\r,3\n", r", line 2, column 2: '2\r'"),
    "label above 65535": (
        b"1,2,3\n65536,2,3\n",
        ", line 2, column 1: '65536' is not an integer from 0 to 65535",
    ),
    "huge label": (b"1,2,3\n" + b"9" * 5000 + b",2,3\n", ", line 2, column 1: '99999999999999999999'"),
    "negative label": (b"1,2,3\n-1,2,3\n", ", line 2, column 1: '-1'"),
    "label in letters": (b"1,2,3\nseven,2,3\n", ", line 2, column 1: 'seven'"),
    "bad value in the first row": (b"1,x,3\n1,2,3\n", ", line 1, column 2: 'x'"),
    "label of the first row a float": (b"1.0,2,3\n1,2,3\n", ", line 1, column 1: '1.0'"),
    "column too few": (b"1,2,3\n1,2\n", ", line 2: 2 columns, but 3"),
    "column too many": (b"1,2,3\n1,2,3,4\n", ", line 2: 4 columns, but 3"),
    "column too few in a later block": (
        b"1,2,3\n" * 200_000 + b"1,2\n",
        ", line 200001: 2 columns, but 3",
    ),
    "semicolons": (b"1;2;3\n", ", line 1, column 1: '1;2;3'"),
    "endless line": (b"1,2,3\n" + b"1," * (bounded.CHUNK + csv.LONGEST_LINE), ", line 2: longer than"),
    "endless line without commas": (b"x" * (bounded.CHUNK + csv.LONGEST_LINE), ", line 1: longer than"),
    "NPZ": (files(GOOD, "npz")["data.npz"], ", line "),
    "IDX": (GOOD_IDX[IMAGES], ", line "),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("name", BAD_CSV)
def test_bad_csv_files(tmp_path: Path, name: str, packed: bool) -> None:
    content, words = BAD_CSV[name]
    path = tmp_path / ("train.csv.gz" if packed else "train.csv")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    (tmp_path / "test.csv").write_bytes(b"1,2,3\n")
    for asked in ([tmp_path], [path, tmp_path / "test.csv"]):
        assert refusal(*asked).startswith(f"{path}{words}")


BAD_ARRAYS: dict[str, tuple[dict[str, np.ndarray], str, str]] = {
    "grey level of 256": (
        {"x_train": GOOD_ARRAYS["x_train"] + np.int64(256)},
        "x_train",
        "expected 0 to 255, or fractions",
    ),
    "negative grey level": (
        {"x_train": -GOOD_ARRAYS["x_train"].astype(np.int16)},
        "x_train",
        "integers from -255 to 0",
    ),
    "NaN": ({"x_train": np.full((6, 3, 2), np.nan)}, "x_train", "no numbers"),
    "signalling NaN": (
        {"x_train": np.full((6, 6), 0x7FA00001, "u4").view("f4")},
        "x_train",
        "no numbers",
    ),
    "infinity": ({"x_train": np.full((6, 3, 2), np.inf)}, "x_train", "infinite"),
    "name that cannot be printed": ({"y_train": np.array(["a", "b", "c", "d", "e", "\x1b[2J"])}, "y_train", "printed"),
    "name of nothing": ({"y_train": np.array(["a", "b", "c", "d", "e", " "])}, "y_train", "empty"),
    "names in one set": ({"y_train": np.array(list("abcabc"))}, "x_test", "names in one set"),
    "complex": ({"x_train": np.zeros((6, 3, 2), complex)}, "x_train", "not an array of numbers"),
    "truth": ({"x_train": np.zeros((6, 3, 2), bool)}, "x_train", "not an array of numbers"),
    "text": ({"x_train": np.zeros((6, 3, 2), "U3")}, "x_train", "text; expected numbers"),
    "pickle": ({"x_train": np.full((6, 3, 2), None)}, "x_train", "not an array of numbers"),
    "structure": ({"x_train": np.zeros((6, 3, 2), "u1,f4")}, "x_train", "not an array of numbers"),
    "a number": ({"x_train": np.uint8(3)}, "x_train", "array of shape ()"),
    "a row": ({"x_train": np.zeros(6, np.uint8)}, "x_train", "array of shape (6,)"),
    "no images": (
        {"x_train": np.zeros((0, 3, 2)), "y_train": np.zeros(0, int)},
        "x_train",
        "array of shape (0, 3, 2)",
    ),
    "no pixels": ({"x_train": np.zeros((6, 3, 0))}, "x_train", "array of shape (6, 3, 0)"),
    "one label less": ({"y_train": np.zeros(5, int)}, "y_train", "5 labels, but 6 images"),
    "labels in columns": ({"y_train": np.eye(6, 3, dtype=int)}, "y_train", "shape (6, 3); expected integers"),
    "float labels": ({"y_train": np.zeros(6)}, "y_train", "labels of type float64"),
    "negative label": ({"y_train": np.full(6, -1)}, "y_train", "labels from -1 to -1"),
    "label above 65535": ({"y_train": np.full(6, 65536)}, "y_train", "labels from 65536 to 65536"),
    "label of 2^64 - 1": (
        {"y_train": np.full(6, 2**64 - 1, "u8")},
        "y_train",
        "labels from 18446744073709551615",
    ),
    "other test images": ({"x_test": np.zeros((4, 2, 3))}, "x_test", "test images of 2 x 3 pixels"),
    "fewer test pixels": ({"x_test": np.zeros((4, 5))}, "x_test", "test images of 5 pixels"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_of_an_npz(tmp_path: Path, name: str) -> None:
    changed, named, words = BAD_ARRAYS[name]
    np.savez(tmp_path / "data.npz", **(GOOD_ARRAYS | changed))
    line = refusal(tmp_path / "data.npz")
    assert line.startswith(f"{tmp_path}/data.npz, {named}: ") and words in line


def with_header(text: bytes, content: bytes = b"") -> bytes:
    """Return an .npy whose header is that text."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def claim(shape: str, descr: str = "'|u1'") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()


BAD_NPY: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "truncated"),
    "short header": (npy(GOOD_ARRAYS["x_train"])[:20], "truncated"),
    "not NPY": (b"\x93NUMPI" + npy(GOOD_ARRAYS["x_train"])[6:], "not an array of numbers"),
    "another version": (b"\x93NUMPY\x09" + npy(GOOD_ARRAYS["x_train"])[7:], "not an array of numbers"),
    "truncated": (npy(GOOD_ARRAYS["x_train"])[:-1], "truncated: 36 bytes expected where 35"),
    "trailing": (npy(GOOD_ARRAYS["x_train"]) + b"\0", "more data"),
    "2^40 items": (with_header(claim("(1048576, 1048576)")), "1,099,511,627,776 bytes"),
    "10^60 items": (with_header(claim("(1" + "0" * 60 + ",)")), "trusted"),
    "10^5000 items": (with_header(claim("(1" + "0" * 5000 + ", 2)")), ""),
    "15 MiB that are not there": (
        with_header(claim("(15728640, 1)"), b"\0" * 9),
        "truncated: 15,728,640 bytes",
    ),
    "nothing of absurd shape": (with_header(claim("(0, 99999999999999999999, 9)")), ""),
    "a hundred dimensions": (with_header(claim("(" + "1, " * 100 + ")"), b"\0"), ""),
    "negative dimension": (with_header(claim("(-6, 6)")), "not an array of numbers"),
    "code": (with_header(claim("(__import__('os').abort(),)")), "not an array of numbers"),
    "code for a type": (with_header(claim("(6, 6)", "__import__('os').abort()")), "not an array of numbers"),
    "nested": (with_header(b"(" * 60000), "not an array of numbers"),
    "no such type": (with_header(claim("(6, 6)", "'|i3'")), "not an array of numbers"),
}


@pytest.mark.parametrize("name", BAD_NPY)
def test_bad_members_of_an_npz(tmp_path: Path, name: str) -> None:
    content, words = BAD_NPY[name]
    members = {key: npy(array) for key, array in GOOD_ARRAYS.items()} | {"x_train": content}
    line = refusal(write(tmp_path, {"data.npz": npz(members)}))
    assert line.startswith(f"{tmp_path}/data.npz") and words in line


def encrypted(content: bytes) -> bytes:
    """Return the zip with the bit set that says so, in every directory entry."""
    changed = bytearray(content)
    place = changed.find(b"PK\x01\x02")
    while place >= 0:
        changed[place + 8] |= 1
        place = changed.find(b"PK\x01\x02", place + 4)
    return bytes(changed)


GOOD_NPZ = files(GOOD, "npz")["data.npz"]
GOOD_MEMBERS = {name: npy(array) for name, array in GOOD_ARRAYS.items()}
BAD_NPZ: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a zip file"),
    "text": (b"hello", "not a zip file"),
    "truncated": (GOOD_NPZ[: len(GOOD_NPZ) // 2], "not a zip file"),
    "one array": (GOOD_MEMBERS["x_train"], "not a zip file"),
    "bad checksum": (
        GOOD_NPZ.replace(GOOD_MEMBERS["x_train"], bytes(len(GOOD_MEMBERS["x_train"]) - 36) + bytes(36)),
        "",
    ),
    "one grey level changed": (GOOD_NPZ.replace(GOOD.train_images.tobytes(), bytes(36)), "CRC-32"),
    "encrypted": (encrypted(GOOD_NPZ), "encrypted"),
    "compressed otherwise": (npz(GOOD_MEMBERS, zipfile.ZIP_LZMA), "x_train: compressed"),
    "no labels": (
        npz({name: GOOD_MEMBERS[name] for name in ("x_train", "x_test", "y_test")}),
        "y_train: not in the file",
    ),
    "no test set": (
        npz({name: GOOD_MEMBERS[name] for name in ("x_train", "y_train")}),
        "x_test: not in the file",
    ),
    "no arrays": (npz({}), "x_train: not in the file"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_npz_files(tmp_path: Path, name: str) -> None:
    content, words = BAD_NPZ[name]
    line = refusal(write(tmp_path, {"data.npz": content}))
    assert line.startswith(f"{tmp_path}/data.npz") and words in line


def test_a_directory_with_nothing_known_in_it(tmp_path: Path) -> None:
    line = refusal(tmp_path)
    assert line.startswith(str(tmp_path))
    for name in (IMAGES, LABELS, "train.csv", ".gz"):
        assert name in line


@pytest.mark.parametrize("name", GOOD_IDX)
def test_one_idx_file_missing(tmp_path: Path, name: str) -> None:
    line = refusal(write(tmp_path, {other: content for other, content in GOOD_IDX.items() if other != name}))
    assert line.startswith(str(tmp_path)) and name in line


def test_a_csv_file_without_a_test_set(tmp_path: Path) -> None:
    path = write(tmp_path, files(GOOD, "csv")) / "train.csv"
    line = refusal(path)
    assert line.startswith(str(path)) and "--test-data" in line


@pytest.mark.parametrize("name", ["data.txt", IMAGES, "data.npy"])
def test_a_file_of_no_known_kind(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, {name: GOOD_IDX[IMAGES]}) / name
    line = refusal(path)
    assert line.startswith(str(path)) and ".npz" in line


@pytest.mark.parametrize("name", ["gone", "gone.npz", "gone/data.npz", "data.csv/data.npz", "x" * 300 + ".npz"])
def test_a_path_that_leads_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.csv").touch()
    assert refusal(tmp_path / name).startswith(f"{tmp_path / name}: cannot be read: ")
    assert refusal(None, tmp_path / name).startswith(f"{tmp_path / name}: cannot be read: ")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", [IMAGES, "train.csv"])
def test_what_is_no_file_in_a_file_s_place(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    (tmp_path / LABELS).touch()
    make(tmp_path / name)
    assert refusal(tmp_path) == f"{tmp_path / name}: not a regular file; copy what is to be read into one"


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, files(GOOD, "npz"))
    path.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        assert refusal(path) == f"{path}: cannot be read: Permission denied; check path, rights and content"
    finally:
        os.seteuid(user)


# Fractions, names and labels with gaps


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_fractions_become_grey_levels_by_the_training_sets_scale(tmp_path: Path, kind: str) -> None:
    x_train, x_test = np.array([[0.0, 0.25], [0.5, 0.1]]), np.array([[0.5, 0.75], [0.05, 0.0]])
    y = np.array([0, 1])
    if kind == "npz":
        members = {"x_train": x_train, "y_train": y, "x_test": x_test.astype(np.float32), "y_test": y}
        content = {"data.npz": npz({name: npy(array) for name, array in members.items()})}
    else:
        content = {"train.csv": data_files.csv(y, x_train), "test.csv": data_files.csv(y, x_test)}
    read = load(write(tmp_path, content))
    assert read.train_images.tolist() == [[0, 128], [255, 51]]
    assert read.test_images.tolist() == [[255, 255], [26, 0]]  # what is beyond the training set's is cut
    assert read.notes == ("values from 0 to 0.5 became grey levels 0 to 255",)


def test_fractions_below_0_are_scaled_from_the_least(tmp_path: Path) -> None:
    x = np.array([[-0.5, 0.5], [0.0, 0.25]])
    members = {"x_train": x, "y_train": np.array([0, 1]), "x_test": x, "y_test": np.array([0, 1])}
    read = load(write(tmp_path, {"data.npz": npz({name: npy(array) for name, array in members.items()})}))
    assert read.train_images.tolist() == read.test_images.tolist() == [[0, 255], [128, 191]]


@pytest.mark.parametrize("kind", ["csv", "csv with a header", "npz"])
def test_classes_may_have_names(tmp_path: Path, kind: str) -> None:
    images, names = np.arange(6).reshape(3, 2), np.array(["dog", "Käfer", "cat"])
    if kind == "npz":
        members = {"x_train": images, "y_train": names, "x_test": images[1:], "y_test": names[1:]}
        content = {"data.npz": npz({name: npy(array) for name, array in members.items()})}
    else:
        header = kind != "csv"
        content = {
            "train.csv": data_files.csv(names, images, header),
            "test.csv": data_files.csv(names[1:], images[1:], header),
        }
    read = load(write(tmp_path, content))
    assert read.class_names == ("Käfer", "cat", "dog") and read.classes == 3
    assert (read.train_labels.tolist(), read.test_labels.tolist()) == ([2, 0, 1], [0, 1])
    assert read.train_labels.dtype == np.int32 and read.train_images.tolist() == images.tolist()


def test_labels_that_leave_numbers_out_are_noted(tmp_path: Path) -> None:
    members = {"x_train": np.zeros((2, 2), int), "y_train": np.array([0, 77])}
    members |= {"x_test": members["x_train"], "y_test": members["y_train"]}
    read = load(write(tmp_path, {"data.npz": npz({name: npy(array) for name, array in members.items()})}))
    assert read.classes == 78 and read.notes == ("only 2 of the labels 0 to 77 occur: 76 outputs learn nothing",)


@pytest.mark.parametrize("labels, strange", [(np.array([0, 2]), "2"), (np.array([1, 1]), "1")])
def test_a_test_set_of_other_classes_is_refused(tmp_path: Path, labels: np.ndarray, strange: str) -> None:
    images = np.zeros((2, 2), int)
    members = {"x_train": images, "y_train": np.array([0, 3]), "x_test": images, "y_test": labels}
    path = write(tmp_path, {"data.npz": npz({name: npy(array) for name, array in members.items()})})
    with pytest.raises(UsageError, match=f"x_test: class {strange} is not in the training set, .*, which has 0, 3;"):
        load(path)


def test_images_to_be_classified_may_be_fractions_of_1_and_of_nothing_else(tmp_path: Path) -> None:
    for scale, good in ((1.0, True), (2.5, False)):
        x = scale * np.array([[0.0, 0.5], [1.0, 0.25]])
        path = write(tmp_path, {"data.npz": npz({"x_test": npy(x), "y_test": npy(np.array([0, 1]))})})
        if good:
            assert load_images(path)[0].tolist() == [[0, 128], [255, 64]]
        else:
            with pytest.raises(UsageError, match="scale as for training"):
                load_images(path)


# Images to be classified, which may lack labels


@pytest.mark.parametrize("kind", FORMATS)
def test_images_are_those_of_the_test_set(tmp_path: Path, kind: str) -> None:
    images, labels = load_images(write(tmp_path, files(GOOD, kind)))
    assert labels is not None
    np.testing.assert_array_equal(images, GOOD.test_images)
    np.testing.assert_array_equal(labels, GOOD.test_labels)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_an_idx_file_of_images_has_no_labels(tmp_path: Path, packed: bool) -> None:
    content = GOOD_IDX[IMAGES]
    path = write(tmp_path, {"any": gzip.compress(content) if packed else content}) / "any"
    images, labels = load_images(path)
    assert labels is None
    np.testing.assert_array_equal(images, GOOD.train_images)


@pytest.mark.parametrize("content", [b"", b"hello", GOOD_IDX[LABELS], header(0), header(3, 0)])
def test_bad_images(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, {"any": content}) / "any"
    for asked in (path, path / "beneath", tmp_path / "gone"):
        with pytest.raises(UsageError, match=f"^{asked}: "):
            load_images(asked)


# Nothing that a file claims is believed: memory


def peak_of_refusal(*paths: Path) -> tuple[str, int]:
    """Return the line of a refusal, and the bytes of memory that it took at most."""
    tracemalloc.start()
    try:
        return refusal(*paths), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LIES: dict[str, tuple[Files, str]] = {
    "IDX": (GOOD_IDX | {IMAGES: header(15 * MIB, 1, 1) + bytes(99)}, "truncated"),
    "gzipped IDX": (GOOD_IDX | {IMAGES: gzip.compress(header(15 * MIB, 1, 1) + bytes(99))}, "truncated"),
    "gzip bomb behind a good file": (
        GOOD_IDX | {IMAGES: gzip.compress(GOOD_IDX[IMAGES] + bytes(70 * MIB), 1)},
        "more data",
    ),
    "gzip bomb that its header announces": (
        GOOD_IDX | {IMAGES: gzip.compress(header(70 * MIB, 1, 1) + bytes(70 * MIB), 1)},
        "give them uncompressed",
    ),
    "gzip bomb of blank lines": (
        {"train.csv": gzip.compress((b" " * 999 + b"\n") * 70_000)},
        "give them uncompressed",
    ),
    "NPZ": ({"data.npz": npz({"x_train": with_header(claim("(15728640, 1)"))})}, "truncated"),
    "zip bomb": (
        {"data.npz": npz({"x_train": with_header(claim("(70, 1048576)"), bytes(70 * MIB))}, zipfile.ZIP_DEFLATED)},
        "give them uncompressed",
    ),
    "zip bomb behind a good array": (
        {"data.npz": npz({"x_train": GOOD_MEMBERS["x_train"] + bytes(70 * MIB)}, zipfile.ZIP_DEFLATED)},
        "more data",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_memory_is_taken_for_what_is_there_and_not_for_what_is_claimed(tmp_path: Path, name: str) -> None:
    content, words = LIES[name]
    path = write(tmp_path, content)
    line, peak = peak_of_refusal(path)
    assert line.startswith(str(tmp_path)) and words in line
    assert peak < 8 * MIB


def test_a_row_of_a_million_columns_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path, {"train.csv": b"1,2,3\n" + b"1" + b", 7" * 2**20 + b",x\n", "test.csv": b"1,2,3\n"})
    line, peak = peak_of_refusal(path)
    assert "line 2: 1048578 columns, but 3 in the rows before" in line
    assert peak < 50 * MIB


# Whatever is in the files, a Dataset or one line comes of it


def check_any(content: Files) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), content)
        try:
            read = load(path)
        except UsageError as error:
            assert str(error).startswith(directory) and str(error).isprintable()
        else:
            assert_sound(read)


ANY_FILES = {
    IMAGES: st.binary(max_size=200),
    LABELS: st.binary(max_size=50),
    "t10k-images-idx3-ubyte.gz": st.binary(max_size=200).map(gzip.compress),
    "t10k-labels-idx1-ubyte.gz": st.binary(max_size=50),
    "train.csv": st.text("0123456789,\n\r .-x\x00\x85", max_size=200).map(str.encode),
    "test.csv": st.binary(max_size=200),
    "data.npz": st.binary(max_size=200),
}


@pytest.mark.slow
@given(st.fixed_dictionaries({}, optional=ANY_FILES))
def test_any_bytes_give_a_data_set_or_one_line(content: Files) -> None:
    check_any(content)


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes that differ from `content` in a few places."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(changed)))
        end = start + draw(st.sampled_from([0, 0, 1, 1, 2, 4, 1000]))
        changed[start:end] = draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"\xff" * 4, b"9" * 9, b"\n"])))
    return bytes(changed)


@st.composite
def nearly_good(draw: st.DrawFn) -> Files:
    """Good files of any format, one of them mutated: what the disk holds, or what is packed in it."""
    kind = draw(st.sampled_from(FORMATS))
    if kind.startswith("npz") and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(GOOD_MEMBERS)))
        return {"data.npz": npz(GOOD_MEMBERS | {name: draw(mutated(GOOD_MEMBERS[name]))})}
    content = files(GOOD, kind)
    name = draw(st.sampled_from(sorted(content)))
    if kind.endswith(".gz") and draw(st.booleans()):
        return content | {name: gzip.compress(draw(mutated(gzip.decompress(content[name]))), 1)}
    return content | {name: draw(mutated(content[name]))}


@pytest.mark.slow
@given(nearly_good())
def test_nearly_good_files_give_a_data_set_or_one_line(content: Files) -> None:
    check_any(content)


@settings(max_examples=200)
@example([["0"], ["", "0"]])
@example([["0"], ["\t", "0"]])
@given(
    st.lists(
        st.lists(st.sampled_from(["0", "7", "255", "256", "65536", "", " 3 ", "1.5", "?"]), max_size=4),
        max_size=5,
    )
)
def test_a_csv_is_read_as_its_rows_say(rows: list[list[str]]) -> None:
    """The reader and an obvious one agree on which files are good, and on what is in them."""
    text = "\n".join(map(",".join, [["label"], *rows])).encode()
    fields = [row for row in rows if any(field.strip() for field in row) or len(row) > 1]
    scaled = any(field == "1.5" for row in fields for field in row[1:])
    good = (
        all(row[0].strip().isdecimal() and int(row[0]) <= 65535 for row in fields)
        and all(field == "1.5" or field.strip().isdecimal() for row in fields for field in row[1:])
        and {len(row) for row in fields} in ({2}, {3}, {4})
        and (scaled or all(int(field) <= 255 for row in fields for field in row[1:]))
    )
    most = max((float(field) for row in fields for field in row[1:]), default=0.0) if good and scaled else 255
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), {"train.csv": text, "test.csv": text})
        if good:
            read = load(path)
            assert read.train_labels.tolist() == [int(row[0]) for row in fields]
            grey = [[int(np.rint(255 * float(field) / most)) for field in row[1:]] for row in fields]
            assert read.train_images.tolist() == grey and bool(read.notes) >= scaled
        else:
            assert refusal(path).startswith(f"{path}/train.csv")
