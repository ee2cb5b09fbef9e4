"""What the user sees of a long run: a line a finished point, and on a terminal a bar with the time left."""

import sys
from time import monotonic
from typing import Any

from bench.estimate import told

try:
    from rich import progress as bars
except ImportError:
    bars = None  # type: ignore[assignment]


class Progress:
    """Progress over work whose parts have estimates; what is left is scaled by how long the parts so far took."""

    def __init__(self, estimates: list[float]) -> None:
        """estimates: seconds of every part still to do, in order."""
        self.estimates = estimates
        self.done = 0
        self.began = monotonic()
        self.bar: Any = None
        if bars and sys.stderr.isatty():
            columns = (
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                bars.MofNCompleteColumn(),
                bars.TextColumn("{task.fields[left]} left"),
            )
            from rich.console import Console

            self.bar = bars.Progress(*columns, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task("", total=len(estimates), left=self.left())

    def left(self) -> str:
        """Return the time left, for people."""
        spent = monotonic() - self.began
        expected = sum(self.estimates[: self.done])
        scale = spent / expected if self.done and expected else 1.0
        return told(scale * sum(self.estimates[self.done :]))

    def __enter__(self) -> "Progress":
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def start(self, what: str) -> None:
        """Say what is at work now."""
        if self.bar:
            self.bar.update(self.task, description=what, left=self.left())

    def end(self, line: str) -> None:
        """Count a part as done, and print its line."""
        self.done += 1
        if self.bar:
            self.bar.update(self.task, completed=self.done, left=self.left())
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            print(f"{self.done}/{len(self.estimates)}  {line}  ({self.left()} left)", file=sys.stderr, flush=True)
