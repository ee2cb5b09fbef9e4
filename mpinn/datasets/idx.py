"""IDX files, the format in which MNIST and its relatives come."""

import hashlib
import math
import struct
from pathlib import Path

import numpy as np

from mpinn.datasets import mnist
from mpinn.datasets.bounded import opened, read, read_rest, unzipped
from mpinn.datasets.exemplars import check_pixels
from mpinn.system.errors import UsageError

MAGIC = {"images": b"\x00\x00\x08\x03", "labels": b"\x00\x00\x08\x01"}  # bytes, in 3 dimensions and in 1


def read_array(path: Path, kind: str) -> np.ndarray:
    """Return an IDX file of 'images' (n, height, width) or 'labels' (n,) as uint8. Raises UsageError."""
    magic = MAGIC[kind]
    with opened(path) as (file, limit):
        stream = unzipped(file)
        found = bytes(read(stream, len(magic), str(path)))
        if found != magic:
            known = "".join(f" (that of {name})" for name in MAGIC if MAGIC[name] == found)
            raise UsageError(
                f"{path}: not an IDX file of {kind}: its magic number is 0x{found.hex()}{known}; "
                f"expected 0x{magic.hex()}"
            )
        header = read(stream, 4 * magic[-1], str(path))
        shape = struct.unpack(f">{magic[-1]}I", header)
        check_pixels(math.prod(shape[1:]), str(path))
        content = read_rest(stream, math.prod(shape), limit, str(path))
        array = np.frombuffer(content, np.uint8).reshape(shape)
    if path.parent == mnist.DIRECTORY:
        digest = hashlib.sha256(magic + header)
        digest.update(content)
        if digest.hexdigest() != mnist.SHA256.get(path.stem):
            raise UsageError(f"{path}: the embedded MNIST is damaged: wrong SHA-256; install mpinn again")
    return array
