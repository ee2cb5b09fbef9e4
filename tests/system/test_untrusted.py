"""Files from outside: every reader refuses what only takes time or memory, in a line, before it takes them."""

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mpinn.hosts import hostfile
from mpinn.system import untrusted
from mpinn.system.errors import UsageError
from tests.refusals import refusal

READERS = {"config": "x.yml", "profile": "x.yml", "hostfile": "hosts", "data": "x.npz", "snapshot": "000001.mpinn"}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["fifo", "device"])
def test_only_regular_files_are_read(reader: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / READERS[reader]
    make(path)
    assert refusal(reader, path).startswith(f"{path}: not a regular file")


@pytest.mark.parametrize("reader", READERS)
def test_a_sparse_file_of_gigabytes_is_refused(reader: str, tmp_path: Path) -> None:
    path = tmp_path / READERS[reader]
    path.write_bytes(b"")
    os.truncate(path, 12 * 2**30)
    assert str(path) in refusal(reader, path)


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def many_members() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(65_000):
            archive.writestr(f"{number:0200}", b"")
    return file.getvalue()


LABEL = np.zeros(1, np.uint8)
PIXELS = np.zeros((1, 8_000_000), np.uint8)
BAD_DATA: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "an image of eight million pixels": (
        "x.npz",
        lambda: npz(x_train=PIXELS, y_train=LABEL, x_test=PIXELS, y_test=LABEL),
        "images of 8,000,000 pixels; expected at most 1,048,576",
    ),
    "a row of two million fields": ("x.csv", lambda: b"1" + b",7" * 2_000_000, "images of 2,000,000 pixels"),
    "a row of rubbish": ("x.csv", lambda: b"1" + b",x" * 2_000_000, "is not an integer"),
    "rows without end, gzipped": ("x.csv.gz", lambda: gzip.compress(b"1,2\n" * 2**24), "uncompressed"),
    "members without end": ("x.npz", many_members, "more arrays than"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_that_only_take_memory_are_refused(name: str, tmp_path: Path) -> None:
    file, make, said = BAD_DATA[name]
    path = tmp_path / file
    path.write_bytes(make())
    if file.endswith(".gz"):
        path = path.rename(tmp_path / "train.csv.gz").parent
    assert said in refusal("data", path)


def test_an_idx_image_of_gigapixels_is_refused_by_its_header(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        header = struct.pack(">4I", 0x803, 1, 2**15, 2**15)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 1) + b"\0")
    assert "images of 1,073,741,824 pixels" in refusal("data", tmp_path)


YAML = {
    "brackets": "[" * 50_000,
    "a list as long as a file may be": "seed: [" + "a," * 32_000 + "a]",
    "mappings": "a: " + "{a: " * 12_000,
    "a number of base 60": "seed: 1" + ":59" * 20_000,
    "keys": "\n".join(f"k{number}: 1" for number in range(7000)),
}


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("reader", ["config", "profile"])
def test_yaml_that_only_takes_time_is_refused(name: str, reader: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(YAML[name])
    assert refusal(reader, path).startswith(f"{path}: ")


@pytest.mark.parametrize("line", ["-oProxyCommand=id slots=2", "a;b slots=1", "$(id)", ":4"])
def test_a_host_that_ssh_would_take_for_an_option_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(f"node1 slots=2\n{line}\n")
    with pytest.raises(UsageError, match="is no host"):
        hostfile.read(tmp_path / "hosts")


@pytest.mark.parametrize("line", ["node1 slots=2 max_slots=4", "node-1.local:4", "10.0.0.1", "user@board slots=1"])
def test_hosts_as_the_launchers_have_them_are_read(line: str, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(f"# boards\n\n{line}\n")
    assert [host.line for host in hostfile.read(tmp_path / "hosts")] == [line]


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[" * 10**6,
        b"[NaN]",
        b"-Infinity",
        b"1e999",
        b"1" * 21,
        b'"\\ud800"',
        b"\xff",
        b"[" + b"{}," * 2**18 + b"{}]",
    ],
)
def test_json_that_is_not_what_it_seems_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        untrusted.json_value(text)


def test_json_is_read() -> None:
    text = '{"a": [1, -2.5, 1e-7, null, true, "\\ud83d\\ude00 é"], "b": 9223372036854775807}'.encode()
    assert untrusted.json_value(text) == {"a": [1, -2.5, 1e-7, None, True, "😀 é"], "b": 2**63 - 1}
