"""NPZ files with x_train, y_train, x_test and y_test, as NumPy's savez and savez_compressed write them."""

import math
import re
import zipfile
from pathlib import Path

import numpy as np

from mpinn.datasets.bounded import opened, read, read_rest
from mpinn.datasets.exemplars import Exemplars, checked
from mpinn.system.errors import UsageError

MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(  # a Python dictionary, its keys in any order
    rb"(?=.*'descr': *'([<>|]?(?:[iu][1248]|f[248]))')"
    rb"(?=.*'fortran_order': *(True|False))"
    rb"(?=.*'shape': *\(([\d, ]*)\))",
    re.DOTALL,
)


def read_set(path: Path, part: str) -> Exemplars:
    """Return the set `part` of an NPZ file. Raises UsageError."""
    sources = f"{path}, x_{part}", f"{path}, y_{part}"
    with opened(path) as (file, limit), zipfile.ZipFile(file) as archive:
        images = read_array(archive, f"x_{part}.npy", limit, sources[0])
        labels = read_array(archive, f"y_{part}.npy", limit, sources[1])
        return checked(images, labels, *sources)


def read_array(archive: zipfile.ZipFile, name: str, limit: int, source: str) -> np.ndarray:
    """Return an array of numbers. (NumPy's reader would allocate whatever the header claims.) Raises UsageError."""
    if name not in archive.namelist():
        raise UsageError(f"{source}: not in the file; expected x_train, y_train, x_test and y_test")
    member = archive.getinfo(name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UsageError(f"{source}: compressed in a way that NumPy does not use; write it with numpy.savez")
    with archive.open(member) as stream:
        magic, length = read(stream, len(MAGIC), source), read(stream, 2, source)
        header = HEADER.match(read(stream, int.from_bytes(length, "little"), source))
        if magic != MAGIC or header is None:
            raise UsageError(f"{source}: not an array of numbers; write integers or floats with numpy.savez")
        dtype = np.dtype(header[1].decode())
        shape = [int(size) for size in header[3].split(b",") if size.strip()]
        content = read_rest(stream, math.prod(shape) * dtype.itemsize, limit, source)
        return np.frombuffer(content, dtype).reshape(shape, order="F" if header[2] == b"True" else "C")
