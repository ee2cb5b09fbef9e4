"""`python -m tests.fuzz.fuzz_readers READER -max_total_time=60`: any bytes are read, or refused with one line.

atheris drives each reader with mutated bytes, guided by coverage. What is not a UsageError of one line, takes longer
than 10 seconds or more than a gigabyte is a finding, and libFuzzer writes the input to a file.
"""

import gzip
import hashlib
import json
import re
import resource
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["mpinn", "bench", "yaml"]):
    from bench.harness import oracle, records
    from mpinn import config, datasets
    from mpinn.config import Options
    from mpinn.hosts import hostfile, library
    from mpinn.system.errors import MpinnError
    from mpinn.training import snapshots
    from mpinn.training.state import RunState

ALLOCATED = 2**32  # bytes of the whole process
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
    datasets.load(str(FOLDER / "idx"), None)


def hosts(content: bytes) -> None:
    """A line a host; what is written has a line each, and nothing that a shell could read."""
    asked = content.decode("utf-8", "replace").splitlines()
    written = hostfile.from_profiles(asked, "openmpi").splitlines()
    assert len(written) == len(asked) and all(re.fullmatch(r"[\w.-]+ slots=\d+ max_slots=\d+", one) for one in written)


def snapshot(content: bytes) -> None:
    """With a right checksum, or it would end there."""
    body = snapshots.MAGIC + content
    snapshots.decode(body + hashlib.sha256(body).digest(), "fuzz")


READERS: dict[str, Callable[[bytes], None]] = {
    "idx": idx,
    "npz": as_file("x.npz", lambda path: datasets.load(path, None)),
    "csv": as_file("x.csv", lambda path: datasets.load(path, path)),
    "yaml": as_file("x.yml", config.read_yaml),
    "profile": as_file("x.yml", library.find),
    "snapshot": snapshot,
    "hostfile": hosts,
    "result": as_file("result.json", lambda path: oracle.kept(Path(path), 1)),
    "records": as_file("records.jsonl", lambda path: records.read(Path(path).parent)),
}


def idx_file(array: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def seeds(reader: str) -> list[bytes]:
    """Return good files, from which to begin."""
    images, labels = np.zeros((3, 2, 2), np.uint8), np.arange(3, dtype=np.uint8)
    path = FOLDER / "seed"
    if reader == "idx":
        head = idx_file(images)
        plain = struct.pack(">H", len(head) + 1) + head + idx_file(labels)
        packed = gzip.compress(head)
        return [plain, struct.pack(">H", len(packed) + 1) + packed + gzip.compress(idx_file(labels))]
    if reader == "npz":
        for save in (np.savez, np.savez_compressed):
            save(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
        return [path.with_suffix(".npz").read_bytes()]
    if reader == "csv":
        return [b"label,a,b\n1,0,255\n0,3,4\n"]
    if reader == "snapshot":
        options = Options(layers=(4, 2), activations=("identity", "softmax"), workers=1, worker_batch=1)
        settings = config.resolve(options, 1, 4, 2, 3, 1)
        saved = snapshots.Snapshot(settings.determines_weights, "0" * 8, "reference", RunState.beginning(settings))
        return [snapshots.encode(saved)[len(snapshots.MAGIC) : -32]]
    if reader == "hostfile":
        return [b"raspberry-pi-5=10.0.0.11\nbanana-pi-m3=board.local"]
    if reader == "yaml":
        return [config.show(Options()).encode()]
    if reader == "profile":
        return [file.read_bytes() for file in (Path(__file__).parents[2] / "hosts").glob("*.yml")]
    record = {"schema_version": 1, "metrics": {}, "verdict": "VALID", "suite": "", "point": "", "repeat": 0}
    result = {"status": "completed", "epochs": [{"epoch": 1}], "kernel_error": 0.0}
    return [json.dumps(record | {"reasons": []}).encode() + b"\n", json.dumps(result).encode()]


def main() -> None:
    name = sys.argv.pop(1)
    reader = READERS[name]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds(name)):
        (corpus / str(number)).write_bytes(content)

    def target(content: bytes) -> None:
        try:
            reader(content)
        except MpinnError as error:
            assert "\n" not in str(error)

    resource.setrlimit(resource.RLIMIT_AS, (ALLOCATED, ALLOCATED))  # what is allocated and not touched counts, too
    atheris.Setup([*sys.argv, str(corpus), "-timeout=10", "-rss_limit_mb=1024"], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
