"""The winner and the configurations that came next: their distance and their pictures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vaetune.config import Number
from vaetune.report.charts.clusters import CLASS_COLOURS
from vaetune.report.sections.headline import hyperparameter_names
from vaetune.report.sections.thumbnails import STEPS, Latent, make_thumbnail, name_points
from vaetune.report.text.certainty import count_samples, describe_certainty, find_score
from vaetune.report.text.units import NOTHING, counted, nats, plus_minus
from vaetune.study import FinalistScore, ProbeImages, Study, Trial


@dataclass(frozen=True)
class Finalist:
    """The best trial of a configuration; losses are in nats per image, of its best epoch.

    Attributes:
        place: Among configurations, from 1.
        excess: The loss above the data's entropy floor.
        rescored: The negative ELBO by many posterior samples, with its standard error.
        behind: Difference of the rescored loss, or of the loss, from the best one's.
        seeds: The mean of the trainings from other seeds, with its standard error over them.
        hyperparameters: By name, those that differ among the finalists.
        train_s: Wall time, including the trials that it continues.
        epochs: The last one that it trained.
    """

    place: int
    trial_id: str
    loss: float
    reconstruction: float
    kl: float
    excess: float
    rescored: str
    behind: str
    seeds: str
    hyperparameters: Mapping[str, Number | None]
    parameters: int | None
    train_s: float
    best_epoch: int
    epochs: int


@dataclass(frozen=True)
class Dots:
    """The points of a class as the data of one SVG path: a stroke of no length for each.

    Attributes:
        colour: An index into `CLASS_COLOURS`; the second ten classes have those of the first.
        shape: Shape of a stroke's end, which is all that is visible.
    """

    path: str
    colour: int
    shape: Literal["round", "square"]


@dataclass(frozen=True)
class Drawings:
    """What a finalist draws; see `Thumbnail`. What was not kept is empty.

    Attributes:
        dots: Positions of validation images, in a square of `STEPS`.
        points: Number of dots.
        axis_names: Across and upwards.
    """

    place: int
    trial_id: str
    reconstructions: str
    samples: str
    dots: tuple[Dots, ...]
    points: int
    axis_names: tuple[str, ...]


@dataclass(frozen=True)
class Finalists:
    """The best configurations of a search.

    Attributes:
        names: Hyperparameters that differ among them.
        shared: The others, with the value that all have.
        rows: The winner first.
        certainty: Whether the winner's lead is larger than the noise, in a sentence or two.
        rescored_on: Number of samples and images of the rescoring; empty if there was none.
        retrained: From how many other seeds for how many epochs, likewise.
        drawings: Drawings of the finalists after the winner that have pictures.
        classes: Class names of the dots; empty without labels.
    """

    names: tuple[str, ...]
    shared: Mapping[str, Number | None]
    rows: tuple[Finalist, ...]
    certainty: str
    rescored_on: str
    retrained: str
    drawings: tuple[Drawings, ...]
    classes: tuple[str, ...]


def compute_finalists(study: Study) -> Finalists | None:
    """The finalists of a search in their order; None without a second one."""
    ids = {trial.trial_id for trial in study.finalists}
    trials = [trial for trial in study.preference if trial.trial_id in ids]
    if len(trials) < 2:
        return None
    values = {
        name: {trial.hyperparameters.get(name) for trial in trials}
        for name in hyperparameter_names(study)
    }
    names = tuple(name for name, found in values.items() if len(found) > 1)
    shared = {name: value for name, (value, *others) in values.items() if not others}
    rows = tuple(
        _finalist(study, place, trial, names) for place, trial in enumerate(trials, start=1)
    )
    probe_images = ProbeImages.load(study.folder)
    labels, classes = name_points(study, probe_images)
    drawn = (_draw(study, row, probe_images, labels) for row in rows[1:])
    drawings = tuple(drawing for drawing in drawn if drawing)
    return Finalists(
        names=names,
        shared=shared,
        rows=rows,
        certainty=describe_certainty(study).replace("+-", "\N{PLUS-MINUS SIGN}"),
        rescored_on=count_samples(study),
        retrained=_retrained(study),
        drawings=drawings,
        classes=classes,
    )


def place_dots(latent: Latent, labels: Sequence[int] | None) -> tuple[Dots, ...]:
    """Gathers the points of each class in one path.

    Args:
        latent: The points.
        labels: The class of each, or None.
    """
    strokes: dict[int, list[str]] = {}
    for x, y, label in zip(latent.x, latent.y, labels or [0] * len(latent.x), strict=False):
        strokes.setdefault(label, []).append(f"M{x},{STEPS - y}h.01")
    colours = len(CLASS_COLOURS)
    return tuple(
        Dots("".join(strokes[label]), label % colours, "round" if label < colours else "square")
        for label in sorted(strokes)
    )


def _finalist(study: Study, place: int, trial: Trial, names: Sequence[str]) -> Finalist:
    best = trial.best
    if best is None:
        raise ValueError(f"trial {trial.trial_id} is ranked without an epoch")
    score = find_score(study, trial)
    return Finalist(
        place=place,
        trial_id=trial.trial_id,
        loss=best.val_loss,
        reconstruction=best.val_reconstruction_loss,
        kl=best.val_kl_loss,
        excess=best.val_loss - study.started.data.entropy_floor,
        rescored=plus_minus(score.negative_elbo) if score else "",
        behind=_behind(study, trial, score),
        seeds=_seeds(study, trial),
        hyperparameters={name: trial.hyperparameters.get(name) for name in names},
        parameters=trial.parameters,
        train_s=sum(part.duration_s for part in study.lineage(trial)),
        best_epoch=best.epoch,
        epochs=trial.epoch_to,
    )


def _behind(study: Study, trial: Trial, score: FinalistScore | None) -> str:
    """How far a finalist is above the best one, written out; nothing for the best one."""
    if study.rescored is None:
        lowest = study.finalists[0]
        if trial == lowest or trial.score is None or lowest.score is None:
            return NOTHING
        return nats(trial.score - lowest.score, 2)
    if score is None or score == study.rescored.rescoring.finalists[0]:
        return NOTHING
    return plus_minus(score.behind)


def _seeds(study: Study, trial: Trial) -> str:
    scores = study.retrained.retraining.finalists if study.retrained else ()
    mean = next((one.mean for one in scores if one.trial_id == trial.trial_id), None)
    return "failed" if mean and not math.isfinite(mean.mean) else plus_minus(mean)


def _retrained(study: Study) -> str:
    if study.retrained is None:
        return ""
    told = study.retrained.retraining
    return f"{counted(len(told.seeds), 'other seed')} for {counted(told.epochs, 'epoch')} each"


def _draw(
    study: Study, row: Finalist, probe_images: ProbeImages | None, labels: Sequence[int] | None
) -> Drawings | None:
    thumbnail = make_thumbnail(study, study.trial(row.trial_id), probe_images)
    if thumbnail is None:
        return None
    latent = thumbnail.latent
    return Drawings(
        place=row.place,
        trial_id=row.trial_id,
        reconstructions=thumbnail.reconstructions,
        samples=thumbnail.samples,
        dots=place_dots(latent, labels) if latent else (),
        points=len(latent.x) if latent else 0,
        axis_names=latent.axis_names if latent else (),
    )
