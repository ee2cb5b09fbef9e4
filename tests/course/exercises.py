"""What docs/course says: exercises, their commands and what these print, their numbers, figures and questions."""

import re
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[2]
COURSE = CHECKOUT / "docs/course"
RESULTS = CHECKOUT / "results/course"
HEADINGS = ("Aim", "Run", "What should come out", "Questions", "What goes wrong, and why")
CLUSTER = ("9-", "10-", "11-")  # how the names of those begin that need more than this machine

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"^(ansible|board)?\$ (.*)$")  # where a command is given: in the checkout, in ansible/, on a board
FIGURE = re.compile(r"!\[[^]]+\]\((figures/([\w-]+)/([\w-]+)\.svg)\)")
SECTION = re.compile(r"^## (.*)$", re.MULTILINE)
QUESTION = re.compile(r"^(\d+)\. ", re.MULTILINE)
ROW = re.compile(r"^\| ([^|]+) \| `([^|`]+)` \| `([^|`]+)` \| ([\d.]+) to ([\d.]+) \| ([^|]+) \|$", re.MULTILINE)


class Command(NamedTuple):
    """A command of a document, and what it should print: nothing means that this is not compared."""

    where: str  # "", "ansible" or "board"
    text: str
    expected: str


class Number(NamedTuple):
    """A row of a table: a number that should come out, between two bounds."""

    what: str
    of: str  # FILE.json of a run, or SUITE POINT, or SUITE POINT / POINT
    field: str
    least: float
    most: float
    here: str  # what it was where the course was written


class Exercise(NamedTuple):
    path: Path
    sections: dict[str, str]
    commands: list[Command]
    numbers: list[Number]
    figures: list[Path]  # as committed
    questions: list[int]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def results(self) -> set[Path]:
        """Return the directories that its commands make."""
        return {RESULTS / figure.parent.name for figure in self.figures}


def paths() -> list[Path]:
    """Return the documents of the exercises, in order."""
    return sorted(COURSE.glob("[0-9]*-*.md"), key=lambda path: int(path.stem.partition("-")[0]))


def read(path: Path) -> Exercise:
    """Return what a document says."""
    text = path.read_text(encoding="utf-8")
    sections = sections_of(text)
    return Exercise(
        path,
        sections,
        [command for block in BLOCK.findall(text) for command in commands_of(block)],
        [
            Number(what, of, field, float(least), float(most), here)
            for what, of, field, least, most, here in ROW.findall(text)
        ],
        [COURSE / name for name, _, _ in FIGURE.findall(text)],
        [int(number) for number in QUESTION.findall(sections.get("Questions", ""))],
    )


def sections_of(text: str) -> dict[str, str]:
    """Return the text under each heading of the second level."""
    _, *parts = SECTION.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def commands_of(block: str) -> list[Command]:
    """Return the commands of a console block; lines after `> ` belong to the one before."""
    found: list[Command] = []
    for line in block.splitlines(keepends=True):
        start = PROMPT.match(line)
        if start:
            found.append(Command(start[1] or "", start[2], ""))
        elif not found:
            raise ValueError(f"a block begins without a command: {line!r}")
        elif line.startswith("> "):
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line[2:].rstrip()}")
        else:
            found[-1] = found[-1]._replace(expected=found[-1].expected + line)
    return found


def made(figure: Path) -> Path:
    """Return where the commands of the course draw a committed figure: figures/X/Y.svg is X's Y."""
    return RESULTS / figure.parent.name / "figures" / figure.name
