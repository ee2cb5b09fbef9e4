"""The benchmark: it measures a machine by running `python -m mpinn.train` on it and reading its result files."""

import mpinn  # noqa: F401 - limits the threads of BLAS before anything here imports NumPy
