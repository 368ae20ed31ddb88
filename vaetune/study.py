"""A journal read back: trials, their curves, the winner. Needs neither Keras nor Keras Tuner."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from vaetune.errors import JournalError, ResultsError
from vaetune.journal import (
    JOURNAL_NAME,
    Environment,
    EpochEnded,
    Event,
    SearchStarted,
    SessionEnded,
    SessionStarted,
    TrialEnded,
    TrialStarted,
    read_journal,
)
from vaetune.spec import Number, Space

BASELINES = "baselines"
BEST = "best"
RESERVED_NAMES = (BASELINES, BEST)
"""Folders of `results/` that no search may be named after."""

Status = Literal["queued", "running", "completed", "failed", "stopped"]

TRIAL_COLUMNS = (
    "trial_id",
    "configuration",
    "parent",
    "bracket",
    "rung",
    "status",
    "epoch_from",
    "epoch_to",
    "val_loss",
    "reconstruction_loss",
    "kl_loss",
    "best_epoch",
    "parameters",
    "duration_s",
    "hyperparameters",
    "error",
)
"""The columns of a table of trials; losses are those of the trial's best epoch."""


@dataclass(frozen=True)
class Trial:
    """One configuration trained over the epochs (epoch_from, epoch_to].

    Attributes:
        parent: The trial that this one goes on from, if it is a promotion.
        epochs: What each finished epoch measured, in order.
        parameters: Trainable parameters, once the trial has ended.
        duration_s: Wall time in seconds over all sessions.
        error: One line that says why a trial failed.
    """

    trial_id: str
    configuration: int
    parent: str | None
    bracket: int
    rung: int
    status: Status
    epoch_from: int
    epoch_to: int
    hyperparameters: Mapping[str, Number]
    epochs: tuple[EpochEnded, ...]
    parameters: int | None
    duration_s: float
    started: datetime
    ended: datetime | None
    error: str | None
    traceback: str | None

    @property
    def best(self) -> EpochEnded | None:
        """The epoch with the lowest validation loss, the earliest of equals."""
        finite = [epoch for epoch in self.epochs if math.isfinite(epoch.val_loss)]
        return min(finite, key=lambda epoch: epoch.val_loss, default=None)

    @property
    def score(self) -> float | None:
        """The lowest validation loss, nats per image."""
        return self.best.val_loss if self.best else None


@dataclass(frozen=True)
class Study:
    """A search or a baseline as its journal tells it.

    Attributes:
        folder: Where its journal, checkpoints and pictures are.
        sessions: The processes that ran it, in order.
        last_end: How the latest of them let go; None while it runs, or if it was killed.
    """

    folder: Path
    started: SearchStarted
    sessions: tuple[SessionStarted, ...]
    trials: tuple[Trial, ...]
    last_end: SessionEnded | None

    @property
    def name(self) -> str:
        return self.started.name

    @property
    def environment(self) -> Environment | None:
        """Where the latest session ran."""
        return self.sessions[-1].environment if self.sessions else None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run."""
        return self.last_end is not None and self.last_end.reason == "completed"

    @property
    def ranking(self) -> tuple[Trial, ...]:
        """The completed trials of any budget, lowest score first, ties by id."""
        scored = [(t.score, t.trial_id, t) for t in self.trials if t.status == "completed"]
        return tuple(t for score, _, t in sorted(scored, key=_rank) if score is not None)

    @property
    def winner(self) -> Trial | None:
        """The completed trial with the lowest score."""
        return next(iter(self.ranking), None)

    @property
    def failures(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.status == "failed")

    def trial(self, trial_id: str) -> Trial:
        """The trial of that id.

        Raises:
            ResultsError: There is none.
        """
        for trial in self.trials:
            if trial.trial_id == trial_id:
                return trial
        raise ResultsError(f'"{self.name}" has no trial {trial_id}. See `vaetune trials`.')

    def lineage(self, trial: Trial) -> tuple[Trial, ...]:
        """The trials that trained a configuration up to this one, oldest first."""
        line = [trial]
        while line[0].parent is not None:
            line.insert(0, self.trial(line[0].parent))
        return tuple(line)

    def curve(self, trial: Trial) -> tuple[EpochEnded, ...]:
        """Every epoch of a configuration up to this trial's last, through its promotions."""
        return tuple(epoch for part in self.lineage(trial) for epoch in part.epochs)

    def trial_folder(self, trial_id: str) -> Path:
        """Where the checkpoint and the pictures of a trial are."""
        return trial_folder(self.folder, trial_id)

    def trials_table(self) -> pd.DataFrame:
        """One row a trial, in the order they started, with `TRIAL_COLUMNS`."""
        rows = [trial_row(trial) for trial in self.trials]
        table = pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))
        # Whole numbers stay whole where some are missing.
        return table.astype({"parameters": "Int64", "best_epoch": "Int64"})

    @property
    def space(self) -> Space:
        return self.started.search.space

    @property
    def epochs_planned(self) -> int:
        """Epochs that the whole schedule trains."""
        return sum(rung.epochs for rung in self.started.plan)

    @property
    def epochs_trained(self) -> int:
        """Epochs that were trained so far."""
        return sum(len(trial.epochs) for trial in self.trials)


def trial_row(trial: Trial) -> dict[str, Any]:
    """A trial as `TRIAL_COLUMNS` name it."""
    best = trial.best
    return {
        "trial_id": trial.trial_id,
        "configuration": trial.configuration,
        "parent": trial.parent,
        "bracket": trial.bracket,
        "rung": trial.rung,
        "status": trial.status,
        "epoch_from": trial.epoch_from,
        "epoch_to": trial.epoch_to,
        "val_loss": best.val_loss if best else None,
        "reconstruction_loss": best.val_reconstruction_loss if best else None,
        "kl_loss": best.val_kl_loss if best else None,
        "best_epoch": best.epoch if best else None,
        "parameters": trial.parameters,
        "duration_s": trial.duration_s,
        "hyperparameters": dict(trial.hyperparameters),
        "error": trial.error,
    }


def trial_folder(folder: Path, trial_id: str) -> Path:
    """Where the checkpoint and the pictures of a trial are, in the folder of a study."""
    return folder / "trials" / trial_id


def load_study(folder: Path) -> Study:
    """Folds the journal in a folder.

    Raises:
        JournalError: There is no journal, or it is damaged.
    """
    return fold(read_journal(folder / JOURNAL_NAME), folder)


def fold(events: Iterable[Event], folder: Path) -> Study:
    """Builds a study from its events.

    Raises:
        ResultsError: There are no events.
        JournalError: A trial goes on that never started.
    """
    started: SearchStarted | None = None
    sessions: list[SessionStarted] = []
    trials: dict[str, _OpenTrial] = {}
    last_end: SessionEnded | None = None
    for event in events:
        match event:
            case SearchStarted():
                started = event
            case SessionStarted():
                sessions.append(event)
                last_end = None
            case TrialStarted():
                trials[event.trial_id] = _OpenTrial(event)
            case EpochEnded():
                _started(trials, event, folder).epochs[event.epoch] = event
            case TrialEnded():
                _started(trials, event, folder).ended = event
            case SessionEnded():
                last_end = event
    if started is None:
        raise ResultsError(f"{folder} holds a search that was stopped before it began.")
    closed = tuple(trial.close(let_go=last_end is not None) for trial in trials.values())
    return Study(folder, started, tuple(sessions), closed, last_end)


def list_studies(results: Path) -> list[Study]:
    """Every search in a folder of results that has begun, the latest started first.

    Raises:
        JournalError: A journal is damaged.
    """
    return _load_all(results, leave_out=RESERVED_NAMES)


def list_baselines(results: Path) -> list[Study]:
    """Every baseline in a folder of results, the latest started first.

    Raises:
        JournalError: A journal is damaged.
    """
    return _load_all(results / BASELINES)


def find_study(results: Path, name: str | None) -> Study:
    """The search of that name, or the most recently started one.

    Raises:
        ResultsError: There is none.
        JournalError: Its journal is damaged.
    """
    studies = list_studies(results)
    if name is None and studies:
        return studies[0]
    for study in studies:
        if study.name == name:
            return study
    if not studies:
        raise ResultsError(f"There is no search in {results} yet. Run `vaetune search hyperband`.")
    names = ", ".join(study.name for study in studies)
    raise ResultsError(f'There is no search "{name}" in {results}. There are: {names}.')


def find_baseline(study: Study, results: Path) -> Study | None:
    """The baseline to hold a search against: same data, same training, same largest budget."""
    wanted = study.started.search
    for baseline in list_baselines(results):
        other = baseline.started.search
        if (
            baseline.winner
            and baseline.started.data.fingerprint == study.started.data.fingerprint
            and other.training == wanted.training
            and other.budget.max_epochs == wanted.budget.max_epochs
            and other.seed == wanted.seed
            and other.space == Space()
        ):
            return baseline
    return None


def has_begun(folder: Path) -> bool:
    """Whether a folder holds a journal with a first line: before that there is no search."""
    try:
        with (folder / JOURNAL_NAME).open("rb") as journal:
            return journal.readline().endswith(b"\n")
    except FileNotFoundError:
        return False
    except OSError:
        return True  # reading it tells why it cannot be read


def _load_all(folder: Path, leave_out: Sequence[str] = ()) -> list[Study]:
    inside = [path for path in folder.glob("*") if path.name not in leave_out]
    studies = [load_study(path) for path in inside if path.is_dir() and has_begun(path)]
    return sorted(studies, key=lambda study: study.started.time, reverse=True)


@dataclass
class _OpenTrial:
    """A trial while its events are being gathered."""

    start: TrialStarted
    epochs: dict[int, EpochEnded] = field(default_factory=dict)
    ended: TrialEnded | None = None

    def close(self, let_go: bool) -> Trial:
        epochs = tuple(self.epochs[number] for number in sorted(self.epochs))
        end = self.ended
        unfinished: Status = "stopped" if let_go else "running"
        trained_s = sum(epoch.train_s + epoch.validation_s for epoch in epochs)
        return Trial(
            trial_id=self.start.trial_id,
            configuration=self.start.configuration,
            parent=self.start.parent,
            bracket=self.start.bracket,
            rung=self.start.rung,
            status=end.status if end else unfinished,
            epoch_from=self.start.epoch_from,
            epoch_to=self.start.epoch_to,
            hyperparameters=self.start.hyperparameters,
            epochs=epochs,
            parameters=end.parameters if end else None,
            duration_s=end.duration_s if end else trained_s,
            started=self.start.time,
            ended=end.time if end else None,
            error=end.error if end else None,
            traceback=end.traceback if end else None,
        )


def _started(
    trials: Mapping[str, _OpenTrial], event: EpochEnded | TrialEnded, folder: Path
) -> _OpenTrial:
    try:
        return trials[event.trial_id]
    except KeyError:
        raise JournalError(
            f"The journal in {folder} is damaged: trial {event.trial_id} goes on in it but never "
            "started. Restore the file from a copy, or search again with --overwrite."
        ) from None


def _rank(entry: tuple[float | None, str, Trial]) -> tuple[float, str]:
    score, trial_id, _ = entry
    return (math.inf if score is None else score, trial_id)
