"""The paper's lessons, measured: its bad-code variants beside the good ones, kept out of the library."""
