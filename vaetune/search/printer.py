"""A watcher that prints a line per trial, for scripts and notebooks."""

from collections.abc import Sequence

from vaetune.report import trial_line
from vaetune.search.watcher import NoWatcher
from vaetune.study import Event, Rung, Study, TrialEnded, TrialStarted


class PrintingWatcher(NoWatcher):
    """Prints each trial when it ends, with its loss and hyperparameters.

    Args:
        plan: The trials of the whole search.
        past: The search as earlier sessions left it; None for a new one.
    """

    def __init__(self, plan: Sequence[Rung], past: Study | None) -> None:
        self._trials = sum(rung.trials for rung in plan)
        self._ended = sum(trial.ended is not None for trial in past.trials) if past else 0
        self._started: dict[tuple[str, str], TrialStarted] = {}

    def on_event(self, run: str, event: Event) -> None:
        """Prints the end of a trial; see `Watcher.on_event`."""
        if isinstance(event, TrialStarted):
            self._started[run, event.trial_id] = event
        elif isinstance(event, TrialEnded):
            print(self._line(run, event), flush=True)  # noqa: T201  that is what it is for

    def _line(self, run: str, event: TrialEnded) -> str:
        label = "Keras example" if run == "baseline" else run
        if run == "search":
            self._ended += 1
            label = f"trial {event.trial_id} ({self._ended} of {self._trials})"
        return trial_line(label, self._started[run, event.trial_id], event)
