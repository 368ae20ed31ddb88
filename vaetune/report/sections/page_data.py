"""Converts a study to columns of numbers for the page's charts and its table of trials."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from vaetune.config import FAMILY, Choice, Objective, Range
from vaetune.report.analysis.timeline import WorkingTime, compute_timeline
from vaetune.report.sections.columns import (
    Column,
    Scale,
    Value,
    build_column,
    build_hyperparameter,
    round_loss,
    round_value,
)
from vaetune.report.sections.headline import hyperparameter_names
from vaetune.report.sections.worker_lanes import Workers, compute_workers
from vaetune.report.text.latents import has_levels
from vaetune.study import CHECKPOINT_NAME, EpochEnded, Study, Trial, command


@dataclass(frozen=True)
class Curves:
    """Losses of the epochs of each trial, nats per image; None if a loss is not finite.

    Attributes:
        epochs: Absolute epochs.
        val: Validation losses, the negative ELBO.
        reconstruction: Reconstruction part of the validation losses.
        kl: KL part of the validation losses.
        train: Training losses, with the KL divergence weighted by beta.
        seconds: End of each epoch, in seconds of working time.
        after: Number of epochs of the whole search that had ended at that time.
        objective: Values of the objective; None if it is the validation loss.
    """

    epochs: tuple[tuple[int, ...], ...]
    val: tuple[tuple[Value, ...], ...]
    reconstruction: tuple[tuple[Value, ...], ...]
    kl: tuple[tuple[Value, ...], ...]
    train: tuple[tuple[Value, ...], ...]
    seconds: tuple[tuple[float, ...], ...]
    after: tuple[tuple[int, ...], ...]
    objective: tuple[tuple[Value, ...], ...] | None


@dataclass(frozen=True)
class Reference:
    """The Keras example.

    Attributes:
        epochs: Absolute epochs.
        val: Validation losses at these epochs, nats per image; None if not finite.
        loss: Lowest validation loss, nats per image.
        reconstruction: Reconstruction loss at the same epoch, nats per image.
        kl: KL divergence at the same epoch, nats per image.
        latent_dim: Number of latent dimensions.
        parameters: Number of parameters, or None if unknown.
        total_s: Training time in seconds.
        name: Name of the Keras example on the page.
        objective: Best value of the objective; None if it is the validation loss.
        objectives: Values of the objective at these epochs; None as before.
    """

    epochs: tuple[int, ...]
    val: tuple[Value, ...]
    loss: float
    reconstruction: float
    kl: float
    latent_dim: int
    parameters: int | None
    total_s: float
    name: str
    objective: Value
    objectives: tuple[Value, ...] | None


@dataclass(frozen=True)
class Goal:
    """Another objective than the validation loss. Its values are those of its unit.

    Attributes:
        title: Name within a sentence.
        decimals: Decimals of a value in text.
        rises: Whether larger values are better.
    """

    title: str
    decimals: int
    rises: bool


@dataclass(frozen=True)
class Records:
    """A search in columns. All tuples are in the order of its trials.

    Attributes:
        name: Name of the search.
        floor: Entropy floor of the data, nats per image; None without one.
        trials: Ids of the trials.
        parents: Ids of the trials that they continue, or None.
        statuses: Statuses of the trials.
        errors: Error messages in one line, by id of a failed trial.
        winner: Id of the winner, or None.
        kept: Ids of the trials with stored weights, which can be exported.
        collapsed: Ids of the trials that had collapsed after their last epoch.
        columns: Hyperparameters, losses and other numbers of the trials.
        curves: Learning curves of the trials.
        reference: Keras example, or None.
        export: Command that exports a trial, without its id.
        workers: Workers of the search; None if its own process trained all trials.
        objective: Objective of the search; None if it is the validation loss.
    """

    name: str
    floor: float | None
    trials: tuple[str, ...]
    parents: tuple[str | None, ...]
    statuses: tuple[str, ...]
    errors: Mapping[str, str]
    winner: str | None
    kept: tuple[str, ...]
    collapsed: tuple[str, ...]
    columns: tuple[Column, ...]
    curves: Curves
    reference: Reference | None
    export: str
    workers: Workers | None
    objective: Goal | None


def compute_records(study: Study, baseline: Study | None) -> Records:
    """Collects the trials of a study in columns.

    Args:
        study: Search to convert.
        baseline: Run of the Keras example, or None.
    """
    trials = study.trials
    winner = study.winner
    times = _Times(study, baseline)
    return Records(
        name=study.name,
        floor=study.entropy_floor,
        trials=tuple(trial.trial_id for trial in trials),
        parents=tuple(trial.parent for trial in trials),
        statuses=tuple(trial.status for trial in trials),
        errors={t.trial_id: t.error or "no message was recorded" for t in study.failures},
        winner=winner.trial_id if winner else None,
        kept=tuple(t.trial_id for t in trials if _has_weights(study, t)),
        collapsed=tuple(trial.trial_id for trial in trials if trial.collapsed),
        columns=tuple(_columns(study, times)),
        curves=_curves(study, times),
        reference=_reference(baseline),
        export=command("best", study, "--export") + " --trial",
        workers=compute_workers(study, baseline, times.timeline),
        objective=_goal(study.objective),
    )


def _goal(objective: Objective) -> Goal | None:
    if objective.is_loss:
        return None
    return Goal(objective.title, objective.decimals, objective.is_maximised)


def _scaled(objective: Objective, value: float | None) -> Value:
    return round_value(None if value is None else objective.factor * value)


def _has_weights(study: Study, trial: Trial) -> bool:
    return (study.trial_folder(trial.trial_id) / CHECKPOINT_NAME).exists()


class _Times:
    """Converts times of a search to working time and to numbers of epochs.

    Attributes:
        clock: Working time of the search.
        timeline: Periods in which the trials ran.
    """

    def __init__(self, study: Study, baseline: Study | None) -> None:
        self.clock = WorkingTime(study)
        self.timeline = compute_timeline(study, self.clock, baseline)
        self._ended = sorted(epoch.time for trial in study.trials for epoch in trial.epochs)

    def epochs_at(self, moment: datetime) -> int:
        """The number of epochs of the search that had ended at a moment."""
        return bisect_right(self._ended, moment)


def _columns(study: Study, times: _Times) -> Iterable[Column]:
    ranks = {trial.trial_id: rank for rank, trial in enumerate(study.ranking, start=1)}
    found = [ranks.get(trial.trial_id) for trial in study.trials]
    yield build_column("rank", "Rank", "", "place", "linear", found)
    if not study.objective.is_loss:
        objective = study.objective
        reached = [_scaled(objective, trial.score) for trial in study.trials]
        title, unit = objective.heading, objective.unit
        yield build_column("objective", title, unit, "measure", "linear", reached)
    yield from _loss_columns(study.trials)
    for name in hyperparameter_names(study):
        values = [trial.hyperparameters.get(name) for trial in study.trials]
        yield build_hyperparameter(name, _scale(study, name), values)
    yield from _cost_columns(study)
    yield from _place_columns(study.trials)
    yield from _time_columns(study, times)


def _loss_columns(trials: Sequence[Trial]) -> Iterable[Column]:
    """Losses at the best epoch of each trial, and its active units after the last one."""
    columns: tuple[tuple[str, str, Scale, str], ...] = (
        ("loss", "Loss", "excess", "val_loss"),
        ("reconstruction", "Reconstruction", "linear", "val_reconstruction_loss"),
        ("kl", "KL", "linear", "val_kl_loss"),
    )
    for key, title, scale, field in columns:
        values = [getattr(trial.best, field) if trial.best else None for trial in trials]
        yield build_column(key, title, "nats per image", "measure", scale, values)
    units = [trial.active_units for trial in trials]
    if any(count is not None for count in units):
        title = "Active units" + " of all levels" * any(map(has_levels, trials))
        yield build_column("active_units", title, "", "measure", "linear", units)


def _cost_columns(study: Study) -> Iterable[Column]:
    """Epochs, parameters and training time of each trial."""
    trials = study.trials
    lines = [study.lineage(trial) for trial in trials]
    total_s: list[Value] = [sum(part.duration_s for part in line) for line in lines]
    yield build_column("epochs", "Epochs", "", "place", "choice", [t.epoch_to for t in trials])
    yield build_column(
        "best_epoch", "Best epoch", "", "place", "linear", [_epoch(t) for t in trials]
    )
    yield build_column(
        "parameters", "Parameters", "", "measure", "log", [t.parameters for t in trials]
    )
    yield build_column("seconds", "Seconds", "s", "measure", "log", [t.duration_s for t in trials])
    yield build_column("total_s", "Total time", "s", "measure", "log", total_s)


def _place_columns(trials: Sequence[Trial]) -> Iterable[Column]:
    """Configuration, bracket and rung of each trial."""
    for key, title, numbers in (
        ("configuration", "Configuration", [t.configuration for t in trials]),
        ("iteration", "Iteration", [t.iteration for t in trials]),
        ("bracket", "Bracket", [t.bracket for t in trials]),
        ("rung", "Rung", [t.rung for t in trials]),
        ("epoch_from", "After epoch", [t.epoch_from for t in trials]),
    ):
        yield build_column(key, title, "", "place", "choice", numbers)


def _time_columns(study: Study, times: _Times) -> Iterable[Column]:
    """Start and end of each trial, and the time of its best epoch."""
    first = {span.trial_id: span for span in reversed(times.timeline.spans)}
    last = {span.trial_id: span for span in times.timeline.spans}
    ids = [trial.trial_id for trial in study.trials]
    best = [trial.best for trial in study.trials]
    seconds = "s of working time"
    yield build_column(
        "start_s", "Started", seconds, "time", "linear", [first[i].start_s for i in ids]
    )
    yield build_column("end_s", "Ended", seconds, "time", "linear", [last[i].end_s for i in ids])
    yield build_column("lane", "Lane", "", "time", "choice", [last[i].lane + 1 for i in ids])
    if any(span.worker is not None for span in last.values()):
        yield build_column("worker", "Worker", "", "time", "choice", [last[i].worker for i in ids])
    yield build_column(
        "best_s",
        "Working time",
        "s",
        "time",
        "linear",
        [times.clock.at(epoch.time) if epoch else None for epoch in best],
    )
    yield build_column(
        "best_after",
        "Epochs of the search",
        "",
        "time",
        "linear",
        [times.epochs_at(epoch.time) if epoch else None for epoch in best],
    )


def _epoch(trial: Trial) -> int | None:
    return trial.best.epoch if trial.best else None


def _scale(study: Study, name: str) -> Scale:
    dimension = dict(study.space.dimensions()).get(name)
    if isinstance(dimension, Choice) or (name in FAMILY and FAMILY[name].kind == "text"):
        return "choice"
    return "log" if isinstance(dimension, Range) and dimension.scale == "log" else "linear"


def _curves(study: Study, times: _Times) -> Curves:
    trials = study.trials

    def losses(name: str) -> tuple[tuple[Value, ...], ...]:
        return tuple(
            tuple(round_loss(getattr(epoch, name)) for epoch in trial.epochs) for trial in trials
        )

    return Curves(
        epochs=tuple(tuple(epoch.epoch for epoch in trial.epochs) for trial in trials),
        val=losses("val_loss"),
        reconstruction=losses("val_reconstruction_loss"),
        kl=losses("val_kl_loss"),
        train=losses("loss"),
        seconds=tuple(tuple(round(times.clock.at(e.time), 1) for e in t.epochs) for t in trials),
        after=tuple(tuple(times.epochs_at(e.time) for e in t.epochs) for t in trials),
        objective=None
        if study.objective.is_loss
        else tuple(_objectives(study.objective, trial.epochs) for trial in trials),
    )


def _objectives(objective: Objective, epochs: Iterable[EpochEnded]) -> tuple[Value, ...]:
    return tuple(_scaled(objective, epoch.value) for epoch in epochs)


def _reference(baseline: Study | None) -> Reference | None:
    trial = baseline.winner if baseline else None
    if baseline is None or trial is None or trial.best is None:
        return None
    measured, objective = baseline.curve(trial), baseline.objective
    is_loss = objective.is_loss
    return Reference(
        epochs=tuple(epoch.epoch for epoch in measured),
        val=tuple(round_loss(epoch.val_loss) for epoch in measured),
        loss=trial.best.val_loss,
        reconstruction=trial.best.val_reconstruction_loss,
        kl=trial.best.val_kl_loss,
        latent_dim=trial.latent_dim,
        parameters=trial.parameters,
        total_s=sum(part.duration_s for part in baseline.lineage(trial)),
        name=baseline.reference_name,
        objective=None if is_loss else _scaled(objective, trial.score),
        objectives=None if is_loss else _objectives(objective, measured),
    )
