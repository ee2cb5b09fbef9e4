"""How one worker learns one batch: the reference kernel (NumPy, the definition) and the native one (compiled).

A kernel has `learn(weights, images, labels, exemplars, learned)` and `classify(weights, images)`: see
`reference.Reference`.
"""

import hashlib
import platform
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from mpinn import merge
from mpinn.errors import UsageError
from mpinn.kernels.reference import Reference
from mpinn.network import Network


class Learner(Protocol):
    def learn(
        self,
        weights: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        exemplars: np.ndarray,
        learned: np.ndarray,
    ) -> tuple[float, float]: ...

    def classify(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray: ...


class Kernel(NamedTuple):
    name: str
    id: str  # bits are promised between runs of one id: kernel, build and instruction set
    learner: Learner
    merge: Any  # what merges workers: the module mpinn.merge, or its functions compiled
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
    import site

    here = Path(__file__).parent
    for folder in site.getsitepackages():
        package = Path(folder) / "mpinn" / "kernels"
        if package != here and any(package.glob("native.*.so")):
            return package.parent
    return None


def choose(name: str, network: Network, learning_rate: float, l1: float, l2: float) -> Kernel:
    """Return the kernel `name`: 'native', 'reference', or 'auto', native where it can be had.

    Raises UsageError where 'native' is asked for and cannot be had.
    """
    problem = native_problem() if name != "reference" else ""
    if name != "reference" and not problem:
        from mpinn.kernels import native, native_merge

        problem = native.declines(network)
        if not problem:
            built = b"".join(Path(str(module.__file__)).read_bytes() for module in (native, native_merge))
            build = hashlib.sha256(built).hexdigest()[:12]
            native_id = f"native-{build}-{platform.machine()}-{instruction_set()}"
            return Kernel("native", native_id, native.Native(network, learning_rate, l1, l2), native_merge, "")
    if name == "native":
        raise UsageError(f"--kernel native cannot be used: {problem}; or use --kernel reference")
    reference_id = f"reference-numpy{np.__version__}-{platform.machine()}-{instruction_set()}"
    learner = Reference(network, learning_rate, l1, l2)
    return Kernel("reference", reference_id, learner, merge, problem)
