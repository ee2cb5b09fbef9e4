"""CSV files: a label, a number or a name, and then grey levels or fractions in each row; a header is allowed."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpinn.datasets.bounded import CHUNK, Stream, check_size, opened, unzipped
from mpinn.datasets.exemplars import (
    LONGEST_NAME,
    MOST_GREY,
    MOST_LABEL,
    MOST_PIXELS,
    Exemplars,
    check_pixels,
    checked,
    has_fractions,
)
from mpinn.system.errors import UsageError

LONGEST_LINE = 4 * MOST_PIXELS + 2**10  # bytes
LONG_LINE = 1000  # bytes
LARGEST = 1e38  # value, as float32
HEADER = re.compile("(\xef\xbb\xbf)? *[\"']?[A-Za-z_#]")  # the bytes are UTF-8's byte order mark
INTEGER = re.compile(" *[0-9]{1,5} *")
NUMBER = re.compile(r" *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})? *")
NAME = re.compile(rf" *[\"']?[A-Za-z][^\x00-\x1f\x7f-\x9f,]{{0,{LONGEST_NAME - 1}}}")


def read_set(path: Path) -> Exemplars:
    """Return a CSV file, a label and then grey levels or fractions in each row, as a set. Raises UsageError."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    columns, named = 0, None
    with opened(path) as (file, limit):
        for number, lines in blocks(unzipped(file), limit, str(path)):
            filled = [line for line in lines if line]
            named = is_name(filled[0]) if named is None else named
            try:
                found, rows = parse_names(filled) if named else parse_numbers(filled)
                if columns not in (0, rows.shape[1] + 1):
                    raise ValueError
            except ValueError:
                raise UsageError(f"{path}, {next(problems(lines, number, columns, named))}") from None
            columns = rows.shape[1] + 1
            check_pixels(columns - 1, str(path))
            labels.append(found)
            images.append(rows)
    if not columns:
        raise UsageError(f"{path}: no rows; expected a label and grey levels in each")
    return checked(np.concatenate(images), np.concatenate(labels), str(path), str(path))


def is_header(line: str) -> bool:
    """Return whether the first line of a file has the columns' names: then the second one's is no number."""
    return HEADER.match(line) is not None and not NUMBER.fullmatch(line.partition(",")[2].partition(",")[0])


def is_name(line: str) -> bool:
    """Return whether the label of a row is the name of a class."""
    return NAME.match(line.partition(",")[0]) is not None


def parse_numbers(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n,) and values (n, columns - 1) of rows that are all numbers. Raises ValueError."""
    try:
        rows = parse(lines, np.uint16)
    except ValueError:
        labels, rest = zip(*(line.partition(",")[::2] for line in lines), strict=True)
        return parse(list(labels), np.uint16)[:, 0], parse_values(list(rest))
    return rows[:, 0], as_bytes(rows[:, 1:])


def parse_names(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return names (n,) and values (n, columns - 1) of rows. Raises ValueError."""
    names, rest = zip(*(line.partition(",")[::2] for line in lines), strict=True)
    if not all(NAME.fullmatch(name) for name in names):
        raise ValueError
    plain = [name.strip(" \"'").encode("latin-1").decode() for name in names]
    return np.array(plain), parse_values(list(rest))


def parse_values(lines: list[str]) -> np.ndarray:
    """Return grey levels as uint8, or what has fractions as float32, (n, columns). Raises ValueError."""
    try:
        return as_bytes(parse(lines, np.uint16))
    except ValueError:
        found = parse(lines, np.float32)
        if not np.isfinite(found).all():
            raise
        return found if has_fractions(found) else as_bytes(found)


def parse(lines: list[str], kind: type[np.generic]) -> np.ndarray:
    """Return numbers between commas, (n, columns), of n lines. Raises ValueError."""
    if not all(map(str.strip, lines)):  # NumPy would leave those out
        raise ValueError
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older NumPy reads 1.5 as 1, and only warns
        return np.loadtxt(lines, kind, delimiter=",", comments=None, ndmin=2)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Return grey levels as uint8. Raises ValueError."""
    if (values > MOST_GREY).any() or (values < 0).any():
        raise ValueError
    return values.astype(np.uint8)


def blocks(stream: Stream, limit: int, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV file, many at a time, with the number of the first; a header is left blank."""
    number = 1
    while block := stream.read(CHUNK):
        rest = stream.readline(LONGEST_LINE)
        check_size(stream.tell(), limit, source)
        lines = [line.strip(" \r") for line in (block + rest).decode("latin-1").split("\n")]
        if len(rest) == LONGEST_LINE:
            raise UsageError(f"{source}, line {number + len(lines) - 1}: longer than {LONGEST_LINE:,} bytes")
        if number == 1 and is_header(lines[0]):
            lines[0] = ""
        if any(lines):
            yield number, lines
        number += len(lines) - 1


def is_row(line: str) -> bool:
    """Return whether nothing is wrong with values of a line, sooner than by a look at each where there are many."""
    try:
        return len(parse_values([line])) == 1
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


def problems(lines: list[str], first: int, columns: int, named: bool) -> Iterator[str]:
    """Yield what is wrong with lines of a CSV file, the first of which has the number `first`."""
    label, right = (NAME, "the name of a class") if named else (INTEGER, f"an integer from 0 to {MOST_LABEL}")
    for number, line in enumerate(lines, first):
        if not line:
            continue
        found = line.count(",") + 1
        columns = columns or found
        if found != columns:
            yield f"line {number}: {found} columns, but {columns} in the rows before"
        for start, part in stretches(line):
            if len(part) >= LONG_LINE and start > 1 and is_row(part):
                continue
            for column, field in enumerate(part.split(","), start):
                where = f"line {number}, column {column}: {field[:20]!r} is not"
                if column == 1:
                    if not label.fullmatch(field) or (not named and int(field) > MOST_LABEL):
                        yield f"{where} {right}"
                elif not is_value(field):
                    yield f"{where} an integer from 0 to {MOST_GREY}, nor a fraction"
    yield f"line {first} and the next: not rows of numbers"


def is_value(field: str) -> bool:
    if INTEGER.fullmatch(field):
        return int(field) <= MOST_GREY
    if not NUMBER.fullmatch(field) or abs(value := float(field)) > LARGEST:
        return False
    return not value.is_integer() or 0 <= value <= MOST_GREY
