"""Compares the winner with the next best configurations: losses, hyperparameters, images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vaetune.config import Value
from vaetune.report.charts.clusters import CLASS_COLOURS
from vaetune.report.sections.headline import hyperparameter_names
from vaetune.report.sections.thumbnails import STEPS, Latent, make_thumbnail, name_points
from vaetune.report.text.certainty import count_samples, describe_certainty, find_score
from vaetune.report.text.units import NOTHING, counted, nats, plus_minus, plus_minus_of, rough
from vaetune.study import FinalistScore, ProbeImages, Study, Trial


@dataclass(frozen=True)
class Finalist:
    """The best trial of a configuration. Losses are in nats per image, at its best epoch.

    Attributes:
        place: Place among the configurations, from 1.
        trial_id: Id of the trial.
        objective: Value of the objective; empty if it is the loss.
        loss: Validation loss.
        reconstruction: Reconstruction loss.
        kl: KL divergence.
        excess: Loss above the data's entropy floor; None without one.
        use: Value of the measure that decides, with its standard error; empty if it is the loss.
        rescored: Rescored negative ELBO with its standard error; empty if not rescored.
        behind: Difference to the best finalist by what decides, rescored if possible.
        seeds: Mean of trainings from other seeds by what decides, with its standard error.
        hyperparameters: Values of the hyperparameters that differ among the finalists, by name.
        parameters: Number of parameters, or None if unknown.
        train_s: Wall time of the trial and the trials that it continues, in seconds.
        best_epoch: Epoch with the lowest loss, absolute.
        epochs: Last epoch, absolute.
        collapsed: True if the model had collapsed after that epoch.
    """

    place: int
    trial_id: str
    objective: str
    loss: float
    reconstruction: float
    kl: float
    excess: float | None
    use: str
    rescored: str
    behind: str
    seeds: str
    hyperparameters: Mapping[str, Value | None]
    parameters: int | None
    train_s: float
    best_epoch: int
    epochs: int
    collapsed: bool


@dataclass(frozen=True)
class Dots:
    """The points of a class as a single SVG path, with a stroke of almost no length per point.

    Attributes:
        path: Data of the SVG path.
        colour: Index into `CLASS_COLOURS`. Classes from the eleventh on reuse the colours.
        shape: Cap of the strokes, which is the visible shape of a point.
    """

    path: str
    colour: int
    shape: Literal["round", "square"]


@dataclass(frozen=True)
class FinalistImages:
    """The images of a finalist. Fields without data are empty.

    Attributes:
        place: Place among the configurations, from 1.
        trial_id: Id of the trial.
        reconstructions: Data URL; see `Thumbnail`.
        samples: Data URL; see `Thumbnail`.
        dots: Latent means of validation images, in a square with a side of `STEPS`.
        points: Number of latent means.
        axis_names: Names of the horizontal and the vertical axis.
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
        names: Names of the hyperparameters that differ among the finalists.
        shared: Values of the hyperparameters that are the same for all, by name.
        rows: Finalists in order, the winner first.
        certainty: Sentence that says whether the winner's lead is larger than the noise.
        rescored_on: Numbers of samples and images of the rescoring; empty without rescoring.
        retrained: Numbers of seeds and epochs of the retraining; empty without retraining.
        measure: Title of the measure that decides; empty if it is the loss.
        objective: Title of the objective; empty if it is the loss.
        images: Images of the finalists after the winner, if they were kept.
        classes: Class name of each element of `FinalistImages.dots`; empty without labels.
        continues: True if one of the trials continues another one.
    """

    names: tuple[str, ...]
    shared: Mapping[str, Value | None]
    rows: tuple[Finalist, ...]
    certainty: str
    rescored_on: str
    retrained: str
    measure: str
    objective: str
    images: tuple[FinalistImages, ...]
    classes: tuple[str, ...]
    continues: bool


def compute_finalists(study: Study) -> Finalists | None:
    """Collects the finalists of a search in order; None if there are fewer than two."""
    trials = _in_order(study)
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
    images = (_collect_images(study, row, probe_images, labels) for row in rows[1:])
    return Finalists(
        names=names,
        shared=shared,
        rows=rows,
        certainty=describe_certainty(study).replace("+-", "\N{PLUS-MINUS SIGN}"),
        rescored_on=count_samples(study),
        retrained=_retrained(study),
        measure="" if study.measure.is_loss else study.measure.title,
        objective="" if study.objective.is_loss else study.objective.title,
        images=tuple(one for one in images if one),
        classes=classes,
        continues=any(trial.parent is not None for trial in trials),
    )


def list_pictured(study: Study) -> frozenset[str]:
    """Lists the ids of the trials whose images `Finalists.images` shows."""
    return frozenset(trial.trial_id for trial in _in_order(study)[1:])


def _in_order(study: Study) -> list[Trial]:
    ids = {trial.trial_id for trial in study.finalists}
    return [trial for trial in study.preference if trial.trial_id in ids]


def place_dots(latent: Latent, labels: Sequence[int] | None) -> tuple[Dots, ...]:
    """Builds one path for the points of each class.

    Args:
        latent: Points to draw.
        labels: Class index of each point, or None.
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
        raise ValueError(f"Trial {trial.trial_id} is ranked but has no epoch.")
    score = find_score(study, trial)
    return Finalist(
        place=place,
        trial_id=trial.trial_id,
        objective="" if study.objective.is_loss else rough(study.objective, trial.score),
        loss=best.val_loss,
        reconstruction=best.val_reconstruction_loss,
        kl=best.val_kl_loss,
        excess=None if study.entropy_floor is None else best.val_loss - study.entropy_floor,
        use=plus_minus_of(study.measure, score.use) if score and score.use else "",
        rescored=plus_minus(score.negative_elbo) if score else "",
        behind=_behind(study, trial, score),
        seeds=_seeds(study, trial),
        hyperparameters={name: trial.hyperparameters.get(name) for name in names},
        parameters=trial.parameters,
        train_s=sum(part.duration_s for part in study.lineage(trial)),
        best_epoch=best.epoch,
        epochs=trial.epoch_to,
        collapsed=bool(trial.collapsed),
    )


def _behind(study: Study, trial: Trial, score: FinalistScore | None) -> str:
    """The difference of a finalist to the best one as text, or a dash for the best one."""
    if study.rescored is None:
        lowest = study.finalists[0]
        if trial == lowest or trial.score is None or lowest.score is None:
            return NOTHING
        objective = study.objective
        behind = objective.lead(lowest.score, trial.score)
        return nats(behind, 2) if objective.is_loss else objective.difference(behind)
    if score is None or score == study.rescored.rescoring.finalists[0]:
        return NOTHING
    if score.use_behind:
        return plus_minus_of(study.measure, score.use_behind, is_difference=True)
    return plus_minus(score.behind)


def _seeds(study: Study, trial: Trial) -> str:
    scores = study.retrained.retraining.finalists if study.retrained else ()
    mean = next((one.mean for one in scores if one.trial_id == trial.trial_id), None)
    if mean and not math.isfinite(mean.mean):
        return "failed"
    return plus_minus(mean) if study.measure.is_loss else plus_minus_of(study.measure, mean)


def _retrained(study: Study) -> str:
    if study.retrained is None:
        return ""
    retraining = study.retrained.retraining
    seeds = counted(len(retraining.seeds), "other seed")
    return f"{seeds} for {counted(retraining.epochs, 'epoch')} each"


def _collect_images(
    study: Study, row: Finalist, probe_images: ProbeImages | None, labels: Sequence[int] | None
) -> FinalistImages | None:
    thumbnail = make_thumbnail(study, study.trial(row.trial_id), probe_images)
    if thumbnail is None:
        return None
    latent = thumbnail.latent
    return FinalistImages(
        place=row.place,
        trial_id=row.trial_id,
        reconstructions=thumbnail.reconstructions,
        samples=thumbnail.samples,
        dots=place_dots(latent, labels) if latent else (),
        points=len(latent.x) if latent else 0,
        axis_names=latent.axis_names if latent else (),
    )
