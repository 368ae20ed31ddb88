"""A trial as the journal describes it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vaetune.config import Number
from vaetune.study.events import EpochEnded, TrialRetried

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
    "failed_in",
    "error",
    "traceback",
)
"""The columns of a table of trials; losses are those of the trial's best epoch."""


@dataclass(frozen=True)
class TrainingInterval:
    """A time in which a trial was trained without a break.

    It ends with the trial, the worker or the session.

    Attributes:
        worker: Number of the worker that trained it; None for the process of the search.
        ended: While it is not over, and if its session was killed: the last sign of that session.
        epoch: The last, absolute, that was finished when it began.
    """

    worker: int | None
    started: datetime
    ended: datetime
    epoch: int


@dataclass(frozen=True, repr=False)
class Trial:
    """One configuration trained over the epochs (epoch_from, epoch_to].

    Attributes:
        parent: The trial that this one continues, if it is a promotion.
        epochs: Losses of each finished epoch, in order.
        parameters: Trainable parameters, once the trial has ended.
        duration_s: Wall time in seconds over all sessions.
        failed_in: The epoch that a failed trial was in; None if it had not begun one.
        error: One line that says why a trial failed.
        retries: Errors after which it was tried again.
        crashes: Number of times in a row that its process was killed without finishing an epoch.
        intervals: Times of its training, each with its worker, in order. There are several if a
            worker was lost or a session ended.
    """

    trial_id: str
    configuration: int
    parent: str | None
    iteration: int
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
    failed_in: int | None
    error: str | None
    traceback: str | None
    retries: tuple[TrialRetried, ...] = ()
    crashes: int = 0
    intervals: tuple[TrainingInterval, ...] = ()

    def __repr__(self) -> str:
        score = "" if self.score is None else f", {self.score:.2f} nats per image"
        return f"<Trial {self.trial_id}: {self.status}, epoch {self.epoch_to}{score}>"

    @cached_property
    def best(self) -> EpochEnded | None:
        """The epoch with the lowest validation loss, the earliest of equals."""
        finite = [epoch for epoch in self.epochs if math.isfinite(epoch.val_loss)]
        return min(finite, key=lambda epoch: epoch.val_loss, default=None)

    @property
    def score(self) -> float | None:
        """The lowest validation loss, nats per image."""
        return self.best.val_loss if self.best else None


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
        "failed_in": trial.failed_in,
        "error": trial.error,
        "traceback": trial.traceback,
    }


def trial_folder(folder: Path, trial_id: str) -> Path:
    """Where the checkpoint and the pictures of a trial are, in the folder of a study."""
    return folder / "trials" / trial_id
