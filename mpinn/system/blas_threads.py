"""A rank is one process on one core, so its BLAS gets one thread, unless the user says more."""

import os

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit() -> None:
    """Set what BLAS libraries read when they are loaded; without effect after NumPy was imported."""
    for name in VARIABLES:
        os.environ.setdefault(name, "1")


def chosen() -> dict[str, str]:
    """Return the variables as they are set, for the environment of every rank."""
    return {name: os.environ[name] for name in VARIABLES}
