"""The bar of an epoch, drawn with rich; import fails where rich is not installed."""

import sys

import rich.console
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Console(rich.console.Console):
    """A console that leaves the cursor alone: a run that is killed could not bring a hidden one back."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class Bar:
    """One line that shows how far an epoch is."""

    def __init__(self, epoch: int, rounds: int, width: int) -> None:
        """Draw it, `width` columns wide at most."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
        self.progress = Progress(*columns, TimeRemainingColumn(), auto_refresh=False)
        self.task = self.progress.add_task(f"epoch {epoch}", total=rounds)
        console = Console(file=sys.stdout, force_terminal=True, width=width)
        # Open MPI forwards whole lines only: the empty line behind the bar lets the bar's own through.
        self.live = Live(Group(self.progress, ""), console=console, auto_refresh=False, transient=True)
        self.live.start(refresh=True)

    def move(self, done: int) -> None:
        """Show so many rounds as done."""
        self.progress.update(self.task, completed=done)
        self.live.refresh()

    def remove(self) -> None:
        """Take it off the screen."""
        self.live.stop()
