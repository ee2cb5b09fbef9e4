"""Bounded reading of files that are not trusted.

A size that a file claims is compared with the size of the file, memory grows only as data arrive, and every damage is a
UsageError of one line that names the file.
"""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import IO

from mpinn.system import untrusted
from mpinn.system.errors import UsageError

CHUNK = 2**20  # bytes read at a time
MAX_BYTES = 2**33  # of data in one file, uncompressed
MAX_RATIO = 50  # of data to the size of their file; MNIST's is 5
ANY_RATIO = 2**24  # bytes of data up to which the ratio does not matter

DAMAGED = (  # what gzip, zipfile and numpy raise for bytes that make no sense
    *(EOFError, OverflowError, RuntimeError, ValueError),
    *(gzip.BadGzipFile, struct.error, zipfile.BadZipFile, zlib.error),
)
GZIP_MAGIC = b"\x1f\x8b"

Stream = IO[bytes] | BufferedIOBase


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn whatever a bad file raises into a UsageError that names the file."""
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
    """Open a regular file; yield it with the most bytes of data that a file of its size may hold. Raises UsageError."""
    with untrusted.opened(path) as file, named_errors(path):
        yield file, min(MAX_BYTES, max(ANY_RATIO, MAX_RATIO * untrusted.size_of(file)))


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
