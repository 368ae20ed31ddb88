"""The runs of a study for other tools: one for each configuration, over all its epochs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from vaetune.config import Objective, Value
from vaetune.report import printable
from vaetune.study import EpochEnded, Study, Trial

State = Literal["complete", "pruned", "failed", "unfinished"]

Facts = dict[str, str | int | float]
"""What is known of a study or a run besides its losses, by name. Unknown values are absent."""

LOSSES = (
    "loss",
    "reconstruction_loss",
    "kl_loss",
    "val_loss",
    "val_reconstruction_loss",
    "val_kl_loss",
)
"""The losses of an epoch, by their names in the journal."""

SCALARS = ("score", "active_units", "parameters", "duration_s")
"""Facts of a run that tools compare and sort by. They have one value, after the last epoch."""


@dataclass(frozen=True)
class Run:
    """A configuration with all trials that trained it.

    vaetune has a trial for each rung. Other tools have one run with the whole learning curve.

    Attributes:
        name: Name of the run, such as "configuration-07".
        trials: Trials that trained the configuration, in the order in which they started.
        state: State of the configuration. "complete": it was trained for the number of epochs of
            the longest trials; "pruned": it was trained for fewer epochs and not promoted;
            "failed": its last trial failed; "unfinished": its last trial has not ended.
    """

    name: str
    trials: tuple[Trial, ...]
    state: State

    @property
    def configuration(self) -> int:
        """Number of the configuration, in the order drawn."""
        return self.trials[0].configuration

    @property
    def hyperparameters(self) -> Mapping[str, Value]:
        """Values of the hyperparameters that the model uses, by name."""
        return self.trials[0].hyperparameters

    @cached_property
    def epochs(self) -> tuple[EpochEnded, ...]:
        """Losses of each finished epoch of all trials, in order."""
        found = {epoch.epoch: epoch for trial in self.trials for epoch in trial.epochs}
        return tuple(found[number] for number in sorted(found))

    @property
    def best(self) -> EpochEnded | None:
        """Epoch with the best objective, see `Trial.best`; None before the first finite one."""
        best = min(self.trials, key=lambda trial: trial.rank)
        return best.best

    @property
    def objective(self) -> Objective:
        """Objective of the study."""
        return self.trials[0].objective

    def values(self, epoch: EpochEnded) -> dict[str, float]:
        """Returns the losses of an epoch, and the objective if it is another measure, by name."""
        values: dict[str, float] = {name: getattr(epoch, name) for name in LOSSES}
        return values if self.objective.is_loss else {**values, self.objective.name: epoch.value}

    @property
    def started(self) -> datetime:
        """Start of the first trial."""
        return self.trials[0].started

    @property
    def ended(self) -> datetime | None:
        """End of the last trial; None if it has not ended."""
        return self.trials[-1].ended

    @property
    def last_moment(self) -> datetime:
        """End of the run, or else the end of its last epoch, or else its start."""
        return self.ended or (self.epochs[-1].time if self.epochs else self.started)

    @property
    def last_epoch(self) -> int:
        """Number of the last finished epoch, absolute; 0 before the first."""
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def parameters(self) -> int | None:
        """Number of trainable parameters; None before the first trial has ended."""
        known = (trial.parameters for trial in reversed(self.trials))
        return next((count for count in known if count is not None), None)

    def scalars(self) -> dict[str, float]:
        """Returns the known facts of `SCALARS`."""
        facts = self.facts()
        return {name: float(facts[name]) for name in SCALARS if name in facts}

    def facts(self) -> Facts:
        """Returns what is known of the run besides its losses and hyperparameters."""
        last, best = self.trials[-1], self.best
        found = {
            "state": self.state,
            "configuration": self.configuration,
            "trial_ids": ", ".join(trial.trial_id for trial in self.trials),
            "score": best.value if best else None,
            "best_epoch": best.epoch if best else None,
            "parameters": self.parameters,
            "active_units": last.active_units,
            "collapsed": last.collapsed,
            "duration_s": sum(trial.duration_s for trial in self.trials),
            "failed_in": last.failed_in,
            "error": last.error,
        }
        return {name: value for name, value in found.items() if value is not None}


def list_runs(study: Study) -> tuple[Run, ...]:
    """Returns a run for each configuration of a study, in the order drawn."""
    longest = max((rung.epoch_to for rung in study.plan), default=0)
    trials: dict[int, list[Trial]] = {}
    for trial in study.trials:
        trials.setdefault(trial.configuration, []).append(trial)
    width = len(str(max(trials, default=0)))
    return tuple(
        Run(f"configuration-{number:0{width}}", tuple(found), _state(found[-1], longest))
        for number, found in sorted(trials.items())
    )


def _state(last: Trial, longest: int) -> State:
    if last.status == "completed":
        return "complete" if last.epoch_to >= longest else "pruned"
    return "failed" if last.status == "failed" else "unfinished"


def describe_study(study: Study) -> Facts:
    """Returns what is known of a study besides its trials. Paths are left out."""
    data, winner = study.started.data, study.winner
    versions = study.environment.versions if study.environment else {}
    found = {
        "vaetune": versions.get("vaetune"),
        "state": study.state,
        "algorithm": study.search.algorithm,
        "seed": study.search.seed,
        "likelihood": study.likelihood,
        "unit": "nats per image",
        "objective": None if study.objective.is_loss else study.objective.name,
        "data": printable(data.name, longest=200),
        "fingerprint": data.fingerprint,
        "winner": winner.trial_id if winner else None,
        "winner_configuration": winner.configuration if winner else None,
    }
    return {name: value for name, value in found.items() if value is not None}
