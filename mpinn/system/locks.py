"""A lock that one process holds while it writes what another must not."""

import atexit
import contextlib
import errno
import fcntl
import logging
import os
import platform
import time
from pathlib import Path

from mpinn.system.errors import UsageError

log = logging.getLogger("mpinn")

PATIENCE = 5.0  # seconds for the process before this one to be gone
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class Lock:
    """A lock file, held until it is released, or as long as this process lives.

    A POSIX record lock: it holds over NFS, too, where that has its lock service. Processes of one job share it.
    """

    def __init__(self, path: Path, what: str, job: str) -> None:
        """what: is locked, in words for others; job: who holds it."""
        self.path, self.what, self.job = path, what, job
        self.file: int | None = None  # descriptor, where this process holds it

    def take(self) -> None:
        """Hold it; without effect where it is held already.

        Raises UsageError where another process holds it; where files cannot be locked, warns and goes on.
        """
        deadline = time.monotonic() + PATIENCE
        while self.file is None and not self.tried():
            holder = self.path.read_bytes()[:200].decode(errors="replace").strip()
            if holder.startswith(f"job {self.job},"):
                return
            if time.monotonic() > deadline:
                raise UsageError(f"{self.what}: in use by {holder or 'another job'}; give another place")
            time.sleep(0.1)

    def tried(self) -> bool:
        """Try to hold it; return whether that was possible."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}; give another place") from None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(file)
                return False
            log.warning("%s: its file system has no locks: see that no other job uses it", self.what)
        if not self.is_current(file):
            os.close(file)
            return False
        os.truncate(file, 0)
        os.write(file, f"job {self.job}, process {os.getpid()} on {platform.node()}\n".encode())
        self.file = file
        atexit.register(self.release)
        return True

    def is_current(self, file: int) -> bool:
        """Return whether the path still leads to the file: whoever held it before may have removed it."""
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self.file)
            self.file = None
            atexit.unregister(self.release)
