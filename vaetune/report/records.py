"""A study as plain numbers in columns: what a page's charts and its table of trials read."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from vaetune.checkpoint import CHECKPOINT_NAME
from vaetune.report.answer import hyperparameter_names
from vaetune.report.timeline import (
    Timeline,
    WorkingTime,
    compute_timeline,
    compute_utilisation,
    describe_utilisation,
    list_worker_kinds,
)
from vaetune.report.wording import NOTHING, numbered, percent
from vaetune.space import Choice, Range
from vaetune.study import Study, Trial, command

Scale = Literal["linear", "log", "excess", "choice"]
Kind = Literal["hyperparameter", "measure", "place", "time"]
Value = float | int | None

LOSS_DIGITS = 2
"""Decimals of the losses of learning curves, nats per image."""

VALUE_DIGITS = 7
"""Significant digits of all other numbers."""


@dataclass(frozen=True)
class Column:
    """A number for each trial, None where it has none.

    Attributes:
        title: In the field's words.
        unit: What it is measured in, or nothing.
        scale: How an axis shows it: "excess" is logarithmic above the data's entropy floor,
            "choice" has equal steps between the values that there are.
        differs: Whether the trials have more than one value.
    """

    key: str
    title: str
    unit: str
    kind: Kind
    scale: Scale
    differs: bool
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Curves:
    """Losses of each trial's own epochs, nats per image; None where one is not finite.

    Attributes:
        epochs: Absolute.
        val: Validation, the negative ELBO.
        reconstruction: Its reconstruction.
        kl: Its KL.
        train: Training, with the KL weighted as the search says.
        seconds: Of the search's working time, when each epoch ended.
        after: How many epochs of the search had ended then.
    """

    epochs: tuple[tuple[int, ...], ...]
    val: tuple[tuple[Value, ...], ...]
    reconstruction: tuple[tuple[Value, ...], ...]
    kl: tuple[tuple[Value, ...], ...]
    train: tuple[tuple[Value, ...], ...]
    seconds: tuple[tuple[float, ...], ...]
    after: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Lane:
    """A lane of the timeline.

    Attributes:
        label: The number of its worker.
        title: What that worker was, and how much of its time it trained.
    """

    label: str
    title: str


@dataclass(frozen=True)
class Bars:
    """When workers trained trials: a bar of the timeline each.

    Attributes:
        trials: Places of the trials in the records.
        lanes: Likewise of the lanes.
        places: Likewise of `Workers.places`; None where that is not known.
        start_s: Of the search's working time.
        end_s: Likewise.
    """

    trials: tuple[int, ...]
    lanes: tuple[int, ...]
    places: tuple[int | None, ...]
    start_s: tuple[Value, ...]
    end_s: tuple[Value, ...]


@dataclass(frozen=True)
class Beside:
    """When a worker trained the Keras example: the place of its lane, seconds of working time."""

    lane: int
    start_s: Value
    end_s: Value


@dataclass(frozen=True)
class Mark:
    """A worker that was lost.

    Attributes:
        lane: The place of its lane.
        at_s: When, of the search's working time.
        title: Which, and why.
    """

    lane: int
    at_s: Value
    title: str


@dataclass(frozen=True)
class Workers:
    """How workers shared a search.

    Attributes:
        note: How much of their time they trained; empty while nothing can be said.
        kinds: What they are, if they are not all alike.
        places: What workers were: devices, machines, threads.
    """

    note: str
    kinds: tuple[str, ...]
    places: tuple[str, ...]
    lanes: tuple[Lane, ...]
    bars: Bars
    beside: tuple[Beside, ...]
    losses: tuple[Mark, ...]


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
        parents: The trial that each goes on from.
        statuses: Of each trial.
        errors: One line, by the id of a failed trial.
        winner: Its id.
        kept: Ids of the trials whose weights are there to be handed over.
        export: The command that hands a trial over, but for its id.
        workers: How they shared it; None where a process trained alone.
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
        workers=_workers(study, baseline, course.timeline),
    )


def _workers(study: Study, baseline: Study | None, timeline: Timeline) -> Workers | None:
    if all(worker is None for worker in timeline.lanes):
        return None
    utilisation = compute_utilisation(study, baseline)
    kinds = list_worker_kinds(study.workers_joined)
    places = tuple(dict.fromkeys(span.place for span in timeline.spans if span.place))
    return Workers(
        note=describe_utilisation(utilisation) if utilisation else "",
        kinds=tuple(f"{numbered(one.numbers)}: {one.place}" for one in kinds)
        if len(kinds) > 1
        else (),
        places=places,
        lanes=tuple(_lanes(timeline, utilisation.by_worker if utilisation else {})),
        bars=_bars(study, timeline, places),
        beside=tuple(
            Beside(span.lane, _significant(span.start_s), _significant(span.end_s))
            for span in timeline.beside
        ),
        losses=tuple(
            Mark(lost.lane, _significant(lost.at_s), f"worker {lost.worker} was lost: {lost.error}")
            for lost in timeline.losses
        ),
    )


def _lanes(timeline: Timeline, shares: Mapping[int, float]) -> Iterable[Lane]:
    places: dict[int, dict[str, None]] = {}
    for span in timeline.spans:
        if span.place:
            places.setdefault(span.lane, {})[span.place] = None
    for number, worker in enumerate(timeline.lanes):
        if worker is None:
            yield Lane(NOTHING, "trained by the process of the search itself")
            continue
        told = [f"worker {worker}", *places.get(number, ())]
        if worker in shares:
            told.append(f"trained for {percent(shares[worker])} of its time")
        yield Lane(str(worker), "; ".join(told))


def _bars(study: Study, timeline: Timeline, places: Sequence[str]) -> Bars:
    index = {trial.trial_id: number for number, trial in enumerate(study.trials)}
    known = {place: number for number, place in enumerate(places)}
    spans = timeline.spans
    return Bars(
        trials=tuple(index[span.trial_id] for span in spans),
        lanes=tuple(span.lane for span in spans),
        places=tuple(known.get(span.place) for span in spans),
        start_s=tuple(_significant(span.start_s) for span in spans),
        end_s=tuple(_significant(span.end_s) for span in spans),
    )


def _has_weights(study: Study, trial: Trial) -> bool:
    return (study.trial_folder(trial.trial_id) / CHECKPOINT_NAME).exists()


class _Course:
    """When something was, in a search's working time and in the epochs that had ended.

    Attributes:
        timeline: When its trials ran.
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
    best = [trial.best for trial in trials]
    nats = "nats per image"
    yield _column("rank", "Rank", "", "place", "linear", [ranks.get(t.trial_id) for t in trials])
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
        yield _column(key, title, nats, "measure", scale, values)
    for name in hyperparameter_names(study):
        values = [trial.hyperparameters.get(name) for trial in trials]
        yield _column(name, name, "", "hyperparameter", _scale(study, name), values)
    lines = [study.lineage(trial) for trial in trials]
    total_s: list[Value] = [sum(part.duration_s for part in line) for line in lines]
    yield _column("epochs", "Epochs", "", "place", "choice", [t.epoch_to for t in trials])
    yield _column("best_epoch", "Best epoch", "", "place", "linear", [_epoch(t) for t in trials])
    yield _column("parameters", "Parameters", "", "measure", "log", [t.parameters for t in trials])
    yield _column("seconds", "Seconds", "s", "measure", "log", [t.duration_s for t in trials])
    yield _column("total_s", "Seconds with the trials before it", "s", "measure", "log", total_s)
    for key, title, numbers in (
        ("configuration", "Configuration", [t.configuration for t in trials]),
        ("iteration", "Iteration", [t.iteration for t in trials]),
        ("bracket", "Bracket", [t.bracket for t in trials]),
        ("rung", "Rung", [t.rung for t in trials]),
        ("epoch_from", "After epoch", [t.epoch_from for t in trials]),
    ):
        yield _column(key, title, "", "place", "choice", numbers)
    yield from _times(study, course)


def _times(study: Study, course: _Course) -> Iterable[Column]:
    """When trials ran, and when and after how many epochs of the search each was at its best."""
    first = {span.trial_id: span for span in reversed(course.timeline.spans)}
    last = {span.trial_id: span for span in course.timeline.spans}
    ids = [trial.trial_id for trial in study.trials]
    best = [trial.best for trial in study.trials]
    seconds = "s of working time"
    yield _column("start_s", "Started", seconds, "time", "linear", [first[i].start_s for i in ids])
    yield _column("end_s", "Ended", seconds, "time", "linear", [last[i].end_s for i in ids])
    yield _column("lane", "Lane", "", "time", "choice", [last[i].lane + 1 for i in ids])
    if any(span.worker is not None for span in last.values()):
        yield _column("worker", "Worker", "", "time", "choice", [last[i].worker for i in ids])
    yield _column(
        "best_s",
        "Working time",
        "s",
        "time",
        "linear",
        [course.clock.at(epoch.time) if epoch else None for epoch in best],
    )
    yield _column(
        "best_after",
        "Epochs of the search",
        "",
        "time",
        "linear",
        [course.epochs_at(epoch.time) if epoch else None for epoch in best],
    )


def _epoch(trial: Trial) -> int | None:
    return trial.best.epoch if trial.best else None


def _column(
    key: str, title: str, unit: str, kind: Kind, scale: Scale, values: Sequence[Value]
) -> Column:
    kept = tuple(map(_significant, values))
    differs = len({value for value in kept if value is not None}) > 1
    if scale == "log" and any(value is not None and value <= 0 for value in kept):
        scale = "linear"
    return Column(key, title, unit, kind, scale, differs, kept)


def _scale(study: Study, name: str) -> Scale:
    dimension = dict(study.space.dimensions()).get(name)
    if isinstance(dimension, Choice):
        return "choice"
    return "log" if isinstance(dimension, Range) and dimension.scale == "log" else "linear"


def _curves(trials: Sequence[Trial], course: _Course) -> Curves:
    def losses(name: str) -> tuple[tuple[Value, ...], ...]:
        return tuple(
            tuple(_rounded(getattr(epoch, name)) for epoch in trial.epochs) for trial in trials
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
        val=tuple(_rounded(epoch.val_loss) for epoch in measured),
        loss=trial.best.val_loss,
        reconstruction=trial.best.val_reconstruction_loss,
        kl=trial.best.val_kl_loss,
        latent_dim=int(trial.hyperparameters["latent_dim"]),
        parameters=trial.parameters,
        total_s=sum(part.duration_s for part in baseline.lineage(trial)),
    )


def _rounded(loss: float) -> Value:
    """A loss of a curve; None in place of what JSON cannot hold."""
    return round(loss, LOSS_DIGITS) if math.isfinite(loss) else None


def _significant(value: Value) -> Value:
    """A number of a table; None in place of what JSON cannot hold."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{VALUE_DIGITS}g}") if math.isfinite(value) else None
