"""CSV files: a label and then grey levels in each row; a header is allowed."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpinn.datasets.bounded import CHUNK, Stream, check_size, opened, unzipped
from mpinn.datasets.exemplars import MOST_GREY, MOST_LABEL, MOST_PIXELS, Exemplars, check_pixels, checked
from mpinn.system.errors import UsageError

LONGEST_LINE = 4 * MOST_PIXELS + 2**10  # bytes
LONG_LINE = 1000  # bytes
HEADER = re.compile("(\xef\xbb\xbf)? *[\"']?[A-Za-z_#]")  # the bytes are UTF-8's byte order mark
INTEGER = re.compile(" *[0-9]{1,5} *")


def read_set(path: Path) -> Exemplars:
    """Return a CSV file, a label and then grey levels in each row, as a set. Raises UsageError."""
    images, labels = bytearray(), bytearray()
    columns = 0
    with opened(path) as (file, limit):
        for number, lines in blocks(unzipped(file), limit, str(path)):
            try:
                rows = parse_rows([line for line in lines if line], columns)
            except ValueError:
                raise UsageError(f"{path}, {next(problems(lines, number, columns))}") from None
            columns = rows.shape[1]
            check_pixels(columns - 1, str(path))
            labels += rows[:, 0].tobytes()
            images += rows[:, 1:].astype(np.uint8).tobytes()
    if not columns:
        raise UsageError(f"{path}: no rows; expected a label and grey levels in each")
    label_array = np.frombuffer(labels, np.uint16)
    image_array = np.frombuffer(images, np.uint8).reshape(len(label_array), columns - 1)
    return checked(image_array, label_array, str(path), str(path))


def blocks(stream: Stream, limit: int, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV file, many at a time, with the number of the first; a header is left blank."""
    number = 1
    while block := stream.read(CHUNK):
        rest = stream.readline(LONGEST_LINE)
        check_size(stream.tell(), limit, source)
        lines = [line.strip(" \r") for line in (block + rest).decode("latin-1").split("\n")]
        if len(rest) == LONGEST_LINE:
            raise UsageError(f"{source}, line {number + len(lines) - 1}: longer than {LONGEST_LINE:,} bytes")
        if number == 1 and HEADER.match(lines[0]):
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


def is_row(line: str) -> bool:
    """Return whether nothing is wrong with a line, sooner than by a look at each field where there are many."""
    try:
        return len(parse_rows([line], 0)) == 1
    except ValueError:
        return False


def stretches(line: str) -> Iterator[tuple[int, str]]:
    """Yield a line in parts of whole fields, with the column of the first: a million at once are much memory."""
    start, column = 0, 1
    while (end := line.find(",", start + LONG_LINE)) >= 0:
        yield column, line[start:end]
        column += line.count(",", start, end) + 1
        start = end + 1
    yield column, line[start:]


def problems(lines: list[str], first: int, columns: int) -> Iterator[str]:
    """Yield what is wrong with lines of a CSV file, the first of which has the number `first`."""
    for number, line in enumerate(lines, first):
        if not line:
            continue
        found = line.count(",") + 1
        columns = columns or found
        if found != columns:
            yield f"line {number}: {found} columns, but {columns} in the rows before"
        for start, part in stretches(line):
            if len(part) >= LONG_LINE and is_row(part if start == 1 else f"0,{part}"):
                continue
            for column, field in enumerate(part.split(","), start):
                highest = MOST_LABEL if column == 1 else MOST_GREY
                if not INTEGER.fullmatch(field) or int(field) > highest:
                    yield f"line {number}, column {column}: {field[:20]!r} is not an integer from 0 to {highest}"
