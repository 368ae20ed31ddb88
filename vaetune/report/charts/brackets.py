"""Draws brackets and rungs, and computes how well short rungs predict the ranking of long ones."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from vaetune.config import VALIDATION_LOSS, Objective
from vaetune.report.charts.style import (
    FAILED,
    MUTED,
    OTHER,
    WINNER,
    Axes,
    add_legend,
    chart_style,
    make_logarithmic,
    new_charts,
    set_objective,
    set_text,
)
from vaetune.study import Study, Trial

SIZE = (11.2, 3.6)
"""Width and height in inches. The chart is as wide as the page."""

MIN_PAIRS = 3
"""Number of configurations below which no rank correlation is computed."""


@dataclass(frozen=True)
class RungResult:
    """The result of a trial at the end of its rung.

    Attributes:
        trial_id: Id of the trial.
        epoch: Last epoch that the trial was to train, absolute.
        excess: Loss above the data's entropy floor, nats per image; without a floor, or for another
            objective, the cost itself, see `Objective.cost`; None without a score.
        parent: Id of the trial in the previous rung if the trial is a promotion, else None.
        failed: True if the trial failed.
        is_winner: True if the trial belongs to the winning configuration.
    """

    trial_id: str
    epoch: int
    excess: float | None
    parent: str | None
    failed: bool
    is_winner: bool


@dataclass(frozen=True)
class Bracket:
    """Trials that compete with each other.

    Attributes:
        title: Name of the bracket; empty if it is the only one.
        results: Results of the trials, in the order in which they started.
    """

    title: str
    results: tuple[RungResult, ...]


@dataclass(frozen=True)
class RungsInfo:
    """The brackets of a search.

    Attributes:
        brackets: Brackets in the order in which they began.
        low: Lowest excess.
        high: Highest excess.
        has_floor: False if the losses have no entropy floor, or if the objective is another one.
        objective: Objective of the search.
    """

    brackets: tuple[Bracket, ...]
    low: float
    high: float
    has_floor: bool = True
    objective: Objective = VALIDATION_LOSS


@dataclass(frozen=True)
class RungCorrelation:
    """The rank correlation of the objective at the ends of two rungs.

    Attributes:
        epoch: Last epoch of the earlier rung.
        later: Last epoch of the later rung.
        configurations: Number of configurations measured at both epochs.
        correlation: Spearman's rank correlation, -1 to 1; 1 if both orders are the same.
    """

    epoch: int
    later: int
    configurations: int
    correlation: float


def compute_rungs(study: Study) -> RungsInfo | None:
    """Collects the results of each bracket; None if no trial was promoted."""
    if all(trial.parent is None for trial in study.trials):
        return None
    keys = dict.fromkeys((trial.iteration, trial.bracket) for trial in study.trials)
    brackets = tuple(Bracket(_title(key, keys), tuple(_results(study, key))) for key in keys)
    found = [r.excess for b in brackets for r in b.results if r.excess is not None]
    low, high = min(found, default=1.0), max(found, default=1.0)
    return RungsInfo(brackets, low, high, _floor(study) is not None, study.objective)


def _floor(study: Study) -> float | None:
    return study.entropy_floor if study.objective.is_loss else None


def compute_rung_correlations(study: Study) -> tuple[RungCorrelation, ...]:
    """Computes the rank correlation of each rung with each longer rung."""
    ends = sorted({trial.epoch_to for trial in study.trials})
    losses = _costs_by_epoch(study.trials)
    return tuple(_correlations(ends, losses))


def _correlations(
    ends: Sequence[int], losses: Mapping[int, Mapping[int, float]]
) -> Iterator[RungCorrelation]:
    for place, epoch in enumerate(ends):
        for later in ends[place + 1 :]:
            both = sorted(losses.get(epoch, {}).keys() & losses.get(later, {}).keys())
            if len(both) < MIN_PAIRS:
                continue
            before, after = ([losses[at][number] for number in both] for at in (epoch, later))
            correlation = _rank_correlation(before, after)
            if correlation is not None:
                yield RungCorrelation(epoch, later, len(both), correlation)


def _costs_by_epoch(trials: Iterable[Trial]) -> dict[int, dict[int, float]]:
    """Costs by absolute epoch and configuration; see `Objective.cost`."""
    found: dict[int, dict[int, float]] = {}
    for trial in trials:
        for epoch in trial.epochs:
            if math.isfinite(epoch.value):
                cost = trial.objective.cost(epoch.value)
                found.setdefault(epoch.epoch, {})[trial.configuration] = cost
    return found


def _rank_correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Spearman's rank correlation with mean ranks for ties; None if all values of a side tie."""
    before, after = _ranks(left), _ranks(right)
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return None
    return float(np.corrcoef(before, after)[0, 1])


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: NDArray[np.float64] = np.cumsum(counts) - (counts + 1) / 2
    return mean_ranks[places]


def _title(key: tuple[int, int], keys: Collection[tuple[int, int]]) -> str:
    if len(keys) == 1:
        return ""
    iteration, bracket = key
    several = len({iteration for iteration, _ in keys}) > 1
    return f"iteration {iteration + 1}, bracket {bracket}" if several else f"bracket {bracket}"


def _results(study: Study, key: tuple[int, int]) -> Iterator[RungResult]:
    floor = _floor(study)
    winner = study.winner
    for trial in study.trials:
        if (trial.iteration, trial.bracket) != key:
            continue
        yield RungResult(
            trial_id=trial.trial_id,
            epoch=trial.epoch_to,
            excess=_above(trial, floor),
            parent=trial.parent,
            failed=trial.status == "failed",
            is_winner=winner is not None and trial.configuration == winner.configuration,
        )


def _above(trial: Trial, floor: float | None) -> float | None:
    """The lowest cost of a trial above the floor; the cost itself without a floor."""
    cost = None if trial.score is None else trial.objective.cost(trial.score)
    return cost if cost is None or floor is None else max(cost - floor, 1e-3)


@chart_style()
def draw_rungs(info: RungsInfo) -> Figure:
    """Draws a panel for each bracket, with a point for each trial and a line for each promotion."""
    figure, panels = new_charts(len(info.brackets), *SIZE)
    named: dict[str, object] = {}
    for bracket, axes in zip(info.brackets, panels, strict=True):
        named |= _draw_bracket(axes, bracket, info.high)
        if info.has_floor:
            make_logarithmic(axes, "y")
    margin = 0.06 * (info.high - info.low) or 1.0
    linear = (info.low - margin, info.high + margin)
    panels[0].set_ylim(*((info.low / 1.15, info.high * 1.25) if info.has_floor else linear))
    label = "nats above the entropy floor" if info.has_floor else info.objective.axis
    set_objective(panels[0], info.objective, label)
    names = [name for name in ("winner", "others", "failed") if name in named]
    add_legend(figure, [named[name] for name in names], names)
    return figure


def _draw_bracket(axes: Axes, bracket: Bracket, high: float) -> dict[str, object]:
    """Draws the other trials and their promotions, then those of the winner.

    Returns:
        Handles of the legend, by name.
    """
    points = {
        result.trial_id: (result.epoch, high if result.excess is None else result.excess)
        for result in bracket.results
    }
    named: dict[str, object] = {}
    for is_winner, name in ((False, "others"), (True, "winner")):
        results = [result for result in bracket.results if result.is_winner == is_winner]
        colour, width = (WINNER, 2.2) if is_winner else (OTHER, 1.0)
        axes.plot(*_promotions(results, points), color=colour, linewidth=width, zorder=2)
        for failed in (False, True):
            x, y = _split([points[one.trial_id] for one in results if one.failed == failed])
            if not x:
                continue
            style: dict[str, Any] = {"marker": "X", "markersize": 8.0, "color": FAILED}
            if not failed:
                style = {"marker": "o", "markersize": 6.0 if is_winner else 4.5, "color": colour}
            (points_drawn,) = axes.plot(
                x, y, linestyle="none", markeredgewidth=0, zorder=3, **style
            )
            named["failed" if failed else name] = points_drawn
    _set_axes(axes, sorted({result.epoch for result in bracket.results}))
    axes.set_title(bracket.title, fontsize=11, color=MUTED, loc="left")
    set_text(axes.set_xlabel, "epochs")
    return named


def _promotions(
    results: Iterable[RungResult], points: Mapping[str, tuple[int, float]]
) -> tuple[list[float], list[float]]:
    """Coordinates of lines from parents to promotions; NaN separates the lines."""
    ends: list[tuple[float, float]] = []
    for result in results:
        if result.parent is not None and result.parent in points:
            ends += [points[result.parent], points[result.trial_id], (math.nan, math.nan)]
    return _split(ends)


def _split(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _set_axes(axes: Axes, ends: Sequence[int]) -> None:
    """Makes the horizontal axis logarithmic, with a tick at the end of each rung."""
    make_logarithmic(axes, "x")
    axes.xaxis.set_major_locator(FixedLocator(ends))
    margin = max((b / a for a, b in pairwise(ends)), default=2.0) ** 0.35
    axes.set_xlim(ends[0] / margin, ends[-1] * margin)
