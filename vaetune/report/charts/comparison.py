"""Searches on the same data side by side: how soon each found what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from vaetune.report.charts.curves import TIME_UNITS, ProgressInfo, compute_progress
from vaetune.report.charts.style import (
    LINES,
    add_legend,
    make_logarithmic,
    new_chart,
    own_style,
    set_text,
)
from vaetune.study import Study

SIZE = (11.2, 3.8)
"""Inches: as wide as the page."""

MOST = len(LINES)
"""Maximum number of searches drawn: more lines cannot be distinguished."""

APART = 10
"""Time is logarithmic if the longest search took this many times as long as the shortest."""


@dataclass(frozen=True)
class Runner:
    """A search, and the lowest validation loss among its completed trials as it fell."""

    name: str
    progress: ProgressInfo


@dataclass(frozen=True)
class RaceInfo:
    """Searches on the same data against their own working time.

    Attributes:
        runners: The best winner first.
        floor: The data's entropy floor, nats per image.
        left_out: Number of searches with worse winners that are not drawn.
        is_log: Whether time is on a logarithmic scale.
    """

    runners: tuple[Runner, ...]
    floor: float
    left_out: int
    is_log: bool


def compute_race(studies: Sequence[Study]) -> RaceInfo:
    """Follows the best so far of each search.

    Args:
        studies: On the same data, the best winner first.
    """
    runners = tuple(Runner(study.name, compute_progress(study, None)) for study in studies[:MOST])
    firsts = [second for runner in runners for second in runner.progress.seconds[:1]]
    untils = [runner.progress.until_s for runner in runners]
    is_log = min(firsts, default=0) > 0 and max(untils) >= APART * min(untils)
    floor = studies[0].started.data.entropy_floor
    return RaceInfo(runners, floor, len(studies) - len(runners), is_log)


@own_style()
def draw_race(info: RaceInfo) -> Figure:
    """Draws a line of steps for each search, in a colour and a pattern of its own."""
    figure, axes = new_chart(*SIZE)
    longest_s = max(runner.progress.until_s for runner in info.runners)
    unit_s, unit = next((s, u) for s, u in TIME_UNITS if longest_s >= 3 * s or s == 1)
    handles: list[Any] = []
    for runner, (colour, pattern) in zip(info.runners, LINES, strict=False):
        told = runner.progress
        (line,) = axes.step(
            [second / unit_s for second in (*told.seconds, told.until_s)],
            [max(loss - info.floor, 1e-3) for loss in (*told.losses, *told.losses[-1:])],
            where="post",
            color=colour,
            linestyle=pattern,
            linewidth=2.2,
            zorder=3 - 0.1 * len(handles),  # the best on top
        )
        handles.append(line)
    make_logarithmic(axes, "y")  # the first epochs would flatten what is compared
    if info.is_log:
        make_logarithmic(axes, "x")
    else:
        axes.set_xlim(0, max(longest_s / unit_s, 1e-3) * 1.02)
    set_text(axes.set_xlabel, f"{unit} of working time")
    set_text(axes.set_ylabel, "nats above the entropy floor")
    add_legend(figure, handles, [runner.name for runner in info.runners], handle_width=3.2)
    return figure
