"""The limits that stop a search: its time budget, and the share of failed trials."""

import time

from keras_tuner.engine.trial import TrialStatus

from vaetune.config import Limits, SearchSpec
from vaetune.errors import StoppedEarly
from vaetune.search.oracles.base import Oracle

MIN_ENDED_TRIALS = 10
"""Number of ended trials from which the share of failures can stop a search."""


def check_time(spec: SearchSpec, deadline_s: float) -> None:
    """Stops a search when its time budget is used up.

    Args:
        spec: The search.
        deadline_s: Time at which to stop, in seconds of `time.monotonic`.

    Raises:
        StoppedEarly: The deadline has passed.
    """
    if time.monotonic() >= deadline_s:
        raise out_of_time(spec)


def out_of_time(spec: SearchSpec) -> StoppedEarly:
    """Returns the error that stops a search when its time budget is used up."""
    budget = spec.limits.time_budget
    return StoppedEarly("time_budget", f"The time budget of {budget} is used up.")


def check_failures(oracle: Oracle, limits: Limits) -> None:
    """Stops a search in which too many trials failed.

    Args:
        oracle: Oracle of the search.
        limits: Limits of the search.

    Raises:
        StoppedEarly: The share of failed trials is above the limit.
    """
    statuses = [trial.status for trial in oracle.trials.values()]
    failed = statuses.count(TrialStatus.FAILED)
    ended = failed + statuses.count(TrialStatus.COMPLETED)
    if ended >= MIN_ENDED_TRIALS and failed > limits.max_failure_rate * ended:
        raise StoppedEarly(
            "failures",
            f"{failed} of {ended} trials failed, more than the allowed share of "
            f"{limits.max_failure_rate:g}.",
        )
