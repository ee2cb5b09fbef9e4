"""`python tests/fuzz/fuzz_readers.py READER -max_total_time=60`: any bytes are read, or refused with one line.

atheris drives each reader with mutated bytes, guided by coverage. What is not a UsageError of one line, takes longer
than 10 seconds or more than a gigabyte is a finding, and libFuzzer writes the input to a file.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mpinn", "bench", "yaml"]):
    from bench import records
    from mpinn import checkpoint, config, data
    from mpinn.errors import MpinnError
    from mpinn.hosts import library

FOLDER = Path(tempfile.mkdtemp(prefix="mpinn-fuzz-"))


def as_file(name: str, read: Callable[[str], object]) -> Callable[[bytes], None]:
    """Return a reader of bytes that puts them into a file first."""

    def reader(content: bytes) -> None:
        path = FOLDER / name
        path.write_bytes(content)
        read(str(path))

    return reader


def idx(content: bytes) -> None:
    """The first byte says where the images end."""
    cut = 1 + int.from_bytes(content[:2], "big")
    (FOLDER / "idx").mkdir(exist_ok=True)
    for name, part in (("images-idx3", content[2:cut]), ("labels-idx1", content[cut:])):
        for which in ("train", "t10k"):
            (FOLDER / "idx" / f"{which}-{name}-ubyte").write_bytes(part)
    data.load(str(FOLDER / "idx"), None)


def snapshot(content: bytes) -> None:
    """With a right checksum, or it would end there."""
    body = checkpoint.MAGIC + content
    checkpoint.decode(body + hashlib.sha256(body).digest(), "fuzz")


READERS: dict[str, Callable[[bytes], None]] = {
    "idx": idx,
    "npz": as_file("x.npz", lambda path: data.load(path, None)),
    "csv": as_file("x.csv", lambda path: data.load(path, path)),
    "yaml": as_file("x.yml", config.read_yaml),
    "profile": as_file("x.yml", library.find),
    "snapshot": snapshot,
    "records": as_file("records.jsonl", lambda path: records.read(Path(path).parent)),
}


def main() -> None:
    reader = READERS[sys.argv.pop(1)]

    def target(content: bytes) -> None:
        try:
            reader(content)
        except MpinnError as error:
            assert "\n" not in str(error)

    atheris.Setup([*sys.argv, "-timeout=10", "-rss_limit_mb=1024"], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
