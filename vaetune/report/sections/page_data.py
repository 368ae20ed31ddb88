"""A study as plain numbers in columns: what a page's charts and its table of trials read."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from vaetune.config import Choice, Range
from vaetune.report.analysis.timeline import WorkingTime, compute_timeline
from vaetune.report.sections.columns import Column, Scale, Value, build_column, rounded
from vaetune.report.sections.headline import hyperparameter_names
from vaetune.report.sections.worker_lanes import Workers, compute_workers
from vaetune.study import CHECKPOINT_NAME, Study, Trial, command


@dataclass(frozen=True)
class Curves:
    """Losses of each trial's own epochs, nats per image; None where one is not finite.

    Attributes:
        epochs: Absolute.
        val: Validation, the negative ELBO.
        reconstruction: Its reconstruction.
        kl: Its KL.
        train: Training, with the KL weighted as the search says.
        seconds: Working time of the search at the end of each epoch, in seconds.
        after: Number of epochs of the search that had ended by then.
    """

    epochs: tuple[tuple[int, ...], ...]
    val: tuple[tuple[Value, ...], ...]
    reconstruction: tuple[tuple[Value, ...], ...]
    kl: tuple[tuple[Value, ...], ...]
    train: tuple[tuple[Value, ...], ...]
    seconds: tuple[tuple[float, ...], ...]
    after: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Reference:
    """The Keras example's losses, nats per image, and what it cost."""

    epochs: tuple[int, ...]
    val: tuple[Value, ...]
    loss: float
    reconstruction: float
    kl: float
    latent_dim: int
    parameters: int | None
    total_s: float


@dataclass(frozen=True)
class Records:
    """A search in columns; every tuple follows the order of its trials.

    Attributes:
        name: The search's.
        floor: The data's entropy floor, nats per image.
        trials: Ids.
        parents: The trial that each one continues.
        statuses: Status of each trial.
        errors: One line, by the id of a failed trial.
        winner: Its id.
        kept: Ids of the trials whose weights can be exported.
        export: The command that hands a trial over, but for its id.
        workers: Lanes of the workers; None where one process trained.
    """

    name: str
    floor: float
    trials: tuple[str, ...]
    parents: tuple[str | None, ...]
    statuses: tuple[str, ...]
    errors: Mapping[str, str]
    winner: str | None
    kept: tuple[str, ...]
    columns: tuple[Column, ...]
    curves: Curves
    reference: Reference | None
    export: str
    workers: Workers | None


def compute_records(study: Study, baseline: Study | None) -> Records:
    """Gathers a study's trials into columns."""
    trials = study.trials
    winner = study.winner
    course = _Course(study, baseline)
    return Records(
        name=study.name,
        floor=study.started.data.entropy_floor,
        trials=tuple(trial.trial_id for trial in trials),
        parents=tuple(trial.parent for trial in trials),
        statuses=tuple(trial.status for trial in trials),
        errors={t.trial_id: t.error or "no message was recorded" for t in study.failures},
        winner=winner.trial_id if winner else None,
        kept=tuple(t.trial_id for t in trials if _has_weights(study, t)),
        columns=tuple(_columns(study, course)),
        curves=_curves(trials, course),
        reference=_reference(baseline),
        export=command("best", study, "--export") + " --trial",
        workers=compute_workers(study, baseline, course.timeline),
    )


def _has_weights(study: Study, trial: Trial) -> bool:
    return (study.trial_folder(trial.trial_id) / CHECKPOINT_NAME).exists()


class _Course:
    """When something was, in a search's working time and in the epochs that had ended.

    Attributes:
        timeline: Times at which its trials ran.
    """

    def __init__(self, study: Study, baseline: Study | None) -> None:
        self.clock = WorkingTime(study)
        self.timeline = compute_timeline(study, self.clock, baseline)
        self._ended = sorted(epoch.time for trial in study.trials for epoch in trial.epochs)

    def epochs_at(self, moment: datetime) -> int:
        """How many epochs of the search had ended."""
        return bisect_right(self._ended, moment)


def _columns(study: Study, course: _Course) -> Iterable[Column]:
    trials = study.trials
    ranks = {trial.trial_id: rank for rank, trial in enumerate(study.ranking, start=1)}
    yield build_column(
        "rank", "Rank", "", "place", "linear", [ranks.get(t.trial_id) for t in trials]
    )
    yield from _losses(study)
    for name in hyperparameter_names(study):
        values = [trial.hyperparameters.get(name) for trial in trials]
        yield build_column(name, name, "", "hyperparameter", _scale(study, name), values)
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
    yield build_column(
        "total_s", "Seconds with the trials before it", "s", "measure", "log", total_s
    )
    for key, title, numbers in (
        ("configuration", "Configuration", [t.configuration for t in trials]),
        ("iteration", "Iteration", [t.iteration for t in trials]),
        ("bracket", "Bracket", [t.bracket for t in trials]),
        ("rung", "Rung", [t.rung for t in trials]),
        ("epoch_from", "After epoch", [t.epoch_from for t in trials]),
    ):
        yield build_column(key, title, "", "place", "choice", numbers)
    yield from _times(study, course)


def _losses(study: Study) -> Iterable[Column]:
    """Yields the losses of each trial at its best epoch."""
    best = [trial.best for trial in study.trials]
    losses: tuple[tuple[str, str, Scale, list[Value]], ...] = (
        ("loss", "Loss", "excess", [e.val_loss if e else None for e in best]),
        (
            "reconstruction",
            "Reconstruction",
            "linear",
            [e.val_reconstruction_loss if e else None for e in best],
        ),
        ("kl", "KL", "linear", [e.val_kl_loss if e else None for e in best]),
    )
    for key, title, scale, values in losses:
        yield build_column(key, title, "nats per image", "measure", scale, values)


def _times(study: Study, course: _Course) -> Iterable[Column]:
    """When trials ran, and when and after how many epochs of the search each was at its best."""
    first = {span.trial_id: span for span in reversed(course.timeline.spans)}
    last = {span.trial_id: span for span in course.timeline.spans}
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
        [course.clock.at(epoch.time) if epoch else None for epoch in best],
    )
    yield build_column(
        "best_after",
        "Epochs of the search",
        "",
        "time",
        "linear",
        [course.epochs_at(epoch.time) if epoch else None for epoch in best],
    )


def _epoch(trial: Trial) -> int | None:
    return trial.best.epoch if trial.best else None


def _scale(study: Study, name: str) -> Scale:
    dimension = dict(study.space.dimensions()).get(name)
    if isinstance(dimension, Choice):
        return "choice"
    return "log" if isinstance(dimension, Range) and dimension.scale == "log" else "linear"


def _curves(trials: Sequence[Trial], course: _Course) -> Curves:
    def losses(name: str) -> tuple[tuple[Value, ...], ...]:
        return tuple(
            tuple(rounded(getattr(epoch, name)) for epoch in trial.epochs) for trial in trials
        )

    return Curves(
        epochs=tuple(tuple(epoch.epoch for epoch in trial.epochs) for trial in trials),
        val=losses("val_loss"),
        reconstruction=losses("val_reconstruction_loss"),
        kl=losses("val_kl_loss"),
        train=losses("loss"),
        seconds=tuple(tuple(round(course.clock.at(e.time), 1) for e in t.epochs) for t in trials),
        after=tuple(tuple(course.epochs_at(e.time) for e in t.epochs) for t in trials),
    )


def _reference(baseline: Study | None) -> Reference | None:
    trial = baseline.winner if baseline else None
    if baseline is None or trial is None or trial.best is None:
        return None
    measured = baseline.curve(trial)
    return Reference(
        epochs=tuple(epoch.epoch for epoch in measured),
        val=tuple(rounded(epoch.val_loss) for epoch in measured),
        loss=trial.best.val_loss,
        reconstruction=trial.best.val_reconstruction_loss,
        kl=trial.best.val_kl_loss,
        latent_dim=int(trial.hyperparameters["latent_dim"]),
        parameters=trial.parameters,
        total_s=sum(part.duration_s for part in baseline.lineage(trial)),
    )
