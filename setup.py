"""Build the native kernel: Cython's pure Python mode, ahead of time, and optional.

Everything else about the package is in pyproject.toml. Where there is no C compiler the installation
succeeds without the extension, and the program says that it runs the NumPy kernel.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

# Flags are named one by one. None of them lets the compiler regroup sums: the kernel's bits depend on the
# order that its source says, and the exact merge depends on (x + c) - c not being simplified. Unroll-and-jam would
# have it work on several rows of weights at once, and gather them number by number. Debugging information
# would name the directory of the build: without it the same source gives the same kernel_id wherever it is built.
FLAGS = [
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fno-loop-unroll-and-jam",
    "-g0",
]
FLAGS = os.environ.get("MPINN_CFLAGS", " ".join(FLAGS)).split()
UNFUSED = ["-ffp-contract=off"]  # NumPy's bits: no product is added before it is rounded

modules = [
    Extension("mpinn.kernels.native", ["mpinn/kernels/native.py"], extra_compile_args=FLAGS),
    Extension("mpinn.kernels.native_merge", ["mpinn/kernels/native_merge.py"], extra_compile_args=FLAGS + UNFUSED),
]
extensions = cythonize(modules, compiler_directives={"language_level": 3})
for extension in extensions:
    extension.optional = True  # cythonize forgets it where it is said above

setup(ext_modules=extensions)
