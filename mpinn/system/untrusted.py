"""Files from outside: regular ones only, read no further than was asked for, and JSON that is what it seems to be.

What a value may be is the schema's to say (`mpinn.system.schema`); here it is kept from taking memory or time before
that. JSON of 16 MiB with half a million values takes some 100 MB to read.
"""

import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from mpinn.system.errors import UsageError

LONGEST_JSON = 2**24  # bytes
MOST_CONTAINERS = 2**17  # objects and arrays of one JSON text
MOST_VALUES = 2**19  # that follow another in them
LONGEST_INTEGER = 20  # characters; 2**63 has 19


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading; what else has a name, such as a FIFO, is not waited for. Raises UsageError."""
    handle = -1
    try:
        if "\0" in str(path):
            raise UsageError(f"{str(path)!r}: no file can have this name")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UsageError(f"{path}: not a regular file; copy what is to be read into one")
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; check path, rights and content") from None
    finally:
        if handle >= 0:
            os.close(handle)


def size_of(file: BufferedReader) -> int:
    """Return the size of an opened file, bytes."""
    return os.fstat(file.fileno()).st_size


def content(path: Path, most: int) -> bytes:
    """Return what is in a regular file of at most so many bytes. Raises UsageError that names the file."""
    with opened(path) as file:
        size = size_of(file)
        if size > most:
            raise UsageError(f"{path}: {size:,} bytes, but at most {most:,} are read; is it the right file?")
        return file.read(size)


def json_value(text: bytes) -> Any:
    """Return what a JSON text says. Raises ValueError, also for what is too long or too deep, and for NaN."""
    if len(text) > LONGEST_JSON:
        raise ValueError(f"longer than {LONGEST_JSON:,} bytes")
    if text.count(b"[") + text.count(b"{") > MOST_CONTAINERS or text.count(b",") > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    try:
        found = json.loads(text.decode(), parse_constant=not_a_number, parse_float=finite, parse_int=integer)
        if b"\\ud" in text or b"\\uD" in text:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
        return found
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_file(path: Path) -> Any:
    """Return what is in a JSON file. Raises UsageError that names the file."""
    text = content(path, LONGEST_JSON)
    try:
        return json_value(text)
    except ValueError as error:
        raise UsageError(f"{path}: not valid JSON: {error}") from None


def not_a_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def finite(text: str) -> float:
    """Return a number with a point or an exponent. Raises ValueError."""
    value = float(text)
    return value if math.isfinite(value) else not_a_number(text[:LONGEST_INTEGER])


def integer(text: str) -> int:
    """Return a whole number. Raises ValueError."""
    return int(text) if len(text) <= LONGEST_INTEGER else not_a_number(f"{text[:LONGEST_INTEGER]}...")
