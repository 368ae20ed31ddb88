"""Estimates the duration of a search, and the disk space that it needs.

The planned trials are known from the oracle, except which of them are promoted.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from vaetune.config import FAMILY, Space, Value, value_of
from vaetune.search.oracles.observations import MAX_PAUSED
from vaetune.search.preflight.cost_model import (
    CostModel,
    DurationRange,
    Hyperparameters,
    ImageShape,
    Structure,
    TrialGroup,
    size_of,
    structure_key,
)
from vaetune.study import (
    FINALISTS,
    MANIFOLD_SIDE,
    PRIOR_SAMPLES,
    RECONSTRUCTIONS,
    Rung,
    is_open,
)

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


def extremes(space: Space, image_shape: ImageShape) -> tuple[Hyperparameters, Hyperparameters]:
    """Returns the smallest and the largest configuration of a space, by multiplications.

    Numbers have their smallest or largest value; of the structures that they allow, the smallest
    or largest one is taken. The activation has no size: it is the Keras example's if the space
    contains it, else its first. The learning rate is the geometric mean of the space's bounds.
    """
    rates = [float(rate) for rate in space.learning_rate.listed()]
    rate = math.sqrt(min(rates) * max(rates))

    def pick(choose: Callable[..., Any]) -> Hyperparameters:
        names = [name for name, _ in space.dimensions()]
        options = [_options(space, name, choose) for name in names]
        combined = (dict(zip(names, values, strict=True)) for values in product(*options))
        used = (space.used(values | {"learning_rate": rate}) for values in combined)
        possible = list({tuple(one.items()): one for one in used}.values())
        fitting = [one for one in possible if _fits(image_shape, one)] or possible[:1]
        found: Hyperparameters = choose(
            fitting, key=lambda one: size_of(image_shape, one).multiplications
        )
        return found

    return pick(min), pick(max)


def _options(space: Space, name: str, choose: Callable[..., Any]) -> list[Value]:
    """Returns the values of a hyperparameter among which the size of the model decides."""
    hyperparameter, values = FAMILY[name], getattr(space, name).listed()
    if name == "activation" or (hyperparameter.kind == "text" and not hyperparameter.is_structural):
        return [space.default(name)]
    if hyperparameter.kind == "text":
        return list(values)
    return sorted({min(values), max(values)}) if hyperparameter.is_structural else [choose(values)]


def _fits(image_shape: ImageShape, hyperparameters: Hyperparameters) -> bool:
    """Returns whether the images are large enough for the stages of a configuration."""
    try:
        size_of(image_shape, hyperparameters)
    except ValueError:
        return False
    return True


def sample_by_size(
    configurations: Iterable[Hyperparameters], image_shape: ImageShape, count: int
) -> list[Hyperparameters]:
    """Returns up to `count` configurations, spaced evenly from small to large ones."""
    ranked = sorted(configurations, key=lambda one: size_of(image_shape, one).multiplications)
    positions = np.linspace(0, len(ranked) - 1, count + 2)[1:-1]
    return [ranked[index] for index in sorted({round(float(each)) for each in positions})]


def sample_by_structure(
    configurations: Sequence[Hyperparameters],
    known: Iterable[Hyperparameters],
    image_shape: ImageShape,
    count: int,
) -> list[Hyperparameters]:
    """Returns a configuration of medium size of each structure, for the most frequent structures.

    Args:
        configurations: Configurations to choose from.
        known: Configurations with structures that are not needed.
        image_shape: Height, width and channels.
        count: Number of configurations, at most.
    """
    groups: dict[Structure, list[Hyperparameters]] = {}
    for one in configurations:
        groups.setdefault(structure_key(one), []).append(one)
    for one in known:
        groups.pop(structure_key(one), None)
    frequent = sorted(groups.values(), key=len, reverse=True)[:count]
    return [sample_by_size(group, image_shape, 1)[0] for group in frequent]


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
        pool, epochs = drawn[rung.iteration, rung.bracket], rung.epochs / rung.trials
        known = min(rung.trials, initial_trials or rung.trials)
        is_drawn = rung.rung == 0 and rung.most_epochs is None
        groups.append(TrialGroup(pool[:known] if is_drawn else pool, known, epochs))
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
    groups: Sequence[TrialGroup],
    plan: Sequence[Rung],
    image_shape: ImageShape,
    keep_best: int,
    from_best: bool = False,
) -> int:
    """Returns the largest disk space that a search needs at one time, in bytes.

    Args:
        groups: Trials of the search.
        plan: The same trials by rung.
        image_shape: Height, width and channels.
        keep_best: Number of best trials that keep their weights, in addition to the finalists and
            the best trial of each latent size.
        from_best: Whether promotions continue from the best epoch.
    """
    configurations = [one for group in groups for one in group.pool]
    weights = [4 * size_of(image_shape, one).parameters for one in configurations]
    checkpoint = max(
        size * copies_per_checkpoint(one, from_best)
        for size, one in zip(weights, configurations, strict=True)
    )
    latent_sizes = {value_of(one, "latent_dim") for one in configurations}
    trials = sum(rung.trials for rung in plan)
    promoted = max((rung.trials for rung in plan if rung.rung > 0), default=0)
    promoted = MAX_PAUSED if is_open(plan) else promoted
    # Trials that wait for their promotion, the running trial and its parent can be continued.
    trainable = min(promoted + 2, trials)
    leading = min(keep_best + FINALISTS + len(latent_sizes), trials)
    artifacts = _IMAGES_PER_TRIAL * math.prod(image_shape)
    return checkpoint * trainable + max(weights) * leading + artifacts * trials


def copies_per_checkpoint(hyperparameters: Hyperparameters, from_best: bool) -> int:
    """Returns the most arrays in the size of the weights that a checkpoint holds.

    Args:
        hyperparameters: The configuration.
        from_best: Whether promotions continue from the best epoch.
    """
    averages = bool(value_of(hyperparameters, "weight_average"))
    optimizer = 2  # Adam's moments.
    latest = 1 + averages + optimizer
    best = 1 + (averages + optimizer) * from_best
    return latest + best
