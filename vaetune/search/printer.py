"""A watcher that prints a line per trial, for scripts and notebooks."""

from collections.abc import Sequence

from vaetune.report import counted, describe_lead, describe_plan, trial_line
from vaetune.search.watcher import NoWatcher
from vaetune.study import (
    Event,
    FinalistsRescored,
    Rung,
    SessionStarted,
    Study,
    TrialEnded,
    TrialRetried,
    TrialStarted,
    WorkerLost,
)


class PrintingWatcher(NoWatcher):
    """Prints what is going to run, and a line for each trial when it ends.

    Args:
        plan: The trials of the whole search.
        past: The search as earlier sessions left it; None for a new one.
    """

    def __init__(self, plan: Sequence[Rung], past: Study | None) -> None:
        self._plan = plan
        self._trials = sum(rung.trials for rung in plan)
        self._ended = sum(trial.ended is not None for trial in past.trials) if past else 0
        self._started: dict[tuple[str, str], TrialStarted] = {}

    def on_event(self, run: str, event: Event) -> None:
        """Prints a line about an event that a reader waits for; see `Watcher.on_event`."""
        match event:
            case SessionStarted() if run == "search":
                done = f" {self._ended} of them are done." if self._ended else ""
                _print(f"{describe_plan(self._plan)}.{done}")
            case TrialStarted():
                self._started[run, event.trial_id] = event
            case TrialRetried():
                _print(f"trial {event.trial_id} is tried again after: {event.error}")
            case WorkerLost():
                _print(f"worker {event.worker} is lost: {event.error}")
            case TrialEnded():
                _print(self._line(run, event))
            case FinalistsRescored():
                _print(_describe_rescoring(event))
            case _:
                pass

    def _line(self, run: str, event: TrialEnded) -> str:
        label = "Keras example" if run == "baseline" else run
        if run == "search":
            self._ended += 1
            label = f"trial {event.trial_id} ({self._ended} of {self._trials})"
        return trial_line(label, self._started[run, event.trial_id], event)


def _describe_rescoring(event: FinalistsRescored) -> str:
    rescoring = event.rescoring
    finalists = counted(len(rescoring.finalists), "finalist")
    samples = counted(rescoring.posterior_samples, "posterior sample")
    lead = f": {describe_lead(rescoring.lead)}" if rescoring.lead else "."
    return f"Measured {finalists} again with {samples} per image{lead}"


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  that is what the watcher is for
