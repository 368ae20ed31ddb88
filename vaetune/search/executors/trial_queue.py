"""The trials of several searches, handed out to workers as they become idle."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from vaetune.errors import StoppedEarly
from vaetune.search.executors.base import Opening, SourceTrial, TrialSource
from vaetune.study import Environment
from vaetune.training import Message, Task

WorkerPlace = tuple[str, Environment]
"""The machine of a worker, and what it trains on."""


@dataclass(eq=False)
class OpenSource:
    """A search whose trials are being trained.

    Attributes:
        source: Its trials.
        stack: Closes it.
        retries: Trials that have begun and wait for a worker, because theirs was lost or they met
            a transient error.
        moved: Ids of those whose worker was lost.
        busy: Number of workers that train for it.
        mending: Tasks that recreate lost files, once all trials have ended.
    """

    source: TrialSource
    stack: ExitStack
    retries: deque[SourceTrial] = field(default_factory=deque)
    moved: set[str] = field(default_factory=set)
    busy: int = 0
    mending: Iterator[tuple[SourceTrial, Task]] | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """A task for a worker.

    Attributes:
        mends: Whether the trial has ended already, and the task recreates one of its files.
    """

    search: OpenSource
    trial: SourceTrial
    task: Task
    mends: bool


class TrialQueue:
    """Decides what each idle worker trains next, and reports the results back.

    A context manager: leaving it closes the searches that are still open.

    Args:
        openings: The searches, the most urgent first. The next one is opened only when the open
            ones have no trial for an idle worker.
        joined: The workers that are ready, by number.

    Attributes:
        stop: The limit that stopped the search; None while it runs.
    """

    def __init__(self, openings: Iterable[Opening], joined: Mapping[int, WorkerPlace]) -> None:
        self.stop: StoppedEarly | None = None
        self._waiting = deque(openings)
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
        return not (self._open or self._waiting)

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

    def take(self, job: Job, message: Message) -> None:
        """Passes a message of a task on to its search.

        Raises:
            StoppedEarly: A limit other than the time budget is reached.
            ResultsError: A file cannot be written.
        """
        try:
            job.search.source.take(job.trial, message)
        except StoppedEarly as stop:
            self._stop_with(stop)

    def finish(self, job: Job) -> None:
        """Ends a trial whose task came to its end, or lets it be tried again."""
        job.search.busy -= 1
        if job.mends or self.stop:
            return
        if job.search.source.has_ended(job.trial):
            job.search.source.on_trial_end(job.trial)
        else:
            job.search.retries.append(job.trial)

    def on_worker_joined(self, worker: int, place: WorkerPlace) -> None:
        """Reports a worker that is ready to all open searches."""
        self._joined[worker] = place
        for search in self._open:
            search.source.on_worker_joined(worker, *place)

    def on_worker_lost(self, worker: int, reason: str, job: Job | None) -> None:
        """Reports a lost worker to all open searches; its trial continues elsewhere.

        Args:
            worker: Number of the worker, from 1.
            reason: Cause of the loss, in one line.
            job: The task that it trained, if any.
        """
        self._joined.pop(worker, None)
        for search in self._open:
            trial = job.trial if job and job.search is search and not job.mends else None
            search.source.on_worker_lost(worker, reason, trial)
            if trial:
                search.retries.append(trial)
                search.moved.add(trial.trial_id)
        if job is not None:
            job.search.busy -= 1
            job.search.mending = None  # to be looked through again

    def _stop_with(self, stop: StoppedEarly) -> None:
        # Workers finish their epochs when the time is up. Any other limit ends the search at once.
        if stop.reason != "time_budget":
            raise stop
        self.stop = stop

    def _find_job(self, worker: int) -> Job | None:
        for search in tuple(self._open):
            if job := self._job_of(search, worker):
                return job
        while self._waiting:
            opened = self._open_next(self._waiting.popleft())
            if opened and (job := self._job_of(opened, worker)):
                return job
        return None

    def _open_next(self, opening: Opening) -> OpenSource | None:
        inner = ExitStack()
        self._stack.push(inner)  # closes the search if it does not come to its end
        source = inner.enter_context(opening)
        if source is None:
            return None
        inner.callback(source.keep)
        source.on_search_begin()
        for worker, place in self._joined.items():
            source.on_worker_joined(worker, *place)
        opened = OpenSource(source, inner)
        self._open.append(opened)
        return opened

    def _close(self, search: OpenSource) -> None:
        search.source.tidy()
        search.source.on_search_end()
        self._open.remove(search)
        search.stack.close()

    def _job_of(self, search: OpenSource, worker: int) -> Job | None:
        """Returns a task of a search; closes the search if nothing is left."""
        while trial := self._next_trial(search, worker):
            task = search.source.task_of(trial)
            if task is None:  # its workers crashed too often
                search.moved.discard(trial.trial_id)
                search.source.on_trial_end(trial)
                continue
            if trial.trial_id in search.moved:
                search.moved.remove(trial.trial_id)
                search.source.on_trial_moved(trial, worker)
            search.busy += 1
            return Job(search, trial, task, mends=False)
        return self._mending_job(search)

    def _mending_job(self, search: OpenSource) -> Job | None:
        if search.mending is None and not search.busy:
            search.mending = search.source.mending()
        if search.mending is not None:
            found = next(search.mending, None)
            if found is not None:
                search.busy += 1
                return Job(search, *found, mends=True)
            if not search.busy:
                self._close(search)
        return None

    def _next_trial(self, search: OpenSource, worker: int) -> SourceTrial | None:
        if search.retries:
            return search.retries.popleft()
        trial = search.source.next_trial() if search.mending is None else None
        if trial is not None:
            search.source.on_trial_begin(trial, worker)
        return trial
