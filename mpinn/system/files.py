"""Files that are never half written: at any moment the old one is there or the new one, whole."""

import contextlib
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from mpinn.system.errors import MpinnError, UsageError


def home() -> Path:
    """Return the user's home. Raises UsageError where neither HOME nor the password file names one."""
    try:
        return Path.home()
    except RuntimeError:
        raise UsageError("no home directory is known: set HOME") from None


def check_home() -> None:
    """Raise UsageError without HOME: Open MPI does not start then, whatever the password file says."""
    if "HOME" not in os.environ:
        raise UsageError("HOME is not set, and Open MPI does not start without it: export HOME=DIRECTORY")


def replace(path: Path, content: bytes) -> None:
    """Put a new file in the place of `path`: written beside, synced, renamed; with the permissions that it had.

    Raises OSError; then what was there is still there.
    """
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777 if path.exists() else 0o644)
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(beside).unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write(path: Path, content: bytes) -> None:
    """As `replace`. Raises MpinnError that names the file."""
    try:
        replace(path, content)
    except OSError as error:
        raise MpinnError(f"{path}: cannot be written: {error.strerror}; free space or choose another place") from None


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, as `write`; NaN and infinity become null. Raises MpinnError."""
    write(path, (json.dumps(without_nan(value), indent=1, allow_nan=False) + "\n").encode())


def without_nan(value: Any) -> Any:
    """Return the value with every float that JSON cannot express (NaN, infinity) as None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check_writable(directory: Path, option: str) -> None:
    """Raise UsageError unless a file can be made in the directory."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".mpinn-"):
            pass
    except OSError as error:
        raise UsageError(f"{directory}: cannot be written: {error.strerror}; give {option} another place") from None
