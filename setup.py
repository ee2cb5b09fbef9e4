"""Build the native kernel, mpinn/kernels/c, ahead of time, and optional.

Everything else about the package is in pyproject.toml. Where there is no C compiler the installation
succeeds without the extension, and the program says that it runs the NumPy kernel.
"""

import os
import platform
import struct
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# Flags are named one by one. The bits do not depend on them: the source says in which order it adds, and what is fused.
# Debugging information would name the directory of the build: without it the same source gives the same kernel_id
# wherever it is built.
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-g0"]


def fused_on_arm() -> list[str]:
    """Return the flag without which compilers for 32-bit ARM use neither NEON nor fused multiply-add, where it fits."""
    words = set(Path("/proc/cpuinfo").read_text().split())
    has = {"neon", "vfpv4"} <= words or "asimd" in words  # asimd: seen from a 64-bit kernel
    is_arm = platform.machine().startswith(("arm", "aarch64")) and struct.calcsize("P") == 4
    return ["-mfpu=neon-vfpv4"] if is_arm and has else []


FLAGS = os.environ.get("MPINN_CFLAGS", " ".join(FLAGS + fused_on_arm())).split()
FLAGS += ["-ffp-contract=off"]  # whatever is asked for: a compiler that fuses products and sums changes the bits

C = Path("mpinn/kernels/c")
HEADERS = sorted(map(str, C.glob("*.h")))
SOURCES = ["mpinn/kernels/native.pyx", *sorted(map(str, C.glob("*.c")))]

extensions = cythonize([Extension("mpinn.kernels.native", SOURCES, depends=HEADERS, extra_compile_args=FLAGS)])
extensions[0].optional = True  # cythonize forgets it where it is said above

setup(ext_modules=extensions)
