"""What the user sees of a long run: a line a finished point, and on a terminal a bar with the time left."""

import contextlib
import sys
from time import monotonic

from bench.harness.estimate import told
from mpinn.system import terminal


class Progress:
    """Progress over work whose parts have estimates; what is left is scaled by how long the parts so far took."""

    def __init__(self, estimates: list[float]) -> None:
        """estimates: seconds of every part still to do, in order."""
        self.estimates = estimates
        self.done = 0
        self.began = monotonic()
        self.bar: terminal.Bar | None = None

    def left(self) -> str:
        """Return the time left, for people."""
        spent = monotonic() - self.began
        expected = sum(self.estimates[: self.done])
        scale = spent / expected if self.done and expected else 1.0
        return told(scale * sum(self.estimates[self.done :]))

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            with contextlib.suppress(ImportError):  # rich is not installed
                self.bar = terminal.Bar("", len(self.estimates), sys.stderr, left=self.left())
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.remove()

    def start(self, what: str) -> None:
        """Show what is at work now."""
        if self.bar:
            self.bar.move(self.done, f"{self.done + 1} of {len(self.estimates)}: {what}", self.left())

    def end(self, line: str) -> None:
        """Count a part as done, and print its line."""
        self.done += 1
        if self.bar:
            self.bar.print(line)
            self.bar.move(self.done, left=self.left())
        else:
            print(f"{self.done}/{len(self.estimates)}  {line}  ({self.left()} left)", file=sys.stderr, flush=True)
