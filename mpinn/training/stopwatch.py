"""What the start of a run costs: seconds from the launcher's start to the first exemplar, part by part."""

import os
import time

from mpinn.system.processes import age, launchers


class Stopwatch:
    """The seconds that each part of the start took, on this rank."""

    def __init__(self) -> None:
        """Begin with what was before: the launcher, and the interpreter with what it has imported so far."""
        self.parts: dict[str, float] = {}
        try:
            since_python = age(os.getpid())
            since_launch = max([since_python, *map(age, launchers())])
            self.parts = {"launcher": since_launch - since_python, "python": since_python}
        except OSError:
            pass
        self.last = time.monotonic()

    def lap(self, name: str) -> None:
        """End the part `name` here."""
        now = time.monotonic()
        self.parts[name] = now - self.last
        self.last = now
