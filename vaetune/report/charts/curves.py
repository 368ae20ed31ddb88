"""How a search went, in two charts: every configuration's losses, and the best so far."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaetune.report.analysis.timeline import WorkingTime
from vaetune.report.charts.style import (
    FAILED,
    OTHER,
    REFERENCE,
    WINNER,
    Axes,
    add_legend,
    new_chart,
    own_style,
    set_text,
)
from vaetune.study import Study, Trial

Role = Literal["winner", "reference", "other"]

SIZE = (5.4, 4.0)
"""Inches; a page shows both charts side by side."""

TIME_UNITS = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
"""Of axes, with their seconds."""


@dataclass(frozen=True)
class Curve:
    """Validation losses of one configuration, through its promotions.

    Attributes:
        trial_id: The last trial that trained it.
        epochs: Absolute epochs that were measured.
        val_losses: Nats per image, NaN where the loss was not finite.
        pauses: Epochs at which one of its trials ended, so that it was promoted or dropped.
        failed_at: The epoch at which it failed, if it did.
    """

    trial_id: str
    role: Role
    epochs: tuple[int, ...]
    val_losses: tuple[float, ...]
    pauses: tuple[int, ...]
    failed_at: int | None


@dataclass(frozen=True)
class CurvesInfo:
    """The learning curves of a search.

    Attributes:
        curves: The emphasised ones last.
        low: Lower end of the loss axis, nats per image.
        high: Its upper end; first epochs and diverging trials may lie above it.
        max_epoch: The last epoch that the plan or a trial reaches.
    """

    curves: tuple[Curve, ...]
    low: float
    high: float
    max_epoch: int


@dataclass(frozen=True)
class ProgressInfo:
    """The lowest validation loss among completed trials, as it fell.

    Attributes:
        seconds: Since the search started, without the breaks between sessions.
        losses: Nats per image; each is lower than the one before.
        until_s: The last moment that the journal knows of, in the same seconds.
        reference: The baseline's loss, nats per image.
    """

    seconds: tuple[float, ...]
    losses: tuple[float, ...]
    until_s: float
    reference: float | None


def compute_curves(study: Study, baseline: Study | None) -> CurvesInfo:
    """Gathers a line for each configuration of a search, and one for the baseline."""
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
    low, high = _loss_range(curves)
    planned = [rung.epoch_to for rung in study.plan]
    last = max([*planned, *(epoch for curve in curves for epoch in curve.epochs)], default=1)
    return CurvesInfo(tuple(curves), low, high, last)


def compute_progress(study: Study, baseline: Study | None) -> ProgressInfo:
    """Follows the best completed trial through the search's working time."""
    clock = WorkingTime(study)
    completed = [epoch for t in study.trials if t.status == "completed" for epoch in t.epochs]
    seconds: list[float] = []
    losses: list[float] = []
    for epoch in sorted(completed, key=lambda epoch: epoch.time):
        if math.isfinite(epoch.val_loss) and (not losses or epoch.val_loss < losses[-1]):
            seconds.append(clock.at(epoch.time))
            losses.append(epoch.val_loss)
    until_s = clock.until_s
    reference = baseline.winner.score if baseline and baseline.winner else None
    return ProgressInfo(tuple(seconds), tuple(losses), until_s, reference)


@own_style()
def draw_curves(info: CurvesInfo) -> Figure:
    """Draws validation loss against absolute epochs, the winner and the reference emphasised."""
    figure, axes = new_chart(*SIZE)
    named = {}
    for role, name in _ROLE_NAMES.items():
        curves = [curve for curve in info.curves if curve.role == role]
        if curves:
            named[name] = _draw_curves(axes, curves, info.high)
    failed = [curve for curve in info.curves if curve.failed_at is not None]
    if failed:
        named["failed"] = _mark_failures(axes, failed, info.high)
    axes.set_ylim(info.low, info.high)
    axes.set_xlim(0.7, max(2, info.max_epoch) + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    set_text(axes.set_xlabel, "epoch")
    set_text(axes.set_ylabel, "validation loss, nats per image")
    order = [name for name in (*reversed(_ROLE_NAMES.values()), "failed") if name in named]
    add_legend(figure, [named[name] for name in order], order)
    return figure


@own_style()
def draw_progress(info: ProgressInfo) -> Figure:
    """Draws the lowest validation loss so far as steps over time, together with the reference."""
    figure, axes = new_chart(*SIZE)
    unit_s, unit = next((s, u) for s, u in TIME_UNITS if info.until_s >= 3 * s or s == 1)
    handles = {}
    if info.losses:
        seconds = np.array([*info.seconds, info.until_s])
        losses = [*info.losses, info.losses[-1]]
        (handles["best so far"],) = axes.step(
            seconds / unit_s, losses, where="post", color=WINNER, linewidth=2.2
        )
        axes.plot(seconds[:-1] / unit_s, info.losses, "o", color=WINNER, markersize=4.5)
    if info.reference is not None:
        handles["Keras example"] = axes.axhline(
            info.reference, color=REFERENCE, linewidth=1.8, linestyle=(0, (5, 2))
        )
    axes.set_xlim(0, max(info.until_s / unit_s, 1e-3) * 1.02)
    set_text(axes.set_xlabel, f"{unit} since the search started")
    set_text(axes.set_ylabel, "lowest validation loss, nats per image")
    add_legend(figure, list(handles.values()), list(handles))
    return figure


_ROLE_NAMES: dict[Role, str] = {
    "other": "others",
    "reference": "Keras example",
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
    losses = [epoch.val_loss if math.isfinite(epoch.val_loss) else math.nan for epoch in measured]
    failed_at = None
    if trial.status == "failed":
        failed_at = measured[-1].epoch if measured else trial.epoch_from + 1
    return Curve(
        trial_id=trial.trial_id,
        role=role,
        epochs=tuple(epoch.epoch for epoch in measured),
        val_losses=tuple(losses),
        pauses=tuple(part.epochs[-1].epoch for part in line if part.epochs),
        failed_at=failed_at,
    )


def _loss_range(curves: list[Curve]) -> tuple[float, float]:
    """Leaves room for what is being compared: a few high first epochs must not flatten the rest."""
    losses = np.array([loss for curve in curves for loss in curve.val_losses])
    losses = losses[np.isfinite(losses)]
    if not len(losses):
        return 0.0, 1.0
    low, median, high = (float(q) for q in np.quantile(losses, [0.0, 0.5, 0.9]))
    high = min(high, low + 4.0 * (median - low))
    ends = [c.val_losses[-1] for c in curves if c.role != "other" and c.val_losses]
    high = max([high, *(loss for loss in ends if math.isfinite(loss))])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_curves(axes: Axes, curves: Sequence[Curve], high: float) -> Any:
    """Draws curves of one role as one line with gaps: a thousand lines would take seconds."""
    style = _STYLES[curves[0].role]
    x: list[float] = []
    y: list[float] = []
    paused: list[tuple[int, float]] = []
    for curve in curves:
        x += [*curve.epochs, math.nan]
        y += [*curve.val_losses, math.nan]
        losses = dict(zip(curve.epochs, curve.val_losses, strict=True))
        paused += [(epoch, losses[epoch]) for epoch in curve.pauses]
    (line,) = axes.plot(
        x, y, color=style["color"], linewidth=style["linewidth"], linestyle=style["linestyle"]
    )
    inside = [place for place in paused if place[1] <= high]
    above = [(epoch, high) for epoch, loss in paused if loss > high]
    _mark(axes, inside, "o", style)
    _mark(axes, above, "^", {**style, "markersize": 6.0})
    return line


def _mark_failures(axes: Axes, curves: Sequence[Curve], high: float) -> Any:
    """Marks where configurations failed: on their lines, or on the upper edge without one."""
    places = []
    for curve in curves:
        last = curve.val_losses[-1] if curve.val_losses else math.nan
        places.append((curve.failed_at or 0, min(last, high) if math.isfinite(last) else high))
    return _mark(axes, places, "X", {"color": FAILED, "markersize": 8.0})


def _mark(
    axes: Axes, places: Sequence[tuple[float, float]], marker: str, style: Mapping[str, Any]
) -> Any:
    """Draws markers that may overlap the frame, which must not move for them."""
    (marks,) = axes.plot(
        [x for x, _ in places],
        [y for _, y in places],
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
