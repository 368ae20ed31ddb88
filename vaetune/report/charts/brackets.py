"""Brackets and rungs as they ran, and how well short rungs predict the ranking of long ones."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from vaetune.report.charts.style import (
    FAILED,
    MUTED,
    OTHER,
    WINNER,
    Axes,
    add_legend,
    make_logarithmic,
    new_charts,
    own_style,
    set_text,
)
from vaetune.study import Study, Trial

SIZE = (11.2, 3.6)
"""Inches: as wide as the page."""

MIN_PAIRS = 3
"""A rank correlation needs at least this many configurations."""


@dataclass(frozen=True)
class Stop:
    """A trial where its rung ended.

    Attributes:
        epoch: The last that it was to train, absolute.
        excess: Its score above the data's entropy floor, nats per image; None without a score.
        parent: The trial of the rung before, if it was promoted.
        wins: Whether it trained the winning configuration.
    """

    trial_id: str
    epoch: int
    excess: float | None
    parent: str | None
    failed: bool
    wins: bool


@dataclass(frozen=True)
class Bracket:
    """Trials that compete with each other, in the order they started."""

    title: str
    stops: tuple[Stop, ...]


@dataclass(frozen=True)
class RungsInfo:
    """The brackets of a search in the order they began.

    Attributes:
        low: The lowest excess, nats per image.
        high: The highest.
    """

    brackets: tuple[Bracket, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Foresight:
    """How a rung's order agrees with that of a later one.

    Attributes:
        epoch: Last epoch of the earlier rung.
        later: Last epoch of the later rung.
        configurations: Those that were measured at both.
        correlation: Spearman's, of their losses at the two epochs: 1 if the order is the same.
    """

    epoch: int
    later: int
    configurations: int
    correlation: float


def compute_rungs(study: Study) -> RungsInfo | None:
    """Gathers the stops of each bracket; None where no trial could be promoted."""
    if all(trial.parent is None for trial in study.trials):
        return None
    keys = dict.fromkeys((trial.iteration, trial.bracket) for trial in study.trials)
    several = len({iteration for iteration, _ in keys}) > 1
    brackets = tuple(
        Bracket(_title(key, several), tuple(_stops(study, key)))
        for key in keys  # in the order they began
    )
    found = [s.excess for b in brackets for s in b.stops if s.excess is not None]
    return RungsInfo(brackets, min(found, default=1.0), max(found, default=1.0))


def compute_foresight(study: Study) -> tuple[Foresight, ...]:
    """Compares the losses at the ends of rungs, for each rung and the next longer ones."""
    ends = sorted({trial.epoch_to for trial in study.trials})
    losses = _losses_by_epoch(study.trials)
    return tuple(_foresights(ends, losses))


def _foresights(
    ends: Sequence[int], losses: Mapping[int, Mapping[int, float]]
) -> Iterator[Foresight]:
    for place, epoch in enumerate(ends):
        for later in ends[place + 1 :]:
            both = sorted(losses.get(epoch, {}).keys() & losses.get(later, {}).keys())
            if len(both) < MIN_PAIRS:
                continue
            before, after = ([losses[at][number] for number in both] for at in (epoch, later))
            correlation = _rank_correlation(before, after)
            if correlation is not None:
                yield Foresight(epoch, later, len(both), correlation)


def _losses_by_epoch(trials: Iterable[Trial]) -> dict[int, dict[int, float]]:
    """Validation losses by absolute epoch and configuration."""
    found: dict[int, dict[int, float]] = {}
    for trial in trials:
        for epoch in trial.epochs:
            if math.isfinite(epoch.val_loss):
                found.setdefault(epoch.epoch, {})[trial.configuration] = epoch.val_loss
    return found


def _rank_correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equals sharing their mean rank; None if one side is level."""
    before, after = _ranks(left), _ranks(right)
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return None
    return float(np.corrcoef(before, after)[0, 1])


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: NDArray[np.float64] = np.cumsum(counts) - (counts + 1) / 2
    return mean_ranks[places]


def _title(key: tuple[int, int], several: bool) -> str:
    iteration, bracket = key
    return f"iteration {iteration + 1}, bracket {bracket}" if several else f"bracket {bracket}"


def _stops(study: Study, key: tuple[int, int]) -> Iterator[Stop]:
    floor = study.started.data.entropy_floor
    winner = study.winner
    for trial in study.trials:
        if (trial.iteration, trial.bracket) != key:
            continue
        yield Stop(
            trial_id=trial.trial_id,
            epoch=trial.epoch_to,
            excess=None if trial.score is None else max(trial.score - floor, 1e-3),
            parent=trial.parent,
            failed=trial.status == "failed",
            wins=winner is not None and trial.configuration == winner.configuration,
        )


@own_style()
def draw_rungs(info: RungsInfo) -> Figure:
    """Draws a panel a bracket: trials where their rungs ended, a line for each promotion."""
    figure, panels = new_charts(len(info.brackets), *SIZE)
    named: dict[str, object] = {}
    for bracket, axes in zip(info.brackets, panels, strict=True):
        named |= _draw_bracket(axes, bracket, info.high)
    panels[0].set_ylim(info.low / 1.15, info.high * 1.25)
    set_text(panels[0].set_ylabel, "nats above the entropy floor")
    names = [name for name in ("winner", "others", "failed") if name in named]
    add_legend(figure, [named[name] for name in names], names)
    return figure


def _draw_bracket(axes: Axes, bracket: Bracket, high: float) -> dict[str, object]:
    """Draws the stops and promotions of the others, then those of the winner, then failures."""
    places = {s.trial_id: (s.epoch, high if s.excess is None else s.excess) for s in bracket.stops}
    named: dict[str, object] = {}
    for wins, name in ((False, "others"), (True, "winner")):
        stops = [stop for stop in bracket.stops if stop.wins == wins]
        colour, width = (WINNER, 2.2) if wins else (OTHER, 1.0)
        axes.plot(*_promotions(stops, places), color=colour, linewidth=width, zorder=2)
        for failed in (False, True):
            x, y = _apart([places[stop.trial_id] for stop in stops if stop.failed == failed])
            if not x:
                continue
            style: dict[str, Any] = {"marker": "X", "markersize": 8.0, "color": FAILED}
            if not failed:
                style = {"marker": "o", "markersize": 6.0 if wins else 4.5, "color": colour}
            drawn = axes.plot(x, y, linestyle="none", markeredgewidth=0, zorder=3, **style)
            named["failed" if failed else name] = drawn[0]
    _mark_ends(axes, sorted({stop.epoch for stop in bracket.stops}))
    axes.set_title(bracket.title, fontsize=11, color=MUTED, loc="left")
    set_text(axes.set_xlabel, "epochs")
    return named


def _promotions(
    stops: Iterable[Stop], places: Mapping[str, tuple[int, float]]
) -> tuple[list[float], list[float]]:
    """A line from each parent to its promotion, with a gap after it."""
    ends: list[tuple[float, float]] = []
    for stop in stops:
        if stop.parent is not None and stop.parent in places:
            ends += [places[stop.parent], places[stop.trial_id], (math.nan, math.nan)]
    return _apart(ends)


def _apart(places: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in places], [y for _, y in places]


def _mark_ends(axes: Axes, ends: Sequence[int]) -> None:
    """Both axes logarithmic, a tick where a rung ends."""
    make_logarithmic(axes, "y")
    make_logarithmic(axes, "x")
    axes.xaxis.set_major_locator(FixedLocator(ends))
    margin = max((b / a for a, b in pairwise(ends)), default=2.0) ** 0.35
    axes.set_xlim(ends[0] / margin, ends[-1] * margin)
