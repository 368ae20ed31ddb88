"""The limits that stop a search: its time budget and its share of failed trials."""

import time

from keras_tuner.engine.trial import TrialStatus

from vaetune.config import Limits, SearchSpec
from vaetune.errors import StoppedEarly
from vaetune.search.oracles.base import Oracle

ENOUGH_TRIALS = 10
"""Number of ended trials after which the share of failures may stop a search."""


def check_time(spec: SearchSpec, deadline_s: float) -> None:
    """Stops a search if its time is up, as `time.monotonic` counts.

    Raises:
        StoppedEarly: It is.
    """
    if time.monotonic() >= deadline_s:
        raise time_is_up(spec)


def time_is_up(spec: SearchSpec) -> StoppedEarly:
    return StoppedEarly("time_budget", f"The time of {spec.limits.time_budget} is up.")


def check_failures(oracle: Oracle, limits: Limits) -> None:
    """Stops a search if too many of its trials failed.

    Raises:
        StoppedEarly: The share of failed trials is larger than `max_failure_rate`.
    """
    statuses = [trial.status for trial in oracle.trials.values()]
    failed = statuses.count(TrialStatus.FAILED)
    ended = failed + statuses.count(TrialStatus.COMPLETED)
    if ended >= ENOUGH_TRIALS and failed > limits.max_failure_rate * ended:
        raise StoppedEarly(
            "failures",
            f"{failed} of {ended} trials failed, more than the share of "
            f"{limits.max_failure_rate:g} that a search may lose.",
        )
