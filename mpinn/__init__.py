"""Train a neural network by exemplar parallelism over MPI, and benchmark the machine by doing so."""

from mpinn.version import __version__

__all__ = ["__version__"]
