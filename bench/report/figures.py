"""Figures as SVG text that follows the page: text and axes take the colour of the text around them."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

INK = "#010203"  # stands for currentColor
COLOURS = ("#3b82c4", "#d9822b", "#3f9c5a", "#c2528b", "#8a6fd1", "#8c8c2b", "#2ba3a3", "#b05a3c")  # on light and dark
MARKS = "osD^vP*X"
SIZE = (6.4, 4.0)  # inches
LEGEND_ROW = 0.22  # inches, for each row of a legend beyond two
LONG = 30  # characters of a label, of which two do not fit beside each other
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a title may have a $
    "svg.hashsalt": "mpinn",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


class Line(NamedTuple):
    """A curve with the band that its repeats span; `low` and `high` are empty where there is none."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    marks_only: bool = False  # points without a line


def marks(found: dict[str, list[tuple[float, float]]]) -> list[Line]:
    """Return lines of published points, (x, y) each, by label."""
    return [
        Line(text, [x for x, _ in sorted(points)], [y for _, y in sorted(points)], marks_only=True)
        for text, points in found.items()
    ]


def lines(drawn: Sequence[Line], x: str, y: str, ideal: bool = False, log: bool = False) -> str:
    """Return a figure of curves. With `ideal`, the line on which y equals x; with `log`, x is logarithmic, or both."""
    with matplotlib.rc_context(STYLE):
        figure, axes = empty(x, y)
        for number, line in enumerate(drawn):
            colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
            style = "none" if line.marks_only else "-"
            axes.plot(line.x, line.y, linestyle=style, marker=mark, color=colour, label=line.label, markersize=5)
            if line.low:
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
        points = sorted({value for line in drawn for value in line.x})
        if ideal:
            axes.plot(points, points, ":", color=INK, alpha=0.6, label="ideal")
            most = max(2.0, 1.2 * max(value for line in drawn for value in (*line.y, *line.high)))
            axes.set_ylim(min((1.0, *(value for line in drawn for value in (*line.y, *line.low)))) / 1.2, most)
        if log:
            axes.set_xscale("log", base=2)
            if ideal:
                axes.set_yscale("log", base=2)  # so that the ideal is straight
            for axis in (axes.xaxis, axes.yaxis) if ideal else (axes.xaxis,):
                axis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axis.set_minor_formatter(NullFormatter())
        if len(points) <= 8:
            axes.set_xticks(points)
        columns = 1 if max(len(line.label) for line in drawn) > LONG else 2
        rows = -(-(len(drawn) + ideal) // columns)
        figure.set_figheight(SIZE[1] + LEGEND_ROW * max(0, rows - 2))
        return text(figure, axes, len(drawn) + ideal > 1, columns)


def stacks(labels: Sequence[str], parts: Mapping[str, Sequence[float]], y: str) -> str:
    """Return stacked bars: parts, by name, one value a label."""
    with matplotlib.rc_context(STYLE):
        figure, axes = empty("", y)
        bottom = [0.0] * len(labels)
        for number, (part, values) in enumerate(parts.items()):
            axes.bar(labels, values, 0.6, bottom, label=part, color=COLOURS[number])
            bottom = [below + value for below, value in zip(bottom, values, strict=True)]
        return text(figure, axes, True)


def bars(drawn: Sequence[tuple[str, float, float, float]], x: str) -> str:
    """Return horizontal bars: (label, minimum, median, maximum) each, the median's length, the others as whiskers."""
    with matplotlib.rc_context(STYLE):
        figure, axes = empty(x, "")
        figure.set_figheight(1 + 0.4 * len(drawn))
        labels = [label for label, *_ in drawn]
        middles = [middle for _, _, middle, _ in drawn]
        whiskers = [[middle - low for _, low, middle, _ in drawn], [high - middle for _, _, middle, high in drawn]]
        drawn_bars = axes.barh(labels, middles, 0.6, xerr=whiskers, color=COLOURS[0], ecolor=INK)
        axes.bar_label(drawn_bars, [f"{middle:,.4g}" for middle in middles], padding=4)  # a short bar may not be seen
        axes.margins(x=0.15)
        axes.invert_yaxis()
        return text(figure, axes, False)


def empty(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25, color=INK)
    axes.set_axisbelow(True)
    return figure, axes


def text(figure: Figure, axes: Axes, legend: bool, columns: int = 2) -> str:
    """Return the figure as an <svg> element, with a legend of so many columns."""
    if legend:
        figure.legend(loc="outside lower center", ncols=columns)
    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL).strip()


def named(svg: str, name: str, title: str) -> str:
    """Return an <svg> element whose ids begin with a name, which no other on the page has, and that tells its title."""
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    told = f'role="img" aria-label={quoteattr(title)}'
    return re.sub(r'width="([\d.]+pt)" height="[\d.]+pt"', lambda size: f'{told} width="{size[1]}"', svg, count=1)


def alone(svg: str) -> str:
    """Return an <svg> element as a file of its own: dark on white, wherever it is shown."""
    return '<?xml version="1.0" encoding="utf-8"?>\n' + svg.replace(
        "<svg ", '<svg style="color: #1a1a1a; background: #ffffff" ', 1
    )
