"""Which kernel learns here, native or reference, and what identifies it."""

import hashlib
import platform
import site
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from mpinn.kernels.reference import Learned, Reference
from mpinn.merging import sums
from mpinn.merging.formats import Merger
from mpinn.merging.term import Term
from mpinn.model.network import Network
from mpinn.system.errors import UsageError

SLOW = "slow: this build or processor has no fused multiply-add, and computes it in software"
NUMERICS = 1  # of the definition of bits in docs/numerics.md: raised when any bit of weights may change


class Learner(Protocol):
    """How a worker learns a batch, and how images are classified: see `reference.Reference`."""

    def learn(
        self,
        weights: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        exemplars: np.ndarray,
        learned: np.ndarray | Term,
        between: Callable[[], object] | None = None,
    ) -> Learned: ...

    def gradient(
        self,
        weights: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        exemplars: np.ndarray,
        direction: np.ndarray | Term,
        between: Callable[[], object] | None = None,
    ) -> Learned: ...

    def set_rate(self, learning_rate: float) -> None: ...

    def set_epoch(self, seed: int, epoch: int) -> None: ...

    def classify(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray: ...


class Kernel(NamedTuple):
    name: str
    id: str  # kernel, build and instruction set
    numerics: int | None  # bits are promised between runs of one number; None: between runs of one id
    learner: Learner
    merger: Merger
    note: str  # why it is not the native kernel where that was wanted, or why it is slow

    def same_bits(self, id: str, numerics: int | None) -> bool:
        """Return whether another kernel gives the same bits."""
        return self.numerics == numerics and (numerics is not None or self.id == id)


def instruction_set() -> str:
    """Return the widest vector instructions of this processor, as Linux names them."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        words = set()
    known = ("avx512f", "avx2", "avx", "sse2", "sve", "asimd", "neon")
    return next((name for name in known if name in words), "scalar")


def native_problem() -> str:
    """Return why the native kernel cannot be used here, with the cure, or an empty string."""
    try:
        from mpinn.kernels import native  # noqa: F401
    except ImportError as error:
        if any(Path(__file__).parent.glob("native.*.so")):
            return f"it cannot be loaded: {error}; run pip install again"
        hidden = compiled_elsewhere()
        if hidden:
            return (
                f"the uncompiled mpinn in {Path.cwd()} hides the compiled one in {hidden}: run from another directory"
            )
        return "it is not compiled: install a C compiler and Python's headers, then run pip install again"
    return ""


def check_bits() -> None:
    """Raise UsageError where the native kernel does not give the bits of the definition on this processor."""
    from mpinn.kernels import native

    if wrong := native.self_test():
        raise UsageError(
            f"the native kernel fails its self-test ({', '.join(wrong)}; {native.VECTORS}): the compiler, its flags or "
            "the processor give other bits than docs/numerics.md promises; build it without MPINN_CFLAGS and with "
            "another compiler, or take --kernel reference"
        )


def compiled_elsewhere() -> Path | None:
    """Return an installed mpinn with a compiled kernel that this one, imported from a checkout, hides."""
    for folder in site.getsitepackages():
        package = Path(folder) / "mpinn" / "kernels"
        if package != Path(__file__).parent and any(package.glob("native.*.so")):
            return package.parent
    return None


def choose(
    name: str,
    network: Network,
    learning_rate: float,
    l1: float,
    l2: float,
    rule: str = "mean",
    layer_rates: Sequence[float] | None = None,
    momentum: float = 0.0,
) -> Kernel:
    """Return the kernel `name`: 'native', 'reference', or 'auto', native where it can be had.

    learning_rate: the step of a worker; layer_rates: by which that of each layer of weights is multiplied, None: all by
    1; momentum: of its steps. rule: what moves the master (`merging.rules`). Raises UsageError where 'native'
    is asked for and cannot be had, or gives wrong bits.
    """
    problem = native_problem() if name != "reference" else ""
    if name != "reference" and not problem:
        from mpinn.kernels import native

        problem = native.declines(network, rule)
        if not problem:
            check_bits()
            build = hashlib.sha256(Path(str(native.__file__)).read_bytes()).hexdigest()[:12]
            native_id = f"native-{build}-{platform.machine()}-{native.VECTORS}"
            note = "" if native.FUSED else SLOW
            learner = native.Native(network, learning_rate, l1, l2, layer_rates, momentum)
            return Kernel("native", native_id, NUMERICS, learner, native, note)
    if name == "native":
        raise UsageError(f"--kernel native cannot be used: {problem}; or use --kernel reference")
    note = f"not native: {problem}" if problem else ""
    reference_id = f"reference-numpy{np.__version__}-{platform.machine()}-{instruction_set()}"
    slow = Reference(network, learning_rate, l1, l2, layer_rates, momentum)
    return Kernel("reference", reference_id, None, slow, sums, note)
