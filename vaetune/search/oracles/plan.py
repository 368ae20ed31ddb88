"""The trials that a search is going to run."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import Number
from vaetune.search.oracles.base import Oracle
from vaetune.search.oracles.control import assignment, end, hand_out
from vaetune.search.oracles.simple import GridOracle
from vaetune.study import Rung


def plan(oracle: Oracle) -> tuple[Rung, ...]:
    """Counts the trials of a search, those that an oracle has asked for and those to come.

    Which configurations are drawn does not depend on the scores, so the counts are exact as
    long as no more trials fail. The oracle stays as it is.
    """
    grid_size = _grid_size(oracle)
    if grid_size is not None:
        return (
            Rung(bracket=0, rung=0, trials=grid_size, epoch_from=0, epoch_to=oracle.max_epochs),
        )
    rehearsed = oracle.dry_run_copy()
    for trial in list(rehearsed.ongoing_trials.values()):
        end(rehearsed, trial.trial_id, math.inf)
    for trial in dry_run(rehearsed):
        assignment(rehearsed, trial)
    sizes: dict[tuple[int, int, int, int, int], int] = {}
    for asked in rehearsed.assignments.values():
        key = (asked.iteration, asked.bracket, asked.rung, asked.epoch_from, asked.epoch_to)
        sizes[key] = sizes.get(key, 0) + 1
    names = ("iteration", "bracket", "rung", "epoch_from", "epoch_to")
    rungs = [Rung(trials=n, **dict(zip(names, key, strict=True))) for key, n in sizes.items()]
    # As one worker would run them, whichever began first among several.
    return tuple(sorted(rungs, key=lambda rung: (rung.iteration, -rung.bracket, rung.rung)))


def _grid_size(oracle: Oracle) -> int | None:
    """How many trials a grid holds, worked out: running through a large one takes minutes."""
    if not isinstance(oracle, GridOracle):
        return None
    points = math.prod(len({hp.default, *hp.values}) for hp in oracle.hyperparameters.space)
    return min(points, oracle.trial_limit)


def draw_configurations(
    oracle: Oracle, most: int = 1000
) -> dict[tuple[int, int], list[Mapping[str, Number]]]:
    """The configurations that a new search begins with, by iteration and bracket.

    They are those it will draw, whatever the scores, but for two: a Bayesian search continues with
    suggestions of its own, and stands here for a random one of as many trials; of a grid with
    more than `most` points, `most` are drawn at random. The oracle stays as it is.
    """
    grid_size = _grid_size(oracle)
    if grid_size is not None and grid_size > most:
        return {(0, 0): _draw_from_grid(oracle, most)}
    rehearsed = oracle.dry_run_copy()
    drawn: dict[tuple[int, int], list[Mapping[str, Number]]] = {}
    for trial in dry_run(rehearsed):
        asked = assignment(rehearsed, trial)
        if asked.parent is None:
            place = (asked.iteration, asked.bracket)
            drawn.setdefault(place, []).append(asked.hyperparameters)
    return drawn


def _draw_from_grid(oracle: Oracle, count: int) -> list[Mapping[str, Number]]:
    generator = np.random.default_rng(oracle.seed)
    points = {hp.name: sorted({hp.default, *hp.values}) for hp in oracle.hyperparameters.space}
    return [
        {name: values[generator.integers(len(values))] for name, values in points.items()}
        for _ in range(count)
    ]


def dry_run(oracle: Oracle) -> Iterator[Trial]:
    score = 0.0
    while (trial := hand_out(oracle)).status == TrialStatus.RUNNING:
        yield trial
        end(oracle, trial.trial_id, score)
        score += 1.0
