"""Hands out the trials of a search, and records their results."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import SearchSpec, value_of
from vaetune.errors import ResultsError
from vaetune.models import VAEHyperModel
from vaetune.search.checkpoints import CheckpointKeeper
from vaetune.search.limits import check_failures, check_time, out_of_time
from vaetune.search.lineage import TaskPlanner
from vaetune.search.oracles.base import TUNER_ID, Oracle
from vaetune.search.oracles.control import assignment, end_trial, request_trial
from vaetune.search.oracles.plan import plan
from vaetune.search.trial_state import TrialState
from vaetune.study import (
    Artifacts,
    Assignment,
    CompilationBegan,
    Environment,
    Journal,
    PlanCorrected,
    RankedTrial,
    Study,
    TrialResumed,
    TrialStarted,
    WorkerJoined,
    WorkerLost,
    leaders,
    trial_folder,
)
from vaetune.training import (
    MAX_CRASHES,
    Began,
    Compiling,
    Completed,
    EpochDone,
    Failed,
    Message,
    Progressed,
    Task,
    TimeUp,
)

OnTrialProgress = Callable[[str, float], None]
"""Called with the id of a trial and the share of its present epoch that is done, in [0, 1]."""


class VAETuner(keras_tuner.Tuner):
    """Hands out the trials that an oracle asks for, and records their results in the journal.

    It is the `TrialSource` of a search: an executor asks it for trials and tasks, trains them, and
    passes every message to `record`. The loop of Keras Tuner, `search` and `run_trial`, is not
    used.

    Args:
        oracle: Chooses the trials. Its state is that at the end of the journal.
        folder: Folder of the search.
        spec: The search.
        journal: Records every event before anything happens that depends on it.
        past: The search as recorded in the journal so far.
        deadline_s: Time at which to stop, in seconds of `time.monotonic`.
        on_progress: Called within each epoch.
        programs_of: As for `Task`.
    """

    def __init__(
        self,
        oracle: Oracle,
        folder: Path,
        spec: SearchSpec,
        journal: Journal,
        past: Study,
        deadline_s: float = math.inf,
        on_progress: OnTrialProgress | None = None,
        programs_of: SearchSpec | None = None,
    ) -> None:
        self._folder = folder
        self._spec = spec
        self._limits = spec.limits
        self._journal = journal
        self._deadline_s = deadline_s
        self._on_progress = on_progress
        self._past = {trial.trial_id: trial for trial in past.trials}
        self._plan = past.plan
        # A baseline is trained by the workers of its search, which records them.
        self._records_workers = past.started.kind == "search"
        self._last_epochs = {t.trial_id: t.epochs[-1].epoch for t in past.trials if t.epochs}
        self._crashes = {trial.trial_id: trial.crashes for trial in past.trials}
        self._keeper = CheckpointKeeper(folder, journal)
        self._planner = TaskPlanner(
            spec, oracle, self._keeper, self._last_epochs, deadline_s, programs_of
        )
        self._active: dict[str, TrialState] = {}
        self._unfinished = list(oracle.ongoing_trials.values())
        super().__init__(
            oracle=oracle,
            hypermodel=VAEHyperModel(past.started.data.image_shape, spec.space),
            directory=str(folder.parent),
            project_name=folder.name,
            tuner_id=TUNER_ID,
        )
        self._leaders: list[RankedTrial] = []
        self._rank(oracle.trials.values())

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Not available: an executor trains the trials; see `TrialSource`."""
        raise NotImplementedError("An executor trains the trials of a search: see Executor.run.")

    def save(self) -> None:
        """Does nothing: the journal is the record."""

    def _populate_initial_space(self) -> None:
        # Keras Tuner builds a model to learn the space, but the oracle knows the space already.
        pass

    def on_search_begin(self) -> None:
        """Corrects the plan, in case an earlier session was cut off before it did so."""
        self._correct_plan()

    def next_trial(self) -> Trial | None:
        """Returns the next trial to run, first those that an earlier session left unfinished.

        Returns:
            The trial, or None if there is none before another one has ended.
        """
        if self._unfinished:
            return self._unfinished.pop(0)
        trial = request_trial(self.oracle)
        return trial if trial.status == TrialStatus.RUNNING else None

    def on_trial_begin(self, trial: Trial, worker: int | None = None) -> None:
        """Records that a trial starts, or continues after an earlier session.

        Args:
            trial: A trial from `next_trial`.
            worker: Number of the worker that trains it, from 1; None for this process.

        Raises:
            StoppedEarly: A limit of the search is reached.
        """
        check_failures(self.oracle, self._limits)
        check_time(self._spec, self._deadline_s)
        trial_id, asked = trial.trial_id, assignment(self.oracle, trial)
        earlier = self._past.get(trial_id)
        earlier_s = earlier.duration_s if earlier else 0.0
        self._active[trial_id] = TrialState(trial_id, time.monotonic(), earlier_s)
        decision = earlier.decision if earlier else self.oracle.decision(trial_id)
        started = TrialStarted(**dict(asked), worker=worker, decision=decision)
        if earlier:
            self._journal.publish(started)
            self._resume(asked, worker)
        else:
            self._journal.append(started)
            self._keeper.remove(trial_id)
        self._keeper.begin(trial_id)

    def on_trial_moved(self, trial: Trial, worker: int) -> None:
        """Records that a trial continues on another worker because its worker was lost."""
        self._resume(assignment(self.oracle, trial), worker)

    def _resume(self, asked: Assignment, worker: int | None) -> None:
        last = self._last_epochs.get(asked.trial_id, asked.epoch_from)
        resumed = TrialResumed(trial_id=asked.trial_id, epoch=last, worker=worker)
        self._journal.append(resumed)

    def on_worker_joined(self, worker: int, host: str, environment: Environment) -> None:
        """Records that a worker is ready; see `TrialSource.on_worker_joined`."""
        if self._records_workers:
            joined = WorkerJoined(worker=worker, host=host, environment=environment)
            self._journal.append(joined)

    def on_worker_lost(self, worker: int, error: str, trial: Trial | None = None) -> None:
        """Records that a worker is gone, and keeps the checkpoints that it has sent.

        Args:
            worker: Number of the worker, from 1.
            error: The reason, in one line.
            trial: The trial of this search that it trained; None if it trained none.

        Raises:
            ResultsError: A checkpoint cannot be written.
        """
        trial_id = trial.trial_id if trial else None
        if trial_id is not None:
            self._keeper.flush(trial_id)
            self._crashes[trial_id] = self._crashes.get(trial_id, 0) + 1
        if trial_id is not None or self._records_workers:
            self._journal.append(WorkerLost(worker=worker, trial_id=trial_id, error=error))

    def task_of(self, trial: Trial) -> Task | None:
        """Returns what is left to train of a trial that has begun, or None if it has ended."""
        asked = assignment(self.oracle, trial)
        self._fail_after_crashes(trial, asked)
        if self.has_ended(trial):
            return None
        return self._planner.task(asked, has_ended=False)

    def has_ended(self, trial: Trial) -> bool:
        """Returns whether nothing is left to train of a trial that has begun."""
        return self._active[trial.trial_id].outcome is not None

    def repairs(self) -> Iterator[tuple[Trial, Task]]:
        """Yields tasks that recreate damaged or lost files of the leaders.

        Call it after all trials have ended, and `remove_unneeded` afterwards.
        """
        for leader in self._leaders:
            trial_id = leader.trial_id
            trial = self.oracle.get_trial(trial_id)
            asked = assignment(self.oracle, trial)
            if self._keeper.is_lost(trial_id, self._planner.last_epoch(asked)):
                yield trial, self._planner.task(asked, has_ended=True)
            elif Artifacts.load(trial_folder(self._folder, trial_id)) is None:
                yield trial, self._planner.artifacts_task(trial_id)

    def record(self, trial: Trial, message: Message) -> None:
        """Records a message of the training of a trial.

        If the task has ended and `has_ended` is still false, `task_of` has another task.

        Raises:
            StoppedEarly: The time budget is used up.
            ResultsError: A file cannot be written, or a lost file cannot be recreated.
            KeyboardInterrupt: The user pressed Ctrl-C.
        """
        match message:
            case Began():
                if trial.trial_id in self._active:
                    self._active[trial.trial_id].parameters = message.parameters
            case Compiling():
                self._journal.publish(CompilationBegan(trial_id=trial.trial_id))
            case Progressed():
                if self._on_progress:
                    self._on_progress(trial.trial_id, message.share)
            case EpochDone():
                self._record_epoch(trial, message)
            case Completed():
                self._complete(trial, message)
            case Failed():
                self._fail(trial, message)
            case TimeUp():
                raise out_of_time(self._spec)

    def _record_epoch(self, trial: Trial, done: EpochDone) -> None:
        """Records an epoch. If the journal holds it already, only its checkpoint is kept."""
        ended = done.ended
        is_new = ended.epoch > self._last_epochs.get(ended.trial_id, 0)
        if is_new:
            self._journal.write(ended)
            self._last_epochs[ended.trial_id] = ended.epoch
            self._crashes[ended.trial_id] = 0
        if done.checkpoint:
            self._keeper.save(ended.trial_id, done.checkpoint)
        if ended.trial_id != trial.trial_id:
            # An ancestor of the trial, trained again: the trial continues from this checkpoint.
            self._keeper.flush(ended.trial_id)
        if is_new:
            # Publishing may raise KeyboardInterrupt, so it comes after the checkpoint is kept.
            self._journal.publish(ended)

    def _complete(self, trial: Trial, completed: Completed) -> None:
        self._keeper.flush(trial.trial_id)
        completed.pictures.save(trial_folder(self._folder, trial.trial_id))
        if trial.trial_id in self._active:  # Otherwise the task repaired a trial that had ended.
            self._active[trial.trial_id].outcome = completed

    def _fail(self, trial: Trial, failed: Failed) -> None:
        """Ends a trial that failed, unless it may be tried again."""
        active = self._active.get(trial.trial_id)
        if active is None:
            raise ResultsError(
                f"A file of trial {trial.trial_id} is missing and could not be recreated: "
                f"{failed.error} The other trials are unchanged. Run the search again to "
                "recreate the file."
            )
        self._keeper.flush(trial.trial_id)
        if retried := active.fail(failed, self._limits.max_retries):
            self._journal.append(retried)

    def _fail_after_crashes(self, trial: Trial, asked: Assignment) -> None:
        crashes = self._crashes.get(trial.trial_id, 0)
        if not self.has_ended(trial) and crashes >= MAX_CRASHES:
            epoch = self._last_epochs.get(asked.trial_id, asked.epoch_from) + 1
            error = (
                f"The process died {crashes} times in epoch {epoch} of this trial, "
                "perhaps for lack of memory."
            )
            self._fail(trial, Failed(error, error, epoch, is_transient=False))

    def on_trial_end(self, trial: Trial) -> None:
        """Records the outcome of a trial, reports it to the oracle, and removes unneeded files.

        The journal comes first: after a crash before it, the trial is still running for the
        oracle.
        """
        active = self._active.pop(trial.trial_id)
        ended = active.ended()
        self._journal.append(ended)
        values = (ended.score, ended.collapsed, ended.best_val_loss)
        end_trial(self.oracle, trial.trial_id, *values)
        if active.failure:
            self._correct_plan()
        self._rank([self.oracle.get_trial(trial.trial_id)])
        self.remove_unneeded()

    def flush(self) -> None:
        """Writes all checkpoints that are still in memory.

        Raises:
            ResultsError: A checkpoint cannot be written.
        """
        self._keeper.flush_all()

    def remove_unneeded(self) -> None:
        """Removes checkpoints that no trial needs."""
        ongoing = {trial.trial_id for trial in self.oracle.ongoing_trials.values()}
        parents = {self.oracle.assignments[trial_id].parent for trial_id in ongoing}
        needed = self.oracle.promotable() | ongoing | parents
        self._keeper.remove_unneeded(needed, {leader.trial_id for leader in self._leaders})

    def _rank(self, trials: Iterable[Trial]) -> None:
        """Updates the leaders with trials that have ended."""
        completed = [
            RankedTrial(
                trial.trial_id,
                self.oracle.rank(trial),
                int(value_of(trial.hyperparameters.values, "latent_dim")),
                self.oracle.assignments[trial.trial_id].configuration,
            )
            for trial in trials
            if trial.status == TrialStatus.COMPLETED
        ]
        self._leaders = leaders([*self._leaders, *completed], self._limits.keep_best)

    def _correct_plan(self) -> None:
        corrected = plan(self.oracle)
        if corrected != self._plan:
            self._plan = corrected
            self._journal.append(PlanCorrected(plan=corrected))
