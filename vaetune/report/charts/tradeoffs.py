"""Draws the loss against parameters and training time, and distortion against rate."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.figure import Figure

from vaetune.config import KERAS_EXAMPLE, VALIDATION_LOSS, Objective, value_of
from vaetune.report.charts.curves import Role
from vaetune.report.charts.style import (
    OTHER,
    REFERENCE,
    WINNER,
    add_legend,
    chart_style,
    make_logarithmic,
    new_chart,
    set_objective,
    set_text,
)
from vaetune.study import Study, Trial

SIZE = (4.0, 3.3)
"""Width and height in inches. The page shows three charts side by side."""


@dataclass(frozen=True)
class Candidate:
    """A completed configuration with its best trial.

    Attributes:
        trial_id: Id of its best trial, by default the one with the lowest loss.
        role: Role of the configuration in the chart.
        excess: Its loss above the data's entropy floor, nats per image; None without a floor.
        loss: Its validation loss at its best epoch, nats per image.
        reconstruction: Reconstruction loss at the same epoch, nats per image.
        kl: KL divergence at the same epoch, nats per image.
        parameters: Number of parameters, or None if unknown.
        train_s: Wall time of all trials of the configuration, in seconds.
        latent_dim: Number of latent dimensions.
        collapsed: True if the model had collapsed after the last epoch of that trial.
        levels: Number of levels of latent variables.
        cost: Cost of another objective than the loss, see `Objective.cost`; None for the loss.
    """

    trial_id: str
    role: Role
    excess: float | None
    loss: float
    reconstruction: float
    kl: float
    parameters: int | None
    train_s: float
    latent_dim: int
    collapsed: bool
    levels: int = 1
    cost: float | None = None


@dataclass(frozen=True)
class Point:
    """A candidate in a chart.

    Attributes:
        trial_id: Id of the trial.
        role: Role of the configuration.
        x: Horizontal coordinate.
        y: Vertical coordinate.
        on_front: True if the point is on the Pareto front: no other configuration of the search is
            lower in one coordinate without being higher in the other.
    """

    trial_id: str
    role: Role
    x: float
    y: float
    on_front: bool


@dataclass(frozen=True)
class TradeoffInfo:
    """A chart of loss against a cost, or of distortion against rate.

    Attributes:
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        points: Points in the order of drawing, the emphasised ones last.
        is_log: True if the vertical axis is logarithmic.
        is_log_x: True if the horizontal axis is logarithmic.
        reference_name: Name of the Keras example in the legend.
        objective: Objective whose costs are the vertical coordinates. The default is any loss.
    """

    x_label: str
    y_label: str
    points: tuple[Point, ...]
    is_log: bool = True
    is_log_x: bool = True
    reference_name: str = KERAS_EXAMPLE
    objective: Objective = VALIDATION_LOSS


def list_candidates(study: Study, baseline: Study | None) -> tuple[Candidate, ...]:
    """Lists the completed configurations of a search by number, then the Keras example.

    Args:
        study: Search to draw.
        baseline: Run of the Keras example, or None.
    """
    best: dict[int, Trial] = {}
    for trial in reversed(study.ranking):
        best[trial.configuration] = trial
    winner = study.winner
    found = [
        _candidate(study, study, best[number], "winner" if best[number] == winner else "other")
        for number in sorted(best)
    ]
    if baseline and baseline.winner:
        found.append(_candidate(study, baseline, baseline.winner, "reference"))
    return tuple(found)


def compute_tradeoffs(
    candidates: Sequence[Candidate],
    reference_name: str = KERAS_EXAMPLE,
    objective: Objective = VALIDATION_LOSS,
) -> tuple[TradeoffInfo, ...]:
    """Computes the charts: loss against parameters and training time, distortion against rate.

    Args:
        candidates: Candidates from `list_candidates`.
        reference_name: Name of the Keras example in the legend.
        objective: Objective of the search.
    """
    has_floor = objective.is_loss and all(one.excess is not None for one in candidates)
    label = "nats above the entropy floor" if has_floor else objective.axis

    def height(candidate: Candidate) -> float:
        return next(
            one for one in (candidate.cost, candidate.excess, candidate.loss) if one is not None
        )

    infos = (
        _info(candidates, "parameters", label, lambda c: c.parameters, height, has_floor),
        _info(candidates, "seconds of training", label, lambda c: c.train_s, height, has_floor),
        _info(
            candidates,
            "rate: KL, nats",
            "distortion: reconstruction, nats",
            lambda c: c.kl,
            lambda c: c.reconstruction,
            is_log=False,
            is_log_x=False,
        ),
    )
    by_cost, by_time, distortion = (replace(info, reference_name=reference_name) for info in infos)
    return replace(by_cost, objective=objective), replace(by_time, objective=objective), distortion


def best_per_latent_dim(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The best candidate for each latent_dim; for the winner's, the winner.

    The Keras example is excluded.
    """

    def place(one: Candidate) -> tuple[bool, float, float, str]:
        cost = one.loss if one.cost is None else one.cost
        return one.role != "winner", cost, one.loss, one.trial_id

    best: dict[int, Candidate] = {}
    for one in sorted((c for c in candidates if _is_own(c)), key=place):
        best.setdefault(one.latent_dim, one)
    return tuple(best[size] for size in sorted(best))


@chart_style()
def draw_tradeoff(info: TradeoffInfo) -> Figure:
    """Draws a point for each configuration, and a line along the Pareto front."""
    figure, axes = new_chart(*SIZE)
    named: dict[str, Any] = {}
    front = sorted((point.x, point.y) for point in info.points if point.on_front)
    if len(front) > 1:
        (named["Pareto front"],) = axes.step(*zip(*front, strict=True), where="post", **_FRONT)
    for role, (own_name, style) in _STYLES.items():
        name = info.reference_name if role == "reference" else own_name
        x, y = ([getattr(p, at) for p in info.points if p.role == role] for at in "xy")
        if x:
            (named[name],) = axes.plot(x, y, linestyle="none", markeredgewidth=0, **style)
    if info.is_log_x:
        make_logarithmic(axes, "x")
    if info.is_log:
        make_logarithmic(axes, "y")
    set_text(axes.set_xlabel, info.x_label)
    set_objective(axes, info.objective, info.y_label)
    names = ("winner", info.reference_name, "others", "Pareto front")
    order = [name for name in names if name in named]
    add_legend(figure, [named[name] for name in order], order)
    return figure


_FRONT = {"color": OTHER, "linewidth": 1.2, "zorder": 1}

_STYLES: dict[Role, tuple[str, dict[str, Any]]] = {
    "other": ("others", {"color": OTHER, "marker": "o", "markersize": 5.5}),
    "reference": (KERAS_EXAMPLE, {"color": REFERENCE, "marker": "s", "markersize": 8}),
    "winner": ("winner", {"color": WINNER, "marker": "o", "markersize": 9}),
}

_EMPHASIS: dict[Role, int] = {"other": 0, "reference": 1, "winner": 2}


def _candidate(study: Study, run: Study, trial: Trial, role: Role) -> Candidate:
    best = trial.best
    if best is None:
        raise ValueError(f"Trial {trial.trial_id} is completed but has no epoch.")
    floor = study.entropy_floor
    return Candidate(
        trial_id=trial.trial_id,
        role=role,
        excess=None if floor is None else max(best.val_loss - floor, 1e-3),
        loss=best.val_loss,
        reconstruction=best.val_reconstruction_loss,
        kl=best.val_kl_loss,
        parameters=trial.parameters,
        train_s=sum(part.duration_s for part in run.lineage(trial)),
        latent_dim=trial.latent_dim,
        collapsed=bool(trial.collapsed),
        levels=int(value_of(trial.hyperparameters, "levels")),
        cost=None if trial.objective.is_loss else trial.objective.cost(best.value),
    )


def _info(
    candidates: Sequence[Candidate],
    x_label: str,
    y_label: str,
    x: Callable[[Candidate], float | None],
    y: Callable[[Candidate], float],
    is_log: bool = True,
    is_log_x: bool = True,
) -> TradeoffInfo:
    placed = [(c, at, y(c)) for c in candidates if (at := x(c)) is not None]
    front = set(_front((at, height, c.trial_id) for c, at, height in placed if _is_own(c)))
    points = [
        Point(c.trial_id, c.role, at, height, _is_own(c) and c.trial_id in front)
        for c, at, height in placed
    ]
    points.sort(key=lambda point: _EMPHASIS[point.role])
    return TradeoffInfo(x_label, y_label, tuple(points), is_log, is_log_x)


def _is_own(candidate: Candidate) -> bool:
    return candidate.role != "reference"


def _front(placed: Iterator[tuple[float, float, str]]) -> Iterator[str]:
    """Yields the ids of the points that are lower than all points to their left."""
    lowest = float("inf")
    for _, y, trial_id in sorted(placed):
        if y < lowest:
            lowest = y
            yield trial_id
