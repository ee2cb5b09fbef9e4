"""Tables on the screen, and the same as Markdown."""

from typing import NamedTuple

try:
    from rich.console import Console
    from rich.table import Table as RichTable
except ImportError:
    Console = None  # type: ignore[assignment, misc]


class Table(NamedTuple):
    title: str
    columns: list[str]
    rows: list[list[str]]


def show(table: Table) -> None:
    """Print a table: drawn by rich where it is there, else as Markdown."""
    if Console is None:
        print(markdown(table))
        return
    drawn = RichTable(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*row)
    Console(highlight=False, markup=False).print(drawn)


def markdown(table: Table) -> str:
    """Return the table as Markdown, its title, where it has one, above it."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"**{table.title}**\n\n{body}" if table.title else body
