"""Draws the best objective so far of several searches on the same data against working time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from vaetune.report.charts.curves import TIME_UNITS, ProgressInfo, compute_progress
from vaetune.report.charts.style import (
    LINES,
    add_legend,
    chart_style,
    make_logarithmic,
    new_chart,
    set_objective,
    set_text,
)
from vaetune.study import Study

SIZE = (11.2, 3.8)
"""Width and height in inches. The chart is as wide as the page."""

MAX_SEARCHES = len(LINES)
"""Largest number of searches that are drawn. More lines could not be distinguished."""

LOG_RATIO = 10
"""The time axis is logarithmic if the durations of the searches differ by at least this factor."""


@dataclass(frozen=True)
class SearchCurve:
    """The best objective so far of a search.

    Attributes:
        name: Name of the search.
        progress: Lowest cost among completed trials, over working time.
    """

    name: str
    progress: ProgressInfo


@dataclass(frozen=True)
class ComparisonInfo:
    """Searches on the same data.

    Attributes:
        curves: Curve of each search, the one with the best winner first.
        floor: Entropy floor of the data, nats per image; None without one, or if the objective
            is not the loss.
        left_out: Number of searches with worse winners that are not drawn.
        is_log: True if the time axis is logarithmic.
    """

    curves: tuple[SearchCurve, ...]
    floor: float | None
    left_out: int
    is_log: bool


def compute_comparison(studies: Sequence[Study]) -> ComparisonInfo:
    """Computes the best objective so far of each search.

    Args:
        studies: Searches on the same data with the same objective, the one with the best winner
            first.
    """
    curves = tuple(
        SearchCurve(study.name, compute_progress(study, None)) for study in studies[:MAX_SEARCHES]
    )
    firsts = [second for curve in curves for second in curve.progress.seconds[:1]]
    untils = [curve.progress.until_s for curve in curves]
    is_log = min(firsts, default=0) > 0 and max(untils) >= LOG_RATIO * min(untils)
    floor = studies[0].entropy_floor if studies[0].objective.is_loss else None
    return ComparisonInfo(curves, floor, len(studies) - len(curves), is_log)


@chart_style()
def draw_comparison(info: ComparisonInfo) -> Figure:
    """Draws a step line for each search, each with its own colour and pattern."""
    figure, axes = new_chart(*SIZE)
    longest_s = max(curve.progress.until_s for curve in info.curves)
    unit_s, unit = next((s, u) for s, u in TIME_UNITS if longest_s >= 3 * s or s == 1)
    handles: list[Any] = []
    for curve, (colour, pattern) in zip(info.curves, LINES, strict=False):
        progress = curve.progress
        costs = (*progress.costs, *progress.costs[-1:])
        (line,) = axes.step(
            [second / unit_s for second in (*progress.seconds, progress.until_s)],
            [cost if info.floor is None else max(cost - info.floor, 1e-3) for cost in costs],
            where="post",
            color=colour,
            linestyle=pattern,
            linewidth=2.2,
            zorder=3 - 0.1 * len(handles),  # The best search is on top.
        )
        handles.append(line)
    if info.floor is not None:  # On a linear axis, the high first losses would flatten the rest.
        make_logarithmic(axes, "y")
    if info.is_log:
        make_logarithmic(axes, "x")
    else:
        axes.set_xlim(0, max(longest_s / unit_s, 1e-3) * 1.02)
    set_text(axes.set_xlabel, f"{unit} of working time")
    objective = info.curves[0].progress.objective
    is_excess = info.floor is not None
    set_objective(axes, objective, "nats above the entropy floor" if is_excess else objective.axis)
    add_legend(figure, handles, [curve.name for curve in info.curves], handle_width=3.2)
    return figure
