"""The interface between a search, which knows the trials, and an executor, which trains them.

A search offers its trials as a `TrialSource`. An `Executor` trains the tasks that it hands out, in
this process or elsewhere, and reports every message of the training back to it. Neither knows how
the other works.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from vaetune.study import Environment

if TYPE_CHECKING:
    from vaetune.evaluation import ImageLosses
    from vaetune.training import Message, OnProgress, Task, TrainedModel


class SourceTrial(Protocol):
    """A trial as an executor knows it."""

    @property
    def trial_id(self) -> str:
        """Identifier of the trial, unique within its source."""


class TrialSource(Protocol):
    """The trials of one search, in the order in which an executor must ask for them.

    An executor calls `on_search_begin` once. It then gets trials from `next_trial`, passes each
    to `on_trial_begin`, trains the tasks of `task_of` until `has_ended` is true, and passes the
    trial to `on_trial_end`. Every message of a task goes to `record`. When no trial is left, it
    trains the tasks of `repairs` and calls `remove_unneeded`; `on_search_end` follows the last
    trial.
    """

    def on_search_begin(self) -> None:
        """Called once, before the first trial."""

    def next_trial(self) -> SourceTrial | None:
        """Returns the next trial, or None if there is none before another one has ended."""

    def on_trial_begin(self, trial: SourceTrial, worker: int | None = None) -> None:
        """Records that a trial starts, or continues after an earlier session.

        Args:
            trial: A trial from `next_trial`.
            worker: Number of the worker that trains it, from 1; None for this process.

        Raises:
            StoppedEarly: A limit of the search is reached.
        """

    def on_trial_moved(self, trial: SourceTrial, worker: int) -> None:
        """Records that a trial continues on another worker because its worker was lost."""

    def task_of(self, trial: SourceTrial) -> "Task | None":
        """Returns what is left to train of a trial, or None if the trial has ended."""

    def record(self, trial: SourceTrial, message: "Message") -> None:
        """Records a message of the training.

        Raises:
            StoppedEarly: The time budget is used up.
            ResultsError: A file cannot be written.
            KeyboardInterrupt: The user pressed Ctrl-C.
        """

    def has_ended(self, trial: SourceTrial) -> bool:
        """Returns whether nothing is left to train of a trial that has begun."""

    def on_trial_end(self, trial: SourceTrial) -> None:
        """Records the outcome of a trial that has ended."""

    def repairs(self) -> "Iterator[tuple[SourceTrial, Task]]":
        """Yields tasks that recreate lost or damaged files, after the last trial has ended."""

    def flush(self) -> None:
        """Writes all checkpoints that are still in memory."""

    def remove_unneeded(self) -> None:
        """Removes checkpoints that no trial needs."""

    def on_search_end(self) -> None:
        """Called once, after the last trial."""

    def on_worker_joined(self, worker: int, host: str, environment: Environment) -> None:
        """Records that a worker is ready.

        Args:
            worker: Number of the worker, from 1.
            host: Name of its machine.
            environment: Machine and software on which it trains.
        """

    def on_worker_lost(self, worker: int, error: str, trial: SourceTrial | None = None) -> None:
        """Records that a worker is gone.

        Args:
            worker: Number of the worker, from 1.
            error: The reason, in one line.
            trial: The trial of this source that it trained, if any.
        """


PendingSearch = AbstractContextManager[TrialSource | None]
"""A search to train. Entering it opens the search and returns its trials, or None if all is done.

An executor enters it when a worker is free for it.
"""


class Executor(Protocol):
    """Trains and measures models, one or several at a time."""

    @property
    def workers(self) -> int:
        """Number of models trained in parallel."""

    @property
    def environment(self) -> Environment:
        """Where the models are trained."""

    def wait_until_ready(self, on_wait: Callable[[], None]) -> None:
        """Waits until a model can be trained.

        Args:
            on_wait: Called a few times per second; may raise.

        Raises:
            ExecutorError: No worker can start.
        """

    def run(self, searches: Iterable[PendingSearch], on_wait: Callable[[], None]) -> None:
        """Trains all trials of some searches and recreates their lost files.

        Args:
            searches: The searches, the most urgent first. Each is closed when it is done.
            on_wait: Called a few times per second while other processes train; may raise.

        Raises:
            StoppedEarly: A limit of one of the searches is reached.
            VaetuneError: A file cannot be written, or no worker is left.
        """

    def measure(
        self,
        models: "Sequence[TrainedModel]",
        samples: int,
        seed: int,
        on_progress: "OnProgress | None" = None,
    ) -> "list[ImageLosses]":
        """Measures models on the validation images; see `Rescorer`.

        Args:
            models: The models.
            samples: Number of posterior samples per image.
            seed: Random seed of the samples.
            on_progress: Called with the share of the work that is done; may raise.

        Returns:
            Losses of each validation image, one entry per model.
        """
