"""The style of all charts: colours, axes and legends."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from vaetune.config import Objective
from vaetune.report.text.units import printable

Axes: TypeAlias = Any
"""A matplotlib Axes, which has no published types."""

INK = "#1d2127"

MUTED = "#5f6873"

RULE = "#d9dde2"

OTHER = "#9aa3ae"

WINNER = "#0a5fc0"

REFERENCE = "#b4510a"

FAILED = "#c0261c"

_BROWN = "#8a3210"

_GREEN = "#0ea763"

_PURPLE = "#6a1a78"

_OLIVE = "#7d8c13"

LINES = (
    (WINNER, "-"),
    (_BROWN, (0, (5, 2))),
    (_GREEN, (0, (1, 1.2))),
    (_PURPLE, (0, (7, 2, 1.5, 2))),
    (_OLIVE, (0, (2.5, 1.2))),
    (INK, (0, (7, 1.5, 1.5, 1.5, 1.5, 1.5))),
)
"""Colours and patterns of lines that are compared.

People with any colour vision can distinguish them, on white and, with the page's CSS variables, on
black.
"""

THEME = {
    INK: "currentColor",
    MUTED: "var(--muted, #5f6873)",
    RULE: "var(--rule, #d9dde2)",
    OTHER: "var(--other, #9aa3ae)",
    WINNER: "var(--winner, #0a5fc0)",
    REFERENCE: "var(--reference, #b4510a)",
    FAILED: "var(--failed, #c0261c)",
    _BROWN: "var(--line-2, #8a3210)",
    _GREEN: "var(--line-3, #0ea763)",
    _PURPLE: "var(--line-4, #6a1a78)",
    _OLIVE: "var(--line-5, #7d8c13)",
}
"""CSS variables that replace colours in an SVG, so that the page can change them. A PNG keeps the
colours."""

MAX_NAMES = 26
"""Largest number of entries of a legend."""

_STYLE = {
    **{key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"},
    "svg.fonttype": "none",
    "svg.hashsalt": "vaetune",
}


@contextmanager
def chart_style() -> Iterator[None]:
    """Draws and writes figures in the same style for all users, whatever their matplotlibrc says.

    Names of any kind cause no warning. If matplotlib's font lacks a script, a PNG shows a box for
    each letter and an SVG uses the reader's fonts. Names that are too long overlap the chart.
    """
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        for message in (r"Glyph .* missing from", "constrained_layout not applied"):
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
        yield


def new_chart(width: float, height: float) -> tuple[Figure, Axes]:
    """Creates an empty chart with light axes.

    Args:
        width: Width in inches.
        height: Height in inches.
    """
    figure, (axes,) = new_charts(1, width, height)
    return figure, axes


def new_charts(count: int, width: float, height: float) -> tuple[Figure, Sequence[Axes]]:
    """Creates empty charts side by side that share the vertical axis.

    Args:
        count: Number of charts.
        width: Total width in inches.
        height: Height in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    row: Sequence[Axes] = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axes in row:
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(RULE)
        axes.tick_params(color=RULE, labelcolor=MUTED, labelsize=11)
        axes.grid(color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, row


def make_logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Makes an axis logarithmic, with plain numbers at 1, 2 and 5 of each decade."""
    axes.set(**{f"{which}scale": "log"})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """A round number in few characters: 500, 20k, 1M."""
    if value >= 1e6:
        return f"{value / 1e6:,g}M"
    return f"{value / 1e3:,g}k" if value >= 1e4 else f"{value:,g}"


def set_text(setter: Any, text: str) -> None:
    """Labels an axis. The text is never parsed as mathematics.

    Args:
        setter: Method such as `axes.set_xlabel`.
        text: Any text.
    """
    setter(text, parse_math=False, color=INK, fontsize=11)


def set_objective(axes: Axes, objective: Objective, text: str) -> None:
    """Labels the vertical axis of costs by the values of an objective, the best ones as far up.

    A loss is its own cost, and less is better. The axis of a share is turned, and its labels are
    the values, so that better ones lie above.

    Args:
        axes: Axes whose vertical coordinates are costs; see `Objective.cost`.
        objective: The objective.
        text: Label of the axis.
    """
    set_text(axes.set_ylabel, text)
    if objective.is_maximised:
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda cost, _: f"{objective.factor * objective.value(cost):.4g}")
        )
        axes.invert_yaxis()


def add_legend(
    figure: Figure,
    handles: Sequence[Any],
    names: Sequence[str],
    handle_width: float = 1.6,
    room: float = 57.0,
) -> None:
    """Adds a legend above a chart, unless it would have no entries or more than `MAX_NAMES`.

    Args:
        figure: Figure of the chart.
        handles: Artists such as lines.
        names: Name of each handle.
        handle_width: Width of the sample in front of each name, in ems.
        room: Width of the legend, in characters.
    """
    if not names or len(names) > MAX_NAMES:
        return
    shown = [printable(name) for name in names]
    columns = _legend_columns([len(name) + 1.7 * handle_width + 2.3 for name in shown], room)
    # matplotlib fills a legend column by column, but people read row by row.
    order = [i for column in range(columns) for i in range(column, len(shown), columns)]
    legend = figure.legend(
        [handles[i] for i in order],
        # matplotlib interprets underscores and dollar signs, so the names are set below.
        [""] * len(order),
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        labelcolor=INK,
        fontsize=11,
        handlelength=handle_width,
        handletextpad=0.4,
        columnspacing=1.0,
    )
    for text, i in zip(legend.get_texts(), order, strict=True):
        text.set_parse_math(False)
        text.set_text(shown[i])


def _legend_columns(widths: Sequence[float], room: float = 57.0) -> int:
    """The number of columns that fit, with rows of about equal length.

    Args:
        widths: Widths of the entries, in characters.
        room: Width of the legend, in characters.
    """
    if sum(widths) <= room:
        return len(widths)
    rows = math.ceil(len(widths) / max(1, room // max(widths)))
    return math.ceil(len(widths) / rows)
