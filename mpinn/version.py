"""The version of the program, written into every result and snapshot."""

__version__ = "0.1.0"
