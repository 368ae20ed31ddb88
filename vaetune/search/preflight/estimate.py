"""Estimates the duration of a search, and the disk space that it needs.

The planned trials are known from the oracle, except which of them are promoted.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaetune.config import FAMILY, Space, Value, value_of
from vaetune.search.preflight.cost_model import (
    CostModel,
    DurationRange,
    Hyperparameters,
    ImageShape,
    TrialGroup,
    size_of,
)
from vaetune.study import FINALISTS, MANIFOLD_SIDE, PRIOR_SAMPLES, RECONSTRUCTIONS, Rung

FASTER, SLOWER = 0.8, 1.3
"""Duration of a long run relative to the prediction from a few steps, at best and at worst."""

SUGGESTION_S = (1.0, 3.0)
"""Seconds that the Gaussian process of a Bayesian search takes per suggestion, on two CPU cores."""

RESCORING_FACTOR = 1.1
"""Duration of training and rescoring relative to that of training alone, at most."""

START_S = (4.0, 15.0)
"""Seconds that Ray and its workers take to start, on two CPU cores."""

_IMAGES_PER_TRIAL = RECONSTRUCTIONS + PRIOR_SAMPLES + MANIFOLD_SIDE**2
"""Images in the artifacts of a trial, at most: those of the manifold only for latent_dim 2."""

_COPIES_PER_CHECKPOINT = 4
"""Arrays in the size of the weights: the weights, Adam's two moments, and the best weights."""

Bracket = tuple[int, int]
"""An iteration of the Hyperband schedule, and a bracket in it."""


@dataclass(frozen=True)
class Sharing:
    """Several workers on one machine.

    Attributes:
        workers: Number of workers.
        oversubscription: Threads of all workers per core, at least 1.
        longest: A single trial with all epochs. It is the longest piece of work that workers
            cannot share.
    """

    workers: int
    oversubscription: float
    longest: TrialGroup


def extremes(space: Space) -> tuple[Hyperparameters, Hyperparameters]:
    """Returns the smallest and the largest configuration of a space.

    Categories have the Keras example's value if the space contains it, else their first. The
    learning rate is the geometric mean of the space's bounds.
    """
    rates = [float(rate) for rate in space.learning_rate.listed()]
    rate = math.sqrt(min(rates) * max(rates))
    low, high = (
        {name: _extreme(space, name, choose) for name, _ in space.dimensions()}
        for choose in (min, max)
    )
    return space.used(low | {"learning_rate": rate}), space.used(high | {"learning_rate": rate})


def _extreme(space: Space, name: str, choose: Callable[[Iterable[Any]], Any]) -> Value:
    """Returns the smallest or largest number of a hyperparameter; a category's default."""
    is_text = FAMILY[name].kind == "text"
    return space.default(name) if is_text else choose(getattr(space, name).listed())


def sample_by_size(
    configurations: Iterable[Hyperparameters], image_shape: ImageShape, count: int
) -> list[Hyperparameters]:
    """Returns up to `count` configurations, spaced evenly from small to large ones."""
    ranked = sorted(configurations, key=lambda one: size_of(image_shape, one).multiplications)
    positions = np.linspace(0, len(ranked) - 1, count + 2)[1:-1]
    return [ranked[index] for index in sorted({round(float(each)) for each in positions})]


def group_trials(
    plan: Iterable[Rung],
    drawn: Mapping[Bracket, Sequence[Hyperparameters]],
    initial_trials: int | None = None,
) -> list[TrialGroup]:
    """Groups the trials of a plan by their epochs and possible configurations.

    Args:
        plan: Trials of the search.
        drawn: Configurations that the search draws, from `draw_configurations`.
        initial_trials: Number of random trials of a Bayesian search. The suggestions that follow
            are taken to be like them. None: all trials are drawn.
    """
    groups = []
    for rung in plan:
        pool, epochs = drawn[rung.iteration, rung.bracket], rung.epoch_to - rung.epoch_from
        known = min(rung.trials, initial_trials or rung.trials)
        groups.append(TrialGroup(pool[:known] if rung.rung == 0 else pool, known, epochs))
        if known < rung.trials:
            groups.append(TrialGroup(pool, rung.trials - known, epochs))
    return groups


def estimate_duration(
    cost_model: CostModel,
    groups: Iterable[TrialGroup],
    start_s: float,
    suggestions: int = 0,
    sharing: Sharing | None = None,
) -> DurationRange:
    """Estimates the duration of a search on this machine.

    Args:
        cost_model: Predicts the duration of trials.
        groups: Trials of the search, and of the Keras example if it is trained too.
        start_s: Duration of a session before its first step, in seconds.
        suggestions: Number of suggestions of a Gaussian process.
        sharing: Workers that share the trials. None: one process trains all of them.
    """
    durations = (cost_model.duration(group) for group in groups)
    total = sum(durations, start=DurationRange(0.0, 0.0, 0.0))
    low, high = (suggestions * each for each in SUGGESTION_S)
    if sharing:
        total = _shared(total, cost_model.duration(sharing.longest), sharing)
        low, high = low + START_S[0], high + START_S[1]
    return DurationRange(
        total.low * FASTER + start_s + low,
        total.middle * (1 + RESCORING_FACTOR) / 2 + start_s + (low + high) / 2,
        total.high * SLOWER * RESCORING_FACTOR + start_s + high,
    )


def _shared(total: DurationRange, longest: DurationRange, sharing: Sharing) -> DurationRange:
    """Returns the duration on several workers of trials that take `total` on one.

    At best no worker ever waits. At worst all but one wait while the longest trial is trained
    (Graham 1969).
    """
    even = sharing.oversubscription / sharing.workers
    waiting = 1 - 1 / sharing.workers
    low, middle = max(total.low * even, longest.low), max(total.middle * even, longest.middle)
    return DurationRange(
        low,
        (middle + total.middle * even + longest.middle * waiting) / 2,
        total.high * even + longest.high * waiting,
    )


def disk_bytes(
    groups: Sequence[TrialGroup], plan: Sequence[Rung], image_shape: ImageShape, keep_best: int
) -> int:
    """Returns the largest disk space that a search needs at one time, in bytes.

    Args:
        groups: Trials of the search.
        plan: The same trials by rung.
        image_shape: Height, width and channels.
        keep_best: Number of best trials that keep their weights, in addition to the finalists and
            the best trial of each latent size.
    """
    configurations = [one for group in groups for one in group.pool]
    weights = 4 * max(size_of(image_shape, one).parameters for one in configurations)
    latent_sizes = {value_of(one, "latent_dim") for one in configurations}
    trials = sum(rung.trials for rung in plan)
    promoted = max((rung.trials for rung in plan if rung.rung > 0), default=0)
    # Trials that wait for their promotion, the running trial and its parent can be continued.
    trainable = min(promoted + 2, trials)
    leading = min(keep_best + FINALISTS + len(latent_sizes), trials)
    artifacts = _IMAGES_PER_TRIAL * math.prod(image_shape)
    return weights * (_COPIES_PER_CHECKPOINT * trainable + leading) + artifacts * trials
