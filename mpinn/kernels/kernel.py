"""Which kernel learns here, native or reference, and what identifies it."""

import hashlib
import platform
import site
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from mpinn.kernels.reference import Reference
from mpinn.merging import rules
from mpinn.model.network import Network
from mpinn.system.errors import UsageError


class Learner(Protocol):
    """How a worker learns a batch, and how images are classified: see `reference.Reference`."""

    def learn(
        self,
        weights: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        exemplars: np.ndarray,
        learned: np.ndarray,
    ) -> tuple[float, float]: ...

    def classify(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray: ...


class Merger(Protocol):
    """How workers' weights are merged: see `merging.rules`. Both modules that do it give the same bits."""

    def add_rounded(
        self, total: np.ndarray, vectors: np.ndarray, counts: np.ndarray, constant: float, limit: float
    ) -> bool: ...

    def move_master(
        self,
        rule: str,
        weights: np.ndarray,
        moments: np.ndarray,
        total: np.ndarray,
        exemplars: int,
        momentum: float,
    ) -> None: ...

    def merge_workers(
        self,
        rule: str,
        weights: np.ndarray,
        moments: np.ndarray,
        vectors: np.ndarray,
        counts: np.ndarray,
        momentum: float,
        constant: float,
        limit: float,
    ) -> bool: ...


class Kernel(NamedTuple):
    name: str
    id: str  # bits are promised between runs of one id: kernel, build and instruction set
    learner: Learner
    merger: Merger
    note: str  # why it is not the native kernel, where that was wanted


def instruction_set() -> str:
    """Return the widest vector instructions of this processor, as Linux names them."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        words = set()
    known = ("avx512f", "avx2", "avx", "sse2", "sve", "asimd", "neon")
    return next((name for name in known if name in words), "scalar")


def native_problem() -> str:
    """Return why the native kernel cannot be used here, with the cure, or an empty string.

    Uncompiled, `native.py` would import where Cython is installed, and crawl: it counts only if compiled.
    """
    try:
        from mpinn.kernels import native, native_merge
    except ImportError:
        compiled = False
    else:
        compiled = native.COMPILED and native_merge.COMPILED
    if compiled:
        return ""
    hidden = compiled_elsewhere()
    if hidden:
        return f"the uncompiled mpinn in {Path.cwd()} hides the compiled one in {hidden}: run from another directory"
    return "it is not compiled: install a C compiler and Python's headers, then run pip install again"


def compiled_elsewhere() -> Path | None:
    """Return an installed mpinn with a compiled kernel that this one, imported from a checkout, hides."""
    for folder in site.getsitepackages():
        package = Path(folder) / "mpinn" / "kernels"
        if package != Path(__file__).parent and any(package.glob("native.*.so")):
            return package.parent
    return None


def choose(name: str, network: Network, learning_rate: float, l1: float, l2: float, rule: str = "mean") -> Kernel:
    """Return the kernel `name`: 'native', 'reference', or 'auto', native where it can be had.

    learning_rate: the step of a worker. rule: what moves the master (`merging.rules`). Raises UsageError where 'native'
    is asked for and cannot be had.
    """
    problem = native_problem() if name != "reference" else ""
    if name != "reference" and not problem:
        from mpinn.kernels import native, native_merge

        problem = native.declines(network) or native_merge.declines(rule)
        if not problem:
            built = b"".join(Path(str(module.__file__)).read_bytes() for module in (native, native_merge))
            build = hashlib.sha256(built).hexdigest()[:12]
            native_id = f"native-{build}-{platform.machine()}-{instruction_set()}"
            return Kernel("native", native_id, native.Native(network, learning_rate, l1, l2), native_merge, "")
    if name == "native":
        raise UsageError(f"--kernel native cannot be used: {problem}; or use --kernel reference")
    reference_id = f"reference-numpy{np.__version__}-{platform.machine()}-{instruction_set()}"
    return Kernel("reference", reference_id, Reference(network, learning_rate, l1, l2), rules, problem)
