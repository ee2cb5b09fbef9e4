"""The records of a run, one JSON object a line in DIR/records.jsonl; docs/bench.md explains every field.

A record is appended whole and synced, so that a killed run loses none; a line that a crash cut short is left out.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpinn.system.errors import MpinnError, UsageError
from mpinn.system.files import without_nan

SCHEMA_VERSION = 1
FILE = "records.jsonl"
VALID, DEGRADED, INVALID = "VALID", "DEGRADED", "INVALID"

Record = dict[str, Any]


def append(directory: Path, record: Record) -> None:
    """Add a record. Raises MpinnError."""
    line = json.dumps({"schema_version": SCHEMA_VERSION, **without_nan(record)}, allow_nan=False) + "\n"
    path = directory / FILE
    try:
        with path.open("r+b" if path.exists() else "x+b") as file:
            file.truncate(whole(file.read()))
            file.seek(0, os.SEEK_END)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise MpinnError(f"{path}: cannot be written: {error.strerror}; free space, then run the same again") from None


def whole(content: bytes) -> int:
    """Return the length of a file's complete lines."""
    return content.rfind(b"\n") + 1


def read(directory: Path) -> list[Record]:
    """Return the records of a run, oldest first; none where nothing was recorded yet. Raises UsageError."""
    path = directory / FILE
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return list(parse(content[: whole(content)], path))


def parse(content: bytes, path: Path) -> Iterator[Record]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = json.loads(line)
            newer = record["schema_version"] > SCHEMA_VERSION
            fits = isinstance(record["metrics"], dict) and record["verdict"] in (VALID, DEGRADED, INVALID)
            fits &= isinstance(record["reasons"], list) and isinstance(record["repeat"], int)
            fits &= isinstance(record["suite"], str) and isinstance(record["point"], str)
        except (ValueError, KeyError, TypeError, RecursionError):
            newer = fits = False
        if newer:
            raise UsageError(f"{path}, line {number}: written by a newer bench; update mpinn")
        if not fits:
            raise UsageError(f"{path}, line {number}: not a record; restore the file or start with another --out")
        yield record


def latest(found: list[Record]) -> list[Record]:
    """Return the last record of every point and repeat: one that was measured again stands for the earlier ones."""
    return list({(record["point"], record["repeat"]): record for record in found}.values())


def existing(directory: Path) -> list[Record]:
    """Return the latest records of a directory that must have some. Raises UsageError."""
    found = latest(read(directory)) if directory.is_dir() else []
    if not found:
        raise UsageError(
            f"{directory}: no {FILE} with records; `python -m bench run SUITE --out {directory}` makes them"
        )
    return found
