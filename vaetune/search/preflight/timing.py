"""Times the parts of an epoch: its steps, and the measure of an objective after it."""

import time
from statistics import median

from vaetune.config import Objective
from vaetune.data import ImageSet
from vaetune.training import Epoch, EpochRunner, measure_use

TIMED_S = 0.8
"""Seconds after which a part of an epoch of a configuration is not timed again."""

MIN_STEPS, MAX_STEPS = 3, 20
"""Number of steps that are timed of each configuration."""

OBJECTIVE_S = 5.0
"""Seconds of measuring an objective after which no further configuration is measured."""


def time_steps(runner: EpochRunner, epoch: Epoch) -> float:
    """Returns the median duration of a step, in seconds.

    Args:
        runner: Runner of the configuration.
        epoch: Epoch of a single step.
    """
    steps_s: list[float] = []
    while len(steps_s) < MIN_STEPS or (sum(steps_s) < TIMED_S and len(steps_s) < MAX_STEPS):
        began_s = time.perf_counter()
        runner.train(epoch)
        steps_s.append(time.perf_counter() - began_s)
    return median(steps_s)


class ObjectiveTimer:
    """Times the measure of an objective that follows each epoch, on all images of the search.

    Args:
        objective: The objective.
        images: Image set of the search.
    """

    def __init__(self, objective: Objective, images: ImageSet) -> None:
        self._objective = objective
        self._images = images
        self._spent_s = 0.0

    def time(self, runner: EpochRunner) -> float | None:
        """Returns the duration of a measurement in seconds.

        None for the validation loss, which is no further work, and after `OBJECTIVE_S`: many large
        images take as long as a part of an epoch.

        Args:
            runner: Runner of a configuration.
        """
        if self._objective.is_loss or self._spent_s > OBJECTIVE_S:
            return None
        first_s = self._time_once(runner)
        # The first time, libraries are imported and functions are traced.
        return first_s if first_s > TIMED_S else min(first_s, self._time_once(runner))

    def _time_once(self, runner: EpochRunner) -> float:
        began_s = time.perf_counter()
        measure_use(self._objective.name, runner, self._images)
        took_s = time.perf_counter() - began_s
        self._spent_s += took_s
        return took_s
