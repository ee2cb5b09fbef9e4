"""NPZ files with x_train, y_train, x_test and y_test, as NumPy's savez and savez_compressed write them."""

import math
import os
import re
import zipfile
from io import BufferedReader
from pathlib import Path

import numpy as np

from mpinn.datasets.bounded import opened, read, read_rest
from mpinn.datasets.exemplars import Exemplars, check_pixels, checked
from mpinn.system.errors import UsageError

MAGIC = b"\x93NUMPY\x01\x00"
LONGEST_DIRECTORY = 2**16  # bytes; that of four arrays has some 300
LONGEST_END = 2**16 + 22 + 76  # bytes: a comment, the end, and that of large files
HEADER = re.compile(  # a Python dictionary, its keys in any order
    rb"(?=.*'descr': *'([<>|]?(?:[iu][1248]|f[248]|U[1-9][0-9]?))')"
    rb"(?=.*'fortran_order': *(True|False))"
    rb"(?=.*'shape': *\(([\d, ]*)\))",
    re.DOTALL,
)


def read_set(path: Path, part: str) -> Exemplars:
    """Return the set `part` of an NPZ file. Raises UsageError."""
    sources = f"{path}, x_{part}", f"{path}, y_{part}"
    with opened(path) as (file, limit):
        if directory_size(file) > LONGEST_DIRECTORY:
            raise UsageError(f"{path}: more arrays than x_train, y_train, x_test and y_test; write these alone")
        with zipfile.ZipFile(file) as archive:
            images = read_array(archive, f"x_{part}.npy", limit, sources[0])
            labels = read_array(archive, f"y_{part}.npy", limit, sources[1])
            return checked(images, labels, *sources)


def directory_size(file: BufferedReader) -> int:
    """Return the bytes of a zip file's list of members, as its end says: zipfile reads all of them at once."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LONGEST_END))
    end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0:
        return 0
    large = at - 76  # where the record of a file of more than 4 GB then is
    if large >= 0 and end[at - 20 : at - 16] == b"PK\x06\x07":
        return int.from_bytes(end[large + 40 : large + 48], "little")
    return int.from_bytes(end[at + 12 : at + 16], "little")


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
        if dtype.kind == "U" and name.startswith("x_"):
            raise UsageError(f"{source}: text; expected numbers")
        shape = [int(size) for size in header[3].split(b",") if size.strip()]
        check_pixels(math.prod(shape[1:]), source)
        content = read_rest(stream, math.prod(shape) * dtype.itemsize, limit, source)
        found = np.frombuffer(content, dtype).reshape(shape, order="F" if header[2] == b"True" else "C")
        return checked_names(found, source) if dtype.kind == "U" else found


def checked_names(names: np.ndarray, source: str) -> np.ndarray:
    """Return names of classes. Raises UsageError where one cannot be printed."""
    if not all(name.isprintable() and name.strip() for name in names.ravel().tolist()):
        raise UsageError(f"{source}: a name of a class that is empty or cannot be printed")
    return names
