"""The records of a run, one JSON object a line in DIR/records.jsonl; docs/bench.md explains every field.

A record is appended whole and synced, so that a killed run loses none; a line that a crash cut short is left out.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.harness.stored import VERDICTS, record
from mpinn.system import untrusted
from mpinn.system.errors import MpinnError, UsageError
from mpinn.system.files import without_nan
from mpinn.system.untrusted import json_value

SCHEMA_VERSION = 1
FILE = "records.jsonl"
LONGEST = 2**26  # bytes; a record has some 5,000
VALID, DEGRADED, INVALID = VERDICTS

Record = dict[str, Any]


def append(directory: Path, added: Record) -> None:
    """Add a record. Raises MpinnError."""
    line = json.dumps({"schema_version": SCHEMA_VERSION, **without_nan(added)}, allow_nan=False) + "\n"
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
    content = untrusted.content(path, LONGEST) if path.exists() else b""
    return list(parse(content[: whole(content)], path))


def parse(content: bytes, path: Path) -> Iterator[Record]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            content = json_value(line)
            version = content.get("schema_version") if isinstance(content, dict) else None
            newer = type(version) is int and version > SCHEMA_VERSION
            found = None if newer else record(content)
        except (ValueError, UsageError) as error:
            raise UsageError(
                f"{path}, line {number}: not a record: {error}; restore the file or start with another --out"
            ) from None
        if found is None:
            raise UsageError(f"{path}, line {number}: written by a newer bench; update mpinn")
        yield found


def latest(found: list[Record]) -> list[Record]:
    """Return the last record of every point and repeat: one that was measured again stands for the earlier ones."""
    return list({(one["point"], one["repeat"]): one for one in found}.values())


def existing(directory: Path) -> list[Record]:
    """Return the latest records of a directory that must have some. Raises UsageError."""
    found = latest(read(directory)) if directory.is_dir() else []
    if not found:
        raise UsageError(
            f"{directory}: no {FILE} with records; `python -m bench run SUITE --out {directory}` makes them"
        )
    return found
