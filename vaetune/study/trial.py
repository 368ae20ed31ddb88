"""A trial, as recorded in the journal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vaetune.config import VALIDATION_LOSS, Objective, Value, short_hyperparameters, value_of
from vaetune.study.events import EpochEnded, TrialRetried
from vaetune.study.records import Decision

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
    "active_units",
    "last_kl_loss",
    "collapsed",
    "parameters",
    "duration_s",
    "hyperparameters",
    "expected_loss",
    "failed_in",
    "error",
    "traceback",
)
"""Columns of a table of trials. Losses are those of the best epoch of the trial, except for
`last_kl_loss`. Active units and collapse are those after its last epoch. `expected_loss` is what
the algorithm expected of the configuration when it chose the trial."""


@dataclass(frozen=True)
class TrainingInterval:
    """A period in which one worker trained a trial without interruption.

    It ends when the trial ends, when the worker is lost, or when the session ends.

    Attributes:
        worker: Number of the worker; None for the process of the search itself.
        ended: End of the period. While it lasts, or if the session was killed: the time of the
            last event that the session recorded.
        epoch: Last epoch, absolute, that was finished when the period began.
    """

    worker: int | None
    started: datetime
    ended: datetime
    epoch: int


@dataclass(frozen=True, repr=False)
class Trial:
    """One configuration trained over the epochs (epoch_from, epoch_to].

    Attributes:
        configuration: Number of the configuration, in the order drawn. Promotions keep it.
        parent: Id of the trial that this one is promoted from; None for a new configuration.
        iteration: Run of the whole Hyperband schedule, from 0.
        hyperparameters: Values of the hyperparameters that the model uses, by name.
        epochs: Losses of each finished epoch, in order.
        parameters: Number of trainable parameters; None before the trial has ended.
        active_units: Number of active units after the last epoch, see `LatentUse`; None if the
            trial has not completed, or if an earlier version ran it.
        collapsed: Whether the model had collapsed after the last epoch; None as for
            `active_units`.
        duration_s: Wall time in seconds, over all sessions.
        failed_in: Epoch, absolute, in which the trial failed; None if it failed before its first
            epoch, or did not fail.
        error: Reason of the failure, in one line.
        traceback: Python traceback of the failure.
        retries: Errors after which the trial was tried again.
        crashes: Number of times in a row that the process that trained it was killed before it
            finished another epoch.
        intervals: Periods in which it was trained, in order. There are several if its worker was
            lost or its session ended.
        searched: Names of the hyperparameters that the study searches.
        decision: Expectation with which the algorithm chose the trial; None if it has none.
        objective: Objective of the study, which the best epoch follows.
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
    hyperparameters: Mapping[str, Value]
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
    searched: tuple[str, ...] = ()
    active_units: int | None = None
    collapsed: bool | None = None
    decision: Decision | None = None
    objective: Objective = VALIDATION_LOSS

    def __repr__(self) -> str:
        score = "" if self.score is None else f", {self.objective.text(self.score)}"
        return f"<Trial {self.trial_id}: {self.status}, epoch {self.epoch_to}{score}>"

    @cached_property
    def best(self) -> EpochEnded | None:
        """Epoch with the best objective; of several, the lowest loss, then the earliest one."""
        finite = [e for e in self.epochs if math.isfinite(e.val_loss) and math.isfinite(e.value)]
        return min(finite, key=self._costs, default=None)

    def _costs(self, epoch: EpochEnded) -> tuple[float, float]:
        return self.objective.cost(epoch.value), epoch.val_loss

    @property
    def rank(self) -> tuple[float, float]:
        """Key that sorts trials, the best first: cost and validation loss of the best epoch."""
        return self._costs(self.best) if self.best else (math.inf, math.inf)

    @property
    def words(self) -> str:
        """The searched hyperparameters as short text, such as "latent 4, gelu"."""
        return short_hyperparameters(self.hyperparameters, self.searched)

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions; with several levels, of the top level."""
        return int(value_of(self.hyperparameters, "latent_dim"))

    @property
    def score(self) -> float | None:
        """Best value of the objective, by default the lowest validation loss, nats per image.

        None before the first finite one.
        """
        return self.best.value if self.best else None

    @property
    def lowest_loss(self) -> float | None:
        """Lowest validation loss, nats per image, whatever the objective is; None as `score`."""
        finite = [epoch.val_loss for epoch in self.epochs if math.isfinite(epoch.val_loss)]
        return min(finite, default=None)

    @property
    def expected_score(self) -> float | None:
        """Value of the objective that the algorithm expected; None if it expected none."""
        return self.objective.value(self.decision.expected_loss) if self.decision else None

    @property
    def last_kl_loss(self) -> float | None:
        """KL divergence after the last finished epoch, nats per image; None before the first."""
        return self.epochs[-1].val_kl_loss if self.epochs else None

    def as_row(self) -> dict[str, Any]:
        """Returns the trial as a row with `TRIAL_COLUMNS`, and `use_columns` of the objective."""
        best = self.best
        of_objective = dict(
            zip(use_columns(self.objective), (self.score, self.expected_score), strict=False)
        )
        return {
            "trial_id": self.trial_id,
            "configuration": self.configuration,
            "parent": self.parent,
            "bracket": self.bracket,
            "rung": self.rung,
            "status": self.status,
            "epoch_from": self.epoch_from,
            "epoch_to": self.epoch_to,
            "val_loss": best.val_loss if best else None,
            "reconstruction_loss": best.val_reconstruction_loss if best else None,
            "kl_loss": best.val_kl_loss if best else None,
            "best_epoch": best.epoch if best else None,
            "active_units": self.active_units,
            "last_kl_loss": self.last_kl_loss,
            "collapsed": self.collapsed,
            "parameters": self.parameters,
            "duration_s": self.duration_s,
            "hyperparameters": dict(self.hyperparameters),
            "expected_loss": self.expected_score if self.objective.is_loss else None,
            "failed_in": self.failed_in,
            "error": self.error,
            "traceback": self.traceback,
            **of_objective,
        }


def use_columns(objective: Objective) -> tuple[str, ...]:
    """Returns the further columns of trials that another objective than the loss ranks.

    They hold its value at the best epoch, and the value that the algorithm expected.
    """
    return () if objective.is_loss else (objective.name, f"expected_{objective.name}")


def trial_folder(folder: Path, trial_id: str) -> Path:
    """Returns the folder of a trial's checkpoint and artifacts.

    Args:
        folder: Folder of the study.
        trial_id: Id of the trial.
    """
    return folder / "trials" / trial_id
