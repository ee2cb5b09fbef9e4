"""Imported before NumPy: a rank is one process on one core, so its BLAS gets one thread unless the user says more."""

import os

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
for variable in VARIABLES:
    os.environ.setdefault(variable, "1")
