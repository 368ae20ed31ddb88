"""The trials of several searches, handed out to workers as they become idle."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from vaetune.errors import StoppedEarly
from vaetune.search.executors.base import PendingSearch, SourceTrial, TrialSource
from vaetune.study import Environment
from vaetune.training import Message, Task

WorkerPlace = tuple[str, Environment]
"""The name of a worker's machine, and the environment in which it trains."""


@dataclass(eq=False)
class OpenSource:
    """A search with trials that are being trained.

    Attributes:
        source: Its trials.
        stack: Exit stack that closes the search.
        retries: Trials that have begun and wait for a worker, because theirs was lost or they met
            a transient error.
        moved: Ids of the trials in `retries` that must continue on another worker.
        busy: Number of workers that train for the search.
        repairs: Tasks that recreate lost files; None before all trials have ended.
    """

    source: TrialSource
    stack: ExitStack
    retries: deque[SourceTrial] = field(default_factory=deque)
    moved: set[str] = field(default_factory=set)
    busy: int = 0
    repairs: Iterator[tuple[SourceTrial, Task]] | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """A task for a worker.

    Attributes:
        search: The search of the trial.
        trial: The trial.
        task: The task that the worker trains.
        is_repair: Whether the trial has ended already, and the task recreates one of its files.
    """

    search: OpenSource
    trial: SourceTrial
    task: Task
    is_repair: bool


class TrialQueue:
    """Chooses what each idle worker trains next, and reports the outcome to the search.

    It is a context manager. Leaving it closes the searches that are still open.

    Args:
        searches: The searches, the most urgent first. The next one is opened only when the open
            ones have no trial for an idle worker.
        joined: The workers that are ready, by number.

    Attributes:
        stop: The limit that stopped the search, so that no further task is handed out; None
            while none is reached.
    """

    def __init__(
        self, searches: Iterable[PendingSearch], joined: Mapping[int, WorkerPlace]
    ) -> None:
        self.stop: StoppedEarly | None = None
        self._pending = deque(searches)
        self._joined = dict(joined)
        self._open: list[OpenSource] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    @property
    def is_done(self) -> bool:
        """Whether all searches are closed."""
        return not (self._open or self._pending)

    def next_job(self, worker: int) -> Job | None:
        """Returns a task for an idle worker, or None if there is none for now.

        Args:
            worker: Number of the worker, from 1.

        Raises:
            StoppedEarly: A limit other than the time budget is reached.
        """
        if self.stop:
            return None
        try:
            return self._find_job(worker)
        except StoppedEarly as stop:
            self._stop_with(stop)
            return None

    def record(self, job: Job, message: Message) -> None:
        """Passes a message of a task to its search.

        Raises:
            StoppedEarly: A limit other than the time budget is reached.
            ResultsError: A file cannot be written.
        """
        try:
            job.search.source.record(job.trial, message)
        except StoppedEarly as stop:
            self._stop_with(stop)

    def finish(self, job: Job) -> None:
        """Ends the trial of a finished task, or queues it to be tried again.

        After a stop, trials that complete meanwhile are still ended, and no others are queued.
        """
        job.search.busy -= 1
        if job.is_repair:
            return
        if job.search.source.has_ended(job.trial):
            job.search.source.on_trial_end(job.trial)
        elif not self.stop:
            job.search.retries.append(job.trial)

    def on_worker_joined(self, worker: int, place: WorkerPlace) -> None:
        """Reports a new worker to all open searches."""
        self._joined[worker] = place
        for search in self._open:
            search.source.on_worker_joined(worker, *place)

    def on_worker_lost(self, worker: int, reason: str, job: Job | None) -> None:
        """Reports a lost worker to all open searches, and queues its trial for another one.

        Args:
            worker: Number of the worker, from 1.
            reason: Reason of the loss, in one line.
            job: The job of the worker; None if it was idle.
        """
        self._joined.pop(worker, None)
        for search in self._open:
            trial = job.trial if job and job.search is search and not job.is_repair else None
            search.source.on_worker_lost(worker, reason, trial)
            if trial:
                search.retries.append(trial)
                search.moved.add(trial.trial_id)
        if job is not None:
            job.search.busy -= 1
            job.search.repairs = None  # A repair may be lost, so the lost files are listed again.

    def _stop_with(self, stop: StoppedEarly) -> None:
        # At the end of the time budget, workers finish their epochs. Any other limit ends the
        # search at once.
        if stop.reason != "time_budget":
            raise stop
        self.stop = stop

    def _find_job(self, worker: int) -> Job | None:
        for search in tuple(self._open):
            if job := self._job_of(search, worker):
                return job
        while self._pending:
            opened = self._open_next(self._pending.popleft())
            if opened and (job := self._job_of(opened, worker)):
                return job
        return None

    def _open_next(self, pending: PendingSearch) -> OpenSource | None:
        inner = ExitStack()
        self._stack.push(inner)  # It closes the search if the queue is left before its end.
        source = inner.enter_context(pending)
        if source is None:
            return None
        inner.callback(source.flush)
        source.on_search_begin()
        for worker, place in self._joined.items():
            source.on_worker_joined(worker, *place)
        opened = OpenSource(source, inner)
        self._open.append(opened)
        return opened

    def _close(self, search: OpenSource) -> None:
        search.source.remove_unneeded()
        search.source.on_search_end()
        self._open.remove(search)
        search.stack.close()

    def _job_of(self, search: OpenSource, worker: int) -> Job | None:
        """Returns a task of a search; closes the search if nothing is left to do."""
        while trial := self._next_trial(search, worker):
            task = search.source.task_of(trial)
            if task is None:  # The trial has failed, because its workers crashed too often.
                search.moved.discard(trial.trial_id)
                search.source.on_trial_end(trial)
                continue
            if trial.trial_id in search.moved:
                search.moved.remove(trial.trial_id)
                search.source.on_trial_moved(trial, worker)
            search.busy += 1
            return Job(search, trial, task, is_repair=False)
        return self._repair_job(search)

    def _repair_job(self, search: OpenSource) -> Job | None:
        if search.repairs is None and not search.busy:
            search.repairs = search.source.repairs()
        if search.repairs is not None:
            found = next(search.repairs, None)
            if found is not None:
                search.busy += 1
                return Job(search, *found, is_repair=True)
            if not search.busy:
                self._close(search)
        return None

    def _next_trial(self, search: OpenSource, worker: int) -> SourceTrial | None:
        if search.retries:
            return search.retries.popleft()
        trial = search.source.next_trial() if search.repairs is None else None
        if trial is not None:
            search.source.on_trial_begin(trial, worker)
        return trial
