"""The records of a run, one JSON object a line in DIR/records.jsonl; docs/bench.md explains every field.

A record is appended whole and synced, so that a killed run loses none; a line that a crash cut short is left out.
"""

import hashlib
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

# What of a record names neither hosts nor people nor places: all that may be published, and that the chain is made of.
PUBLIC = (
    *("schema_version", "suite", "experiment", "point", "repeat", "program", "ranks", "workers", "seed", "options"),
    *("length", "wait_policy", "verdict", "official", "metrics", "units", "series", "seconds", "started"),
    "wall_seconds",
)
PUBLIC_ENVIRONMENT = (
    "kernel_id",
    "numerics",
    "mpi",
    "ranks",
    "oversubscribed",
    "wait_policy",
    "same_kernel_everywhere",
)


def public(record: Record) -> Record:
    """Return what of a record may be published: nothing of it names a host, a person or a place."""
    found = {name: record[name] for name in PUBLIC if name in record}
    found["hosts"] = [{key: value for key, value in host.items() if key != "host"} for host in record["hosts"]]
    environment = record["environment"]
    found["environment"] = {name: environment[name] for name in PUBLIC_ENVIRONMENT if name in environment}
    return found


def link(before: str, record: Record) -> str:
    """Return the `chain` of a record: a hash of what is public of it, and of the record before by its own."""
    text = json.dumps(public(record), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(f"{before}{text}".encode()).hexdigest()[:32]


def chain_of(content: bytes) -> str:
    """Return the chain of the last record of a file, or an empty string."""
    lines = content.splitlines()
    last = json_value(lines[-1]) if lines else None
    return str(last.get("chain", "")) if isinstance(last, dict) else ""


def append(directory: Path, added: Record) -> None:
    """Add a record, chained to the one before. Raises MpinnError."""
    record = {"schema_version": SCHEMA_VERSION, **without_nan(added)}
    path = directory / FILE
    try:
        with path.open("r+b" if path.exists() else "x+b") as file:
            content = file.read()
            kept = whole(content)
            file.truncate(kept)
            file.seek(0, os.SEEK_END)
            record["chain"] = link(chain_of(content[:kept]), record)
            line = json.dumps(record, allow_nan=False) + "\n"
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
