"""A source of trials that notes how an executor calls it."""

from contextlib import contextmanager
from dataclasses import dataclass

from tiny_searches import TINY

from vaetune.errors import StoppedEarly
from vaetune.study.records import Assignment
from vaetune.training.tasks import Completed, EpochDone, Task

HYPERPARAMETERS = {
    "filters_1": 2,
    "filters_2": 3,
    "dense_units": 4,
    "latent_dim": 2,
    "learning_rate": 0.01,
}


@dataclass(frozen=True)
class Trial:
    trial_id: str


class Source:
    """A `TrialSource` with trials of one epoch that notes every call.

    Args:
        name: Name of the source.
        calls: List that receives the calls, as (name of the source, call, trial id).
        trials: Number of trials.
        stop_at: Id of the trial that reaches the time limit in its first epoch.
    """

    def __init__(self, name, calls, trials=3, stop_at=None):
        self.name, self.calls, self.stop_at = name, calls, stop_at
        self.trials = [Trial(f"{number:04d}") for number in range(trials)]
        self.waiting = list(self.trials)
        self.ended = set()

    def note(self, call, trial=None):
        self.calls.append((self.name, call, trial.trial_id if trial else None))

    def task(self, trial):
        assignment = Assignment(
            trial_id=trial.trial_id,
            configuration=int(trial.trial_id),
            parent=None,
            bracket=0,
            rung=0,
            epoch_from=0,
            epoch_to=1,
            hyperparameters=HYPERPARAMETERS,
        )
        return Task(TINY, (assignment,), None)

    def on_search_begin(self):
        self.note("search begin")

    def next_trial(self):
        return self.waiting.pop(0) if self.waiting else None

    def on_trial_begin(self, trial, worker=None):
        self.note("begin", trial)

    def on_trial_moved(self, trial, worker):
        raise AssertionError("no worker should be lost")

    def task_of(self, trial):
        return None if trial in self.ended else self.task(trial)

    def record(self, trial, message):
        if isinstance(message, EpochDone):
            self.note("epoch", trial)
            if trial.trial_id == self.stop_at:
                raise StoppedEarly("time_budget", "The time is up.")
        elif isinstance(message, Completed):
            self.note("completed", trial)
            self.ended.add(trial)

    def has_ended(self, trial):
        return trial in self.ended

    def on_trial_end(self, trial):
        self.note("end", trial)

    def repairs(self):
        self.note("repairs")
        yield self.trials[0], self.task(self.trials[0])

    def flush(self):
        self.note("flush")

    def remove_unneeded(self):
        self.note("remove unneeded")

    def on_search_end(self):
        self.note("search end")

    def on_worker_joined(self, worker, host, environment):
        self.note("joined")

    def on_worker_lost(self, worker, error, trial=None):
        raise AssertionError(f"no worker should be lost: {error}")


@contextmanager
def opening(source, name, calls):
    """Opens a source, and notes how it ends."""
    calls.append((name, "open", None))
    try:
        yield source
    except StoppedEarly:
        calls.append((name, "stopped", None))
        raise
    calls.append((name, "close", None))
