"""How one worker learns one batch: the reference kernel (NumPy, the definition) and the native one (compiled)."""

from mpinn.kernels.kernel import Kernel, choose

__all__ = ["Kernel", "choose"]
