"""Draws the learning curves of a search, and its best objective so far."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaetune.config import KERAS_EXAMPLE, VALIDATION_LOSS, Objective
from vaetune.report.analysis.timeline import WorkingTime
from vaetune.report.charts.style import (
    FAILED,
    OTHER,
    REFERENCE,
    WINNER,
    Axes,
    add_legend,
    chart_style,
    new_chart,
    set_objective,
    set_text,
)
from vaetune.study import Study, Trial

Role = Literal["winner", "reference", "other"]

SIZE = (5.4, 4.0)
"""Width and height in inches. The page shows both charts side by side."""

TIME_UNITS = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
"""Units of time axes, with their lengths in seconds."""


@dataclass(frozen=True)
class Curve:
    """Costs of one configuration, through its promotions: by default its validation losses.

    Attributes:
        trial_id: Id of the last trial that trained the configuration.
        role: Role of the configuration in the chart.
        epochs: Absolute epochs that were measured.
        costs: Costs at these epochs, see `Objective.cost`; NaN if not finite.
        trial_ends: Epochs at which trials ended, so that the configuration was promoted or dropped.
        failed_at: Epoch at which the configuration failed, or None.
    """

    trial_id: str
    role: Role
    epochs: tuple[int, ...]
    costs: tuple[float, ...]
    trial_ends: tuple[int, ...]
    failed_at: int | None


@dataclass(frozen=True)
class CurvesInfo:
    """The learning curves of a search.

    Attributes:
        curves: Curves in the order of drawing, the emphasised ones last.
        low: Lower end of the axis of costs.
        high: Upper end of this axis; first epochs and diverging trials may lie above it.
        max_epoch: Last epoch of the plan or of any trial.
        reference_name: Name of the Keras example in the legend.
        objective: Objective of the search.
    """

    curves: tuple[Curve, ...]
    low: float
    high: float
    max_epoch: int
    reference_name: str = KERAS_EXAMPLE
    objective: Objective = VALIDATION_LOSS


@dataclass(frozen=True)
class ProgressInfo:
    """The lowest cost so far, by default the validation loss, among completed trials.

    Attributes:
        seconds: Times of the improvements, in seconds of working time.
        costs: Costs after the improvements, see `Objective.cost`, descending.
        until_s: Time of the last event of the journal, in seconds of working time.
        reference: Cost of the Keras example, or None.
        reference_name: Name of the Keras example in the legend.
        objective: Objective of the search.
    """

    seconds: tuple[float, ...]
    costs: tuple[float, ...]
    until_s: float
    reference: float | None
    reference_name: str = KERAS_EXAMPLE
    objective: Objective = VALIDATION_LOSS


def compute_curves(study: Study, baseline: Study | None) -> CurvesInfo:
    """Collects a curve for each configuration of a search and one for the Keras example.

    Args:
        study: Search to draw.
        baseline: Run of the Keras example, or None.
    """
    winner = study.winner
    promoted = {trial.parent for trial in study.trials}
    curves = [
        _curve(study, t, "winner" if winner and _same(t, winner) else "other")
        for t in study.trials
        if t.trial_id not in promoted
    ]
    if baseline and baseline.winner:
        curves.append(_curve(baseline, baseline.winner, "reference"))
    order: dict[Role, int] = {"other": 0, "reference": 1, "winner": 2}
    curves.sort(key=lambda curve: order[curve.role])
    low, high = _range(curves)
    planned = [rung.epoch_to for rung in study.plan]
    last = max([*planned, *(epoch for curve in curves for epoch in curve.epochs)], default=1)
    name, objective = study.reference_name, study.objective
    return CurvesInfo(tuple(curves), low, high, last, name, objective)


def compute_progress(study: Study, baseline: Study | None) -> ProgressInfo:
    """Computes the lowest cost so far over the search's working time.

    Args:
        study: Search to draw.
        baseline: Run of the Keras example, or None.
    """
    clock = WorkingTime(study)
    completed = [epoch for t in study.trials if t.status == "completed" for epoch in t.epochs]
    seconds: list[float] = []
    costs: list[float] = []
    objective = study.objective
    for epoch in sorted(completed, key=lambda epoch: epoch.time):
        cost = objective.cost(epoch.value)
        if math.isfinite(cost) and (not costs or cost < costs[-1]):
            seconds.append(clock.at(epoch.time))
            costs.append(cost)
    score = baseline.winner.score if baseline and baseline.winner else None
    reference = None if score is None else objective.cost(score)
    name = study.reference_name
    return ProgressInfo(tuple(seconds), tuple(costs), clock.until_s, reference, name, objective)


@chart_style()
def draw_curves(info: CurvesInfo) -> Figure:
    """Draws the objective against epochs and emphasises the winner and the Keras example."""
    figure, axes = new_chart(*SIZE)
    named = {}
    names = _ROLE_NAMES | {"reference": info.reference_name}
    for role, name in names.items():
        curves = [curve for curve in info.curves if curve.role == role]
        if curves:
            named[name] = _draw_curves(axes, curves, info)
    failed = [curve for curve in info.curves if curve.failed_at is not None]
    if failed:
        named["failed"] = _mark_failures(axes, failed, info.high)
    axes.set_ylim(info.low, info.high)
    axes.set_xlim(0.7, max(2, info.max_epoch) + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    set_text(axes.set_xlabel, "epoch")
    set_objective(axes, info.objective, info.objective.axis)
    order = [name for name in (*reversed(names.values()), "failed") if name in named]
    add_legend(figure, [named[name] for name in order], order)
    return figure


@chart_style()
def draw_progress(info: ProgressInfo) -> Figure:
    """Draws the best objective so far against time, and that of the Keras example."""
    figure, axes = new_chart(*SIZE)
    unit_s, unit = next((s, u) for s, u in TIME_UNITS if info.until_s >= 3 * s or s == 1)
    handles = {}
    if info.costs:
        seconds = np.array([*info.seconds, info.until_s])
        costs = [*info.costs, info.costs[-1]]
        (handles["best so far"],) = axes.step(
            seconds / unit_s, costs, where="post", color=WINNER, linewidth=2.2
        )
        axes.plot(seconds[:-1] / unit_s, info.costs, "o", color=WINNER, markersize=4.5)
    if info.reference is not None:
        handles[info.reference_name] = axes.axhline(
            info.reference, color=REFERENCE, linewidth=1.8, linestyle=(0, (5, 2))
        )
    axes.set_xlim(0, max(info.until_s / unit_s, 1e-3) * 1.02)
    set_text(axes.set_xlabel, f"{unit} since the search started")
    set_objective(axes, info.objective, info.objective.best_axis)
    add_legend(figure, list(handles.values()), list(handles))
    return figure


_ROLE_NAMES: dict[Role, str] = {
    "other": "others",
    "reference": KERAS_EXAMPLE,
    "winner": "winner",
}

_STYLES: dict[Role, dict[str, Any]] = {
    "other": {"color": OTHER, "linewidth": 1.1, "linestyle": "-", "markersize": 3.2},
    "reference": {
        "color": REFERENCE,
        "linewidth": 2.0,
        "markersize": 4.5,
        "linestyle": (0, (5, 2)),
    },
    "winner": {"color": WINNER, "linewidth": 2.6, "linestyle": "-", "markersize": 5.5},
}


def _same(trial: Trial, winner: Trial) -> bool:
    return trial.configuration == winner.configuration


def _curve(study: Study, trial: Trial, role: Role) -> Curve:
    measured = study.curve(trial)
    line = study.lineage(trial)
    found = [study.objective.cost(epoch.value) for epoch in measured]
    costs = [cost if math.isfinite(cost) else math.nan for cost in found]
    failed_at = None
    if trial.status == "failed":
        failed_at = measured[-1].epoch if measured else trial.epoch_from + 1
    return Curve(
        trial_id=trial.trial_id,
        role=role,
        epochs=tuple(epoch.epoch for epoch in measured),
        costs=tuple(costs),
        trial_ends=tuple(part.epochs[-1].epoch for part in line if part.epochs),
        failed_at=failed_at,
    )


def _range(curves: list[Curve]) -> tuple[float, float]:
    """The range of costs. High ones of first epochs are cut off, as they would flatten the rest."""
    costs = np.array([cost for curve in curves for cost in curve.costs])
    costs = costs[np.isfinite(costs)]
    if not len(costs):
        return 0.0, 1.0
    low, median, high = (float(q) for q in np.quantile(costs, [0.0, 0.5, 0.9]))
    high = min(high, low + 4.0 * (median - low))
    ends = [c.costs[-1] for c in curves if c.role != "other" and c.costs]
    high = max([high, *(cost for cost in ends if math.isfinite(cost))])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_curves(axes: Axes, curves: Sequence[Curve], info: CurvesInfo) -> Any:
    """Draws all curves of one role as a single line with gaps.

    A thousand separate lines would take seconds.
    """
    style, high = _STYLES[curves[0].role], info.high
    beyond = "v" if info.objective.is_maximised else "^"
    x: list[float] = []
    y: list[float] = []
    ends: list[tuple[int, float]] = []
    for curve in curves:
        x += [*curve.epochs, math.nan]
        y += [*curve.costs, math.nan]
        costs = dict(zip(curve.epochs, curve.costs, strict=True))
        ends += [(epoch, costs[epoch]) for epoch in curve.trial_ends]
    (line,) = axes.plot(
        x, y, color=style["color"], linewidth=style["linewidth"], linestyle=style["linestyle"]
    )
    inside = [(epoch, cost) for epoch, cost in ends if cost <= high]
    outside = [(epoch, high) for epoch, cost in ends if cost > high]
    _mark(axes, inside, "o", style)
    _mark(axes, outside, beyond, {**style, "markersize": 6.0})
    return line


def _mark_failures(axes: Axes, curves: Sequence[Curve], high: float) -> Any:
    """Marks the last points of failed configurations, or the worse edge if they have no loss."""
    points = []
    for curve in curves:
        last = curve.costs[-1] if curve.costs else math.nan
        points.append((curve.failed_at or 0, min(last, high) if math.isfinite(last) else high))
    return _mark(axes, points, "X", {"color": FAILED, "markersize": 8.0})


def _mark(
    axes: Axes, points: Sequence[tuple[float, float]], marker: str, style: Mapping[str, Any]
) -> Any:
    """Draws markers that may overlap the frame without changing the layout."""
    (marks,) = axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        marker=marker,
        markersize=style["markersize"],
        markeredgewidth=0,
        color=style["color"],
        linestyle="none",
        clip_on=False,
        zorder=3,
    )
    marks.set_in_layout(False)
    return marks
