"""Predicts the trials of a search by running a copy of its oracle."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import Value
from vaetune.search.oracles.base import Oracle
from vaetune.search.oracles.control import assignment, end_trial, request_trial
from vaetune.search.oracles.freeze_thaw import FreezeThawOracle
from vaetune.search.oracles.simple import GridOracle
from vaetune.study import Rung


def plan(oracle: Oracle) -> tuple[Rung, ...]:
    """Returns the trials of a whole search, including those that have run.

    The number of trials does not depend on their scores, so the plan is exact unless further
    trials fail. For freeze-thaw it depends on them, so the plan has upper bounds. The oracle is
    not changed.

    Args:
        oracle: The oracle of the search, in any state.
    """
    grid_size = _grid_size(oracle)
    if grid_size is not None:
        return (
            Rung(bracket=0, rung=0, trials=grid_size, epoch_from=0, epoch_to=oracle.max_epochs),
        )
    if isinstance(oracle, FreezeThawOracle):
        return (oracle.bounds(),)
    copy = oracle.dry_run_copy()
    for trial in list(copy.ongoing_trials.values()):
        end_trial(copy, trial.trial_id, math.inf)
    for trial in dry_run(copy):
        assignment(copy, trial)
    sizes: dict[tuple[int, int, int, int, int], int] = {}
    for asked in copy.assignments.values():
        key = (asked.iteration, asked.bracket, asked.rung, asked.epoch_from, asked.epoch_to)
        sizes[key] = sizes.get(key, 0) + 1
    names = ("iteration", "bracket", "rung", "epoch_from", "epoch_to")
    rungs = [Rung(trials=n, **dict(zip(names, key, strict=True))) for key, n in sizes.items()]
    # In the order in which a single worker would run them.
    return tuple(sorted(rungs, key=lambda rung: (rung.iteration, -rung.bracket, rung.rung)))


def _grid_size(oracle: Oracle) -> int | None:
    """Returns the number of trials of a grid search, or None for other algorithms.

    It is computed, because a dry run of a large grid takes minutes.
    """
    if not isinstance(oracle, GridOracle):
        return None
    points = _grid_points(oracle)
    outside = sum(
        any(value not in points[name] for name, value in configuration.items())
        for configuration in oracle.starting_points
    )
    return min(int(oracle.space.grid_size(points)) + outside, oracle.trial_limit)


def _grid_points(oracle: Oracle) -> dict[str, list[Value]]:
    """Returns the values that a grid has of each hyperparameter, parents first."""
    return {hp.name: sorted({hp.default, *hp.values}) for hp in oracle.hyperparameters.space}


def draw_configurations(
    oracle: Oracle, max_points: int = 1000
) -> dict[tuple[int, int], list[Mapping[str, Value]]]:
    """Returns the configurations that a new search draws, by iteration and bracket.

    They are exact, whatever the scores, with these exceptions: a Bayesian search is represented by
    a random search of the same length, a freeze-thaw search by a longer random search, and a grid
    with more than `max_points` points by `max_points` random ones, besides its starting points.
    The oracle is not changed.

    Args:
        oracle: The oracle of a new search.
        max_points: Maximum number of points of a grid.
    """
    grid_size = _grid_size(oracle)
    if grid_size is not None and grid_size > max_points:
        drawn_points = _draw_from_grid(oracle, max_points)
        return {(0, 0): [*oracle.starting_points, *drawn_points]}
    copy = oracle.dry_run_copy()
    drawn: dict[tuple[int, int], list[Mapping[str, Value]]] = {}
    for trial in dry_run(copy):
        asked = assignment(copy, trial)
        if asked.parent is None:
            key = (asked.iteration, asked.bracket)
            drawn.setdefault(key, []).append(asked.hyperparameters)
    return drawn


def _draw_from_grid(oracle: Oracle, count: int) -> list[Mapping[str, Value]]:
    generator = np.random.default_rng(oracle.seed)
    points = _grid_points(oracle)
    return [
        oracle.space.used(
            {name: values[generator.integers(len(values))] for name, values in points.items()}
        )
        for _ in range(count)
    ]


def dry_run(oracle: Oracle) -> Iterator[Trial]:
    """Yields the trials of an oracle one by one, and ends each with an invented score."""
    score = 0.0
    while (trial := request_trial(oracle)).status == TrialStatus.RUNNING:
        yield trial
        end_trial(oracle, trial.trial_id, score)
        score += 1.0
