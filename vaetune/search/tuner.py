"""The record of a search's trials: which come next, how each ended, what is kept."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial as Trial, TrialStatus

from vaetune.config import SearchSpec
from vaetune.errors import ResultsError
from vaetune.models import VAEHyperModel
from vaetune.search.checkpoints import CheckpointKeeper
from vaetune.search.limits import check_failures, check_time, time_is_up
from vaetune.search.lineage import TaskPlanner
from vaetune.search.oracles.base import TUNER_ID, Oracle
from vaetune.search.oracles.control import assignment, end, hand_out
from vaetune.search.oracles.plan import plan
from vaetune.search.trial_state import TrialState
from vaetune.study import (
    Artifacts,
    Assignment,
    Environment,
    Journal,
    PlanCorrected,
    RankedTrial,
    Study,
    TrialResumed,
    TrialRetried,
    TrialStarted,
    WorkerJoined,
    WorkerLost,
    leaders,
    trial_folder,
)
from vaetune.training import (
    MAX_CRASHES,
    Began,
    Completed,
    EpochDone,
    Failed,
    Message,
    Progressed,
    Task,
    TimeUp,
)

OnTrialProgress = Callable[[str, float], None]
"""Called with a trial and the share of its present epoch that is done."""


class VAETuner(keras_tuner.Tuner):
    """Hands out the trials that an oracle asks for, and journals their outcomes.

    It is the `TrialSource` of a search: an executor asks it for trials and tasks, trains them, and
    reports every message back to `take`. Keras Tuner's own loop, `search` and `run_trial`, is not
    used.

    Args:
        oracle: Oracle in the state where the journal ends.
        folder: Folder of the search.
        spec: The search.
        journal: Journal that records every event before anything follows from it.
        past: The search as earlier sessions left it.
        deadline_s: Time to stop, as `time.monotonic` counts.
        on_progress: Called within each epoch with the trial and the share that is done.
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
    ) -> None:
        self._folder = folder
        self._spec = spec
        self._limits = spec.limits
        self._journal = journal
        self._deadline_s = deadline_s
        self._on_progress = on_progress
        self._past = {trial.trial_id: trial for trial in past.trials}
        self._plan = past.plan
        self._tells_of_workers = past.started.kind == "search"
        self._recorded = {t.trial_id: t.epochs[-1].epoch for t in past.trials if t.epochs}
        self._crashes = {trial.trial_id: trial.crashes for trial in past.trials}
        self._keeper = CheckpointKeeper(folder, journal)
        self._planner = TaskPlanner(spec, oracle, self._keeper, self._recorded, deadline_s)
        self._states: dict[str, TrialState] = {}
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
        # Keras Tuner builds a model to learn the space; the oracle was given it.
        pass

    def on_search_begin(self) -> None:
        """Corrects the plan, should an earlier session have been cut off before it could."""
        self._correct_plan()

    def next_trial(self) -> Trial | None:
        """The trial to run next, first those that an earlier session left unfinished.

        Returns:
            None if there is none, or none before another one has ended.
        """
        if self._unfinished:
            return self._unfinished.pop(0)
        trial = hand_out(self.oracle)
        return trial if trial.status == TrialStatus.RUNNING else None

    def on_trial_begin(self, trial: Trial, worker: int | None = None) -> None:
        """Journals that a trial starts, or continues where an earlier session left it.

        Args:
            trial: A trial from `next_trial`.
            worker: Number of the worker that runs it; None for this process.

        Raises:
            StoppedEarly: A limit of the search is reached.
        """
        check_failures(self.oracle, self._limits)
        check_time(self._spec, self._deadline_s)
        asked = assignment(self.oracle, trial)
        earlier = self._past.get(trial.trial_id)
        before_s = earlier.duration_s if earlier else 0.0
        self._states[trial.trial_id] = TrialState(time.monotonic(), before_s)
        started = TrialStarted(**dict(asked), worker=worker)
        if earlier:
            self._journal.publish(started)
            self._take_up(asked, worker)
        else:
            self._journal.append(started)
            self._keeper.forget(trial.trial_id)
        self._keeper.begin(trial.trial_id)

    def on_trial_moved(self, trial: Trial, worker: int) -> None:
        """Journals that a trial whose worker was lost continues on another one."""
        self._take_up(assignment(self.oracle, trial), worker)

    def on_worker_joined(self, worker: int, host: str, environment: Environment) -> None:
        """Journals that a worker is ready to train."""
        if self._tells_of_workers:
            joined = WorkerJoined(worker=worker, host=host, environment=environment)
            self._journal.append(joined)

    def on_worker_lost(self, worker: int, error: str, trial: Trial | None = None) -> None:
        """Journals that a worker is gone; what it sent of its trial is kept.

        Args:
            worker: Number of the worker.
            error: Cause of the loss, in one line.
            trial: The trial of this search that it trained, if any.

        Raises:
            ResultsError: A checkpoint cannot be written.
        """
        trial_id = trial.trial_id if trial else None
        if trial_id is not None:
            self._keeper.flush(trial_id)
            self._crashes[trial_id] = self._crashes.get(trial_id, 0) + 1
        if trial_id is not None or self._tells_of_workers:
            self._journal.append(WorkerLost(worker=worker, trial_id=trial_id, error=error))

    def _take_up(self, asked: Assignment, worker: int | None) -> None:
        reached = self._recorded.get(asked.trial_id, asked.epoch_from)
        resumed = TrialResumed(trial_id=asked.trial_id, epoch=reached, worker=worker)
        self._journal.append(resumed)

    def task_of(self, trial: Trial) -> Task | None:
        """What is left to do of a trial that has begun; None if it has come to its end."""
        asked = assignment(self.oracle, trial)
        self._fail_after_crashes(trial, asked)
        if self.has_ended(trial):
            return None
        return self._planner.task(asked, has_ended=False)

    def has_ended(self, trial: Trial) -> bool:
        """Whether nothing is left to do of a trial that has begun."""
        return self._states[trial.trial_id].outcome is not None

    def mending(self) -> Iterator[tuple[Trial, Task]]:
        """What is damaged or lost of what the search keeps, to be made again.

        To be asked once all trials have ended; `tidy` comes after it.
        """
        for leader in self._leaders:
            trial_id = leader.trial_id
            trial = self.oracle.get_trial(trial_id)
            asked = assignment(self.oracle, trial)
            if self._keeper.is_lost(trial_id, self._planner.last_epoch(asked)):
                yield trial, self._planner.task(asked, has_ended=True)
            elif Artifacts.load(trial_folder(self._folder, trial_id)) is None:
                yield trial, self._planner.pictures_task(trial_id)

    def take(self, trial: Trial, message: Message) -> None:
        """Records a message of the training.

        `has_ended` tells whether it has come to its end: as long as it has not, there is another
        task to be done.

        Raises:
            StoppedEarly: The time is up.
            ResultsError: Something cannot be written, or what was lost cannot be made again.
            KeyboardInterrupt: Ctrl-C was heard.
        """
        match message:
            case Began():
                if trial.trial_id in self._states:
                    self._states[trial.trial_id].parameters = message.parameters
            case Progressed():
                if self._on_progress:
                    self._on_progress(trial.trial_id, message.share)
            case EpochDone():
                self._take_epoch(trial, message)
            case Completed():
                self._complete(trial, message)
            case Failed():
                self._fail(trial, message)
            case TimeUp():
                raise time_is_up(self._spec)

    def _take_epoch(self, trial: Trial, done: EpochDone) -> None:
        """Records an epoch. If the journal holds it already, only the checkpoint is saved."""
        ended = done.ended
        is_news = ended.epoch > self._recorded.get(ended.trial_id, 0)
        if is_news:
            self._journal.write(ended)
            self._recorded[ended.trial_id] = ended.epoch
            self._crashes[ended.trial_id] = 0
        if done.checkpoint:
            self._keeper.save(ended.trial_id, done.checkpoint)
        if ended.trial_id != trial.trial_id:
            self._keeper.flush(ended.trial_id)  # of its lineage, and made again
        if is_news:
            self._journal.publish(ended)  # Ctrl-C is heard in it

    def _complete(self, trial: Trial, completed: Completed) -> None:
        self._keeper.flush(trial.trial_id)
        completed.pictures.save(trial_folder(self._folder, trial.trial_id))
        if trial.trial_id in self._states:  # and not one of which something was lost
            self._states[trial.trial_id].outcome = completed

    def _fail(self, trial: Trial, failed: Failed) -> None:
        """Lets a trial be tried again, or ends it."""
        state = self._states.get(trial.trial_id)
        if state is None:
            raise ResultsError(
                f"Trial {trial.trial_id}, of which a file was lost, cannot be trained again: "
                f"{failed.error} The other trials are unharmed; the same command tries again."
            )
        self._keeper.flush(trial.trial_id)
        state.attempts += 1
        if failed.is_transient and state.attempts <= self._limits.max_retries:
            self._journal.append(
                TrialRetried(
                    trial_id=trial.trial_id,
                    attempt=state.attempts,
                    error=failed.error,
                    traceback=failed.traceback,
                )
            )
            return
        state.outcome = failed

    def on_trial_end(self, trial: Trial) -> None:
        """Journals the trial's outcome, then tells the oracle, then removes what is done with.

        Before its end is journaled nothing follows from it: to the oracle it still runs.
        """
        state = self._states.pop(trial.trial_id)
        self._journal.append(state.ended(trial.trial_id))
        end(self.oracle, trial.trial_id, state.score)
        if isinstance(state.outcome, Failed):
            self._correct_plan()
        self._rank([self.oracle.get_trial(trial.trial_id)])
        self.tidy()

    def keep(self) -> None:
        """Writes every checkpoint that was not written yet.

        Raises:
            ResultsError: One cannot be written.
        """
        self._keeper.flush_all()

    def tidy(self) -> None:
        """Removes what no trial needs any more."""
        going_on = {trial.trial_id for trial in self.oracle.ongoing_trials.values()}
        parents = {self.oracle.assignments[trial_id].parent for trial_id in going_on}
        needed = self.oracle.promotable() | going_on | parents
        self._keeper.tidy(needed, {leader.trial_id for leader in self._leaders})

    def _rank(self, trials: Iterable[Trial]) -> None:
        """Lets trials that ended take their place among the leaders."""
        ranked_trials = [
            RankedTrial(
                trial.trial_id,
                trial.score,
                trial.hyperparameters.values["latent_dim"],
                self.oracle.assignments[trial.trial_id].configuration,
            )
            for trial in trials
            if trial.status == TrialStatus.COMPLETED
        ]
        self._leaders = leaders([*self._leaders, *ranked_trials], self._limits.keep_best)

    def _correct_plan(self) -> None:
        corrected = plan(self.oracle)
        if corrected != self._plan:
            self._plan = corrected
            self._journal.append(PlanCorrected(plan=corrected))

    def _fail_after_crashes(self, trial: Trial, asked: Assignment) -> None:
        crashes = self._crashes.get(trial.trial_id, 0)
        if not self.has_ended(trial) and crashes >= MAX_CRASHES:
            epoch = self._recorded.get(asked.trial_id, asked.epoch_from) + 1
            error = (
                f"The process died {crashes} times in epoch {epoch} of this trial, "
                "perhaps for lack of memory."
            )
            self._fail(trial, Failed(error, error, epoch, is_transient=False))
