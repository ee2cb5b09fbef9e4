"""A lock that one process holds while it writes what another must not."""

import contextlib
import errno
import fcntl
import logging
import os
import time
from pathlib import Path
from typing import IO

from mpinn.system.errors import UsageError

log = logging.getLogger("mpinn")

PATIENCE = 5.0  # seconds for the process before this one to be gone
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class Lock:
    """A lock file, held as long as this process lives: a POSIX record lock, which NFS knows where it has a lock service."""

    def __init__(self, path: Path, owner: str) -> None:
        """owner: who holds it, in words for others."""
        self.path, self.owner = path, owner
        self.file: IO[str] | None = None

    def take(self, what: str) -> None:
        """Hold it; without effect where it is held already. what: is locked, in words.

        Raises UsageError where another process holds it, and goes on with a warning where files cannot be locked.
        """
        deadline = time.monotonic() + PATIENCE
        while self.file is None:
            try:
                file = self.path.open("a+")
            except OSError as error:
                raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from None
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                holder = file.read(200).strip()
                if error.errno in UNSUPPORTED:
                    log.warning("%s: no locks on this file system: see that no other job uses it", what)
                    self.file = file
                elif time.monotonic() > deadline:
                    raise UsageError(f"{what}: in use by {holder or 'another job'}; give another place") from None
                else:
                    file.close()
                    time.sleep(0.1)
                continue
            if self.is_current(file):
                file.truncate(0)
                print(self.owner, file=file, flush=True)
                self.file = file
            else:
                file.close()

    def is_current(self, file: IO[str]) -> bool:
        """Return whether the path still leads to the file: whoever held it before may have removed it."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.file.close()
            self.file = None
