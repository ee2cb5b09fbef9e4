"""Train a neural network by exemplar parallelism over MPI, and benchmark the machine by doing so."""

from mpinn.system import blas_threads

__version__ = "0.1.0"

blas_threads.limit()  # before anything imports NumPy
