"""The terminal: tables, and a bar that moves. Drawn by rich where it is installed and a person looks, else plain."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from mpinn.system import processes


class Table(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def show(table: Table) -> None:
    """Print a table."""
    drawn: Any = rich_table(table) if sys.stdout.isatty() else None
    if drawn:
        from rich.console import Console

        Console(highlight=False, markup=False).print(drawn)
    else:
        print("\n".join([*([table.title] if table.title else []), aligned([table.columns, *table.rows])]))


def rich_table(table: Table) -> Any:
    """Return a table for rich, or None where rich is not installed."""
    try:
        from rich.table import Table as RichTable
    except ImportError:
        return None
    drawn = RichTable(title=table.title, title_justify="left")
    for column, right in zip(table.columns, numeric(table.rows), strict=False):
        drawn.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn


def numeric(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Return for each column whether all its cells are numbers, and so stand to the right."""
    return [all(cell[:1].isdigit() and " " not in cell for cell in column) for column in zip(*rows, strict=True)]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of them the heads, as plain text with aligned columns."""
    right = numeric(rows[1:]) or [False] * len(rows[0])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(row, widths, right, strict=True)
        ]
        for row in rows
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def seen_by_a_person() -> str | None:
    """Return the terminal on which our standard output ends up, or None.

    Under mpirun a rank's own standard output tells nothing (Open MPI makes it a pseudo-terminal, MPICH a pipe).
    A person sees the launcher's, if the launcher runs on this host.
    """
    shown = os.path.realpath("/proc/self/fd/1")
    for pid in processes.launchers():
        shown = os.path.realpath(f"/proc/{pid}/fd/1")
    return shown if shown.startswith(("/dev/pts/", "/dev/tty")) else None


def width_of(path: str) -> int:
    """Return the columns of a terminal."""
    try:
        with Path(path).open() as tty:
            return os.get_terminal_size(tty.fileno()).columns or 80
    except OSError:
        return 80


class Bar:
    """One line at the bottom of the screen that shows how far some work is."""

    def __init__(self, title: str, total: int, file: TextIO, width: int | None = None, left: str | None = None) -> None:
        """Draw it, at most `width` columns wide. left: the time left, in words, if rich is not to estimate it.

        Raises ImportError where rich is not installed.
        """
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        remaining = TimeRemainingColumn() if left is None else TextColumn("{task.fields[left]} left")
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"), remaining)
        self.progress = Progress(*columns, auto_refresh=False)
        self.task = self.progress.add_task(title, total=total, left=left)
        self.console = Console(file=file, force_terminal=True, width=width, highlight=False, markup=False)
        # A run that is killed could not bring a hidden cursor back.
        self.console.show_cursor = lambda show=True: False  # type: ignore[method-assign]
        # Open MPI forwards whole lines only: the empty line behind the bar lets the bar's own through.
        self.live = Live(Group(self.progress, ""), console=self.console, auto_refresh=False, transient=True)
        self.live.start(refresh=True)

    def move(self, done: int, title: str | None = None, left: str | None = None) -> None:
        """Show so much of the total as done."""
        self.progress.update(self.task, completed=done, description=title, left=left)
        self.live.refresh()

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line)

    def remove(self) -> None:
        """Take it off the screen."""
        self.live.stop()
