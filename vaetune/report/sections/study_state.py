"""Describes how far a search is, and how to continue it."""

from dataclasses import dataclass
from datetime import datetime

from vaetune.report.analysis.timeline import study_moments
from vaetune.report.text.search import describe_share
from vaetune.report.text.units import counted, duration
from vaetune.study import Study, continue_command, is_open


@dataclass(frozen=True)
class State:
    """The state of a search.

    Attributes:
        summary: State in a few words.
        advice: Explanation and advice for the reader; empty if there is nothing to do.
        command: Command that follows the advice; empty if there is nothing to do.
    """

    summary: str
    advice: str = ""
    command: str = ""


def describe_state(study: Study, now: datetime, is_running: bool = False) -> State:
    """Describes whether a search is complete, running or stopped, and how to continue it.

    Args:
        study: Search to describe.
        now: Time at which the page is written.
        is_running: True if the search is known to be running, which its journal cannot show.
    """
    ended = sum(trial.ended is not None for trial in study.trials)
    failed = f", {len(study.failures)} failed" if study.failures else ""
    if study.is_complete:
        return _complete_state(study, f"Complete: {counted(ended, 'trial')}{failed}")
    so_far = f"{ended:,} of {counted(study.trials_planned, 'trial')}{failed}"
    if is_open(study.plan):
        so_far = f"{describe_share(study.plan, ended, study.epochs_trained)}{failed}"
    if study.last_end is None and is_running:
        running = sum(trial.status == "running" for trial in study.trials)
        return State(f"Running: {so_far}" + (f", {running} in parallel" if running > 1 else ""))
    if study.last_end is None:
        age = duration((now - max(study_moments(study))).total_seconds())
        advice = (
            "The journal does not record an end: either the search is running or it was killed. "
            f"Its last event is {age} old. If it is not running, continue it{_where(study)}:"
        )
        return State(f"In progress: {so_far}", advice, continue_command(study))
    return _stopped_state(study, so_far, study.last_end.message or "no message")


def _complete_state(study: Study, summary: str) -> State:
    if study.winner:
        return State(summary)
    advice = f"Fix the errors that are listed below, then search again{_where(study)}:"
    return State(summary, advice, continue_command(study, overwrite=True))


def _stopped_state(study: Study, so_far: str, message: str) -> State:
    resume, where = continue_command(study), _where(study)
    kept = f"All results so far are kept. Continue the search{where}:"
    match study.last_end.reason if study.last_end else None:
        case "error":
            advice = f"The error: {message}. Continue the search{where}:"
            return State(f"Stopped by an error: {so_far}", advice, resume)
        case "failures":
            advice = f"{message} The errors are listed below. To continue in spite of them{where}:"
            if where:
                advice = f"{advice.removesuffix(':')} and limits.max_failure_rate = 1:"
            resume = continue_command(study, "--max-failure-rate", "1")
            return State(f"Stopped because too many trials failed: {so_far}", advice, resume)
        case "time_budget":
            return State(f"Stopped by its time budget: {so_far}", f"{message} {kept}", resume)
    return State(f"Interrupted: {so_far}", kept, resume)


def _where(study: Study) -> str:
    """Returns a hint if only Python can continue a search, because it has the images."""
    return "" if study.names_images else ", in Python with the same search and images"
