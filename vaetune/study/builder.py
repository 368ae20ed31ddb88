"""Builds a `Study` from the events of its journal."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from vaetune.config import Objective
from vaetune.errors import OVERWRITE, JournalError, ResultsError
from vaetune.study.events import (
    EpochEnded,
    Event,
    FileSetAside,
    PlanCorrected,
    SearchExtended,
    SearchStarted,
    SessionEnded,
    SessionStarted,
    TrialEnded,
    TrialResumed,
    TrialRetried,
    TrialStarted,
    WorkerJoined,
    WorkerLost,
)
from vaetune.study.journal import JOURNAL_NAME, read_journal
from vaetune.study.measurements import FinalistsRescored, FinalistsRetrained, TrialEvaluated
from vaetune.study.records import Assignment, Rung
from vaetune.study.study import Study
from vaetune.study.trial import Status, TrainingInterval, Trial


def load_study(folder: str | os.PathLike[str]) -> Study:
    """Reads the study in a folder from its journal.

    Args:
        folder: Folder of a search, such as `results/hyperband`, or of a baseline.

    Raises:
        JournalError: There is no journal, or it is damaged.
    """
    return build_study(read_journal(Path(folder) / JOURNAL_NAME), Path(folder))


def build_study(events: Iterable[Event], folder: Path) -> Study:
    """Builds a study from its events.

    Args:
        events: All events of the journal, in order.
        folder: Folder of the study.

    Raises:
        ResultsError: There are no events.
        JournalError: An event belongs to a trial that never started.
    """
    builder: StudyBuilder | None = None
    for event in events:
        if isinstance(event, SearchStarted):
            builder = StudyBuilder(folder, event, event.plan)
        elif builder is not None:
            builder.apply(event)
    if builder is None:
        raise ResultsError(
            f"{folder} holds a search that was stopped before it began. Run it again."
        )
    return builder.finish()


@dataclass
class _TrialBuilder:
    """A trial while its events are applied."""

    start: TrialStarted
    epochs: dict[int, EpochEnded] = field(default_factory=dict)
    retries: list[TrialRetried] = field(default_factory=list)
    crashes: int = 0
    end: TrialEnded | None = None
    intervals: list[TrainingInterval] = field(default_factory=list)

    def end_interval(self, moment: datetime) -> None:
        last = self.intervals[-1]
        self.intervals[-1] = replace(last, ended=max(last.started, moment))

    def finish(self, unfinished: Status, searched: tuple[str, ...], objective: Objective) -> Trial:
        """Returns the trial.

        Args:
            unfinished: Status to use if the trial has not ended.
            searched: Names of the hyperparameters that the study searches.
            objective: Objective of the study.
        """
        epochs = tuple(self.epochs[number] for number in sorted(self.epochs))
        end = self.end
        trained_s = sum(epoch.train_s + epoch.validation_s for epoch in epochs)
        return Trial(
            **{name: getattr(self.start, name) for name in Assignment.model_fields},
            status=end.status if end else unfinished,
            epochs=epochs,
            parameters=end.parameters if end else None,
            duration_s=end.duration_s if end else trained_s,
            started=self.start.time,
            ended=end.time if end else None,
            failed_in=end.failed_in if end else None,
            error=end.error if end else None,
            traceback=end.traceback if end else None,
            retries=tuple(self.retries),
            crashes=self.crashes,
            intervals=tuple(self.intervals),
            searched=searched,
            active_units=end.active_units if end else None,
            collapsed=end.collapsed if end else None,
            decision=self.start.decision,
            objective=objective,
        )


_SIGNS_OF_LIFE = (
    SessionStarted,
    WorkerJoined,
    WorkerLost,
    TrialStarted,
    TrialResumed,
    TrialRetried,
    EpochEnded,
    TrialEnded,
)
"""Events that only a session writes, and only while it trains."""


@dataclass
class StudyBuilder:
    """A study while its events are applied.

    Attributes:
        active: Ids of the trials that are being trained.
        last_sign: Time of the latest event of `_SIGNS_OF_LIFE`.
    """

    folder: Path
    started: SearchStarted
    plan: tuple[Rung, ...]
    sessions: list[SessionStarted] = field(default_factory=list)
    trials: dict[str, _TrialBuilder] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)
    extensions: list[SearchExtended] = field(default_factory=list)
    set_aside: list[FileSetAside] = field(default_factory=list)
    evaluations: list[TrialEvaluated] = field(default_factory=list)
    rescorings: list[FinalistsRescored] = field(default_factory=list)
    retrainings: list[FinalistsRetrained] = field(default_factory=list)
    workers_joined: list[WorkerJoined] = field(default_factory=list)
    workers_lost: list[WorkerLost] = field(default_factory=list)
    last_end: SessionEnded | None = None
    last_sign: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.last_sign = self.started.time

    def apply(self, event: Event) -> None:
        """Adds the next event.

        Raises:
            JournalError: The event belongs to a trial that never started.
        """
        self._dispatch(event)
        if isinstance(event, _SIGNS_OF_LIFE):
            self.last_sign = event.time

    def _dispatch(self, event: Event) -> None:
        match event:
            case SessionStarted():
                self._begin_session(event)
            case TrialStarted() | TrialResumed() | TrialRetried() | EpochEnded() | TrialEnded():
                self._apply_to_trial(event)
            case PlanCorrected():
                self.plan = event.plan
            case SearchExtended():
                self.extensions.append(event)
                self.plan, self.last_end = event.plan, None
            case FileSetAside():
                self.set_aside.append(event)
            case TrialEvaluated():
                self._trial(event.trial_id)
                self.evaluations.append(event)
            case FinalistsRescored():
                self._check_started(one.trial_id for one in event.rescoring.finalists)
                self.rescorings.append(event)
            case FinalistsRetrained():
                self._check_started(one.trial_id for one in event.retraining.finalists)
                self.retrainings.append(event)
            case WorkerJoined():
                self.workers_joined.append(event)
            case WorkerLost():
                self._lose_worker(event)
            case SessionEnded():
                self.last_end = event
                self._end_intervals(event.time)

    def _apply_to_trial(
        self, event: TrialStarted | TrialResumed | TrialRetried | EpochEnded | TrialEnded
    ) -> None:
        match event:
            case TrialStarted():
                self.trials[event.trial_id] = _TrialBuilder(event)
                self._begin_interval(event, event.epoch_from)
            case TrialResumed():
                self._trial(event.trial_id)
                self._end_interval(event.trial_id, self.last_sign)
                self._begin_interval(event, event.epoch)
            case TrialRetried():
                self._trial(event.trial_id).retries.append(event)
            case EpochEnded():
                trial = self._trial(event.trial_id)
                trial.epochs[event.epoch] = event
                trial.crashes = 0
            case TrialEnded():
                self._trial(event.trial_id).end = event
                self._end_interval(event.trial_id, event.time)

    def finish(self) -> Study:
        """Returns the study. No further event can be applied."""
        for trial_id in self.active:
            self.trials[trial_id].end_interval(self.last_sign)
        search = self.started.search
        of_study = search.space.searched(), search.ranked_by
        return Study(
            folder=self.folder,
            started=self.started,
            sessions=tuple(self.sessions),
            trials=tuple(
                trial.finish(self._unfinished(trial), *of_study) for trial in self.trials.values()
            ),
            last_end=self.last_end,
            extensions=tuple(self.extensions),
            plan=self.plan,
            set_aside=tuple(self.set_aside),
            evaluations=tuple(self.evaluations),
            rescorings=tuple(self.rescorings),
            retrainings=tuple(self.retrainings),
            workers_joined=tuple(self.workers_joined),
            workers_lost=tuple(self.workers_lost),
        )

    def _begin_session(self, event: SessionStarted) -> None:
        # A trial that is still active shows that the session before was killed.
        for trial_id in self.active:
            self.trials[trial_id].crashes += 1
        self._end_intervals(self.last_sign)
        self.sessions.append(event)
        self.last_end = None

    def _lose_worker(self, event: WorkerLost) -> None:
        self.workers_lost.append(event)
        if event.trial_id is not None:
            self._trial(event.trial_id).crashes += 1
            self._end_interval(event.trial_id, event.time)

    def _begin_interval(self, event: TrialStarted | TrialResumed, epoch: int) -> None:
        # The end is not known yet, so the interval is empty for now.
        interval = TrainingInterval(event.worker, event.time, event.time, epoch)
        self.trials[event.trial_id].intervals.append(interval)
        self.active.add(event.trial_id)

    def _end_interval(self, trial_id: str, moment: datetime) -> None:
        if trial_id in self.active:
            self.trials[trial_id].end_interval(moment)
            self.active.remove(trial_id)

    def _end_intervals(self, moment: datetime) -> None:
        for trial_id in tuple(self.active):
            self._end_interval(trial_id, moment)

    def _unfinished(self, trial: _TrialBuilder) -> Status:
        """Returns the status of a trial that has not ended."""
        if self.last_end is not None:
            return "stopped"
        # The latest session has not recorded its end: it was killed, or it is running now. A
        # session without workers first continues the trials that it finds unfinished.
        is_local = trial.intervals[-1].worker is None
        return "running" if is_local or trial.start.trial_id in self.active else "queued"

    def _check_started(self, trial_ids: Iterable[str]) -> None:
        for trial_id in trial_ids:
            self._trial(trial_id)

    def _trial(self, trial_id: str) -> _TrialBuilder:
        try:
            return self.trials[trial_id]
        except KeyError:
            raise JournalError(
                f"The journal in {self.folder} is damaged: it has events of trial {trial_id}, "
                "which never started. Restore the file from a copy, or search again with "
                f"{OVERWRITE}."
            ) from None
