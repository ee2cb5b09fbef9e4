"""Who does what when: a row a rank, time from left to right."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.transforms import blended_transform_factory

from bench.report.figures import COLOURS, INK, STYLE, empty, text

BAR, THIN = 0.8, 0.14  # heights, of a row
GAP = 0.5  # rows between two groups
NAME = 0.075  # of the width, of a name above
ROW = 0.3  # inches
LEGEND_COLUMNS = 4
GREY = "#a9a9a9"
STYLES = {  # colour of each kind; the later lie upon the earlier
    "merging": COLOURS[1],
    "waiting": GREY,
    "thinking": COLOURS[0],
    "training": COLOURS[2],
    "MPI's progress": COLOURS[6],
    "rest of learning": "#1f6f6f",
    "slowed": COLOURS[5],
    "recovering": COLOURS[3],
    "other": COLOURS[4],
    "merge under way": COLOURS[7],
}


class Bars(NamedTuple):
    """What one row does: (start, length) each, in the unit of the axis, by a kind of STYLES."""

    label: str
    group: int
    bars: dict[str, list[tuple[float, float]]]


def gantt(rows: Sequence[Bars], x: str, marks: Sequence[tuple[float, str]], ends: Sequence[tuple[float, int]]) -> str:
    """Return the figure; marks: places with a name above; ends: where, and which of the rows, was lost."""
    with matplotlib.rc_context(STYLE):
        figure, axes = empty(x, "")
        places = [number + GAP * row.group for number, row in enumerate(rows)]
        figure.set_figwidth(8.5)
        figure.set_figheight(1.6 + ROW * (places[-1] + 1))
        for kind in STYLES:  # the legend
            if any(kind in row.bars for row in rows):
                axes.broken_barh([], (0, 0), facecolors=STYLES[kind], label=kind)
        for place, row in zip(places, rows, strict=True):
            for kind in STYLES:
                if kind in row.bars:
                    low, height = (place + BAR / 2, THIN) if kind == "merge under way" else (place - BAR / 2, BAR)
                    axes.broken_barh(row.bars[kind], (low, height), facecolors=STYLES[kind], linewidth=0)
        above = blended_transform_factory(axes.transData, axes.transAxes)
        named = -float("inf")  # where the last name is
        for at, name in marks:
            axes.axvline(at, color=INK, linewidth=0.8, alpha=0.5)
            if at - named > NAME * (axes.get_xlim()[1] - marks[0][0]):
                named = at
                axes.text(at, 1.01, name, transform=above, fontsize=9)
        for at, row_number in ends:
            axes.axvline(at, color=COLOURS[3], linewidth=1.5, linestyle="--")
            axes.annotate(
                "lost", (at, places[row_number]), (5, 0), textcoords="offset points", va="center", color=COLOURS[3]
            )
        axes.set_yticks(places, [row.label for row in rows])
        axes.set_ylim(places[-1] + 0.7, -0.7)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0)
        return text(figure, axes, True, LEGEND_COLUMNS)
