"""The winner beside the configurations that came next: by how little, and what they draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vaetune.figures import CLASS_COLOURS
from vaetune.pictures import Gallery
from vaetune.report.answer import hyperparameter_names
from vaetune.report.thumbnails import STEPS, Latent, make_thumbnail, name_points
from vaetune.report.wording import nats
from vaetune.spec import Number
from vaetune.study import Study, Trial

RUNNERS_UP = 4
"""Configurations that are held against the winner's."""


@dataclass(frozen=True)
class Finalist:
    """The best trial of a configuration; losses are in nats per image, of its best epoch.

    Attributes:
        place: Among configurations, from 1.
        excess: The loss above the data's entropy floor.
        behind: How much higher than the winner's loss it is.
        hyperparameters: By name, those that differ among the finalists.
        train_s: Wall time, with that of the trials that it goes on from.
        epochs: The last one that it trained.
    """

    place: int
    trial_id: str
    loss: float
    reconstruction: float
    kl: float
    excess: float
    behind: float
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
        shape: How a stroke ends, which is all that is seen of it.
    """

    path: str
    colour: int
    shape: Literal["round", "square"]


@dataclass(frozen=True)
class Drawings:
    """What a finalist draws; see `Thumbnail`. What was not kept is empty.

    Attributes:
        dots: Where it puts validation images, in a square of `STEPS`.
        points: How many of them.
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
        certainty: Whether the winner's lead is larger than the noise, in a sentence.
        drawings: Of those after the winner that have pictures.
        classes: What each of the dots stands for; empty without labels.
    """

    names: tuple[str, ...]
    shared: Mapping[str, Number | None]
    rows: tuple[Finalist, ...]
    certainty: str
    drawings: tuple[Drawings, ...]
    classes: tuple[str, ...]


def compute_finalists(study: Study) -> Finalists | None:
    """The winner and the best trials of the next configurations; None without a second one."""
    best: dict[int, Trial] = {}
    for trial in study.ranking:
        best.setdefault(trial.configuration, trial)
    trials = list(best.values())[: 1 + RUNNERS_UP]
    if len(trials) < 2:
        return None
    values = {
        name: {trial.hyperparameters.get(name) for trial in trials}
        for name in hyperparameter_names(study)
    }
    names = tuple(name for name, found in values.items() if len(found) > 1)
    shared = {name: value for name, (value, *others) in values.items() if not others}
    rows = tuple(
        _finalist(study, place, trial, trials[0], names)
        for place, trial in enumerate(trials, start=1)
    )
    gallery = Gallery.load(study.folder)
    labels, classes = name_points(study, gallery)
    drawn = (_draw(study, row, gallery, labels) for row in rows[1:])
    drawings = tuple(drawing for drawing in drawn if drawing)
    return Finalists(names, shared, rows, _certainty(rows[1].behind), drawings, classes)


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


def _finalist(
    study: Study, place: int, trial: Trial, winner: Trial, names: Sequence[str]
) -> Finalist:
    best, lowest = trial.best, winner.best
    if best is None or lowest is None:
        raise ValueError(f"trial {trial.trial_id} is ranked without an epoch")
    return Finalist(
        place=place,
        trial_id=trial.trial_id,
        loss=best.val_loss,
        reconstruction=best.val_reconstruction_loss,
        kl=best.val_kl_loss,
        excess=best.val_loss - study.started.data.entropy_floor,
        behind=best.val_loss - lowest.val_loss,
        hyperparameters={name: trial.hyperparameters.get(name) for name in names},
        parameters=trial.parameters,
        train_s=sum(part.duration_s for part in study.lineage(trial)),
        best_epoch=best.epoch,
        epochs=trial.epoch_to,
    )


def _certainty(lead: float) -> str:
    written = nats(lead, 2)
    amount = "less than 0.01" if written == nats(0.0, 2) else written
    return (
        f"Whether the lead of {amount} nats over the runner-up is larger than the noise is not "
        "assessed: the finalists have not been rescored."
    )


def _draw(
    study: Study, row: Finalist, gallery: Gallery | None, labels: Sequence[int] | None
) -> Drawings | None:
    thumbnail = make_thumbnail(study, study.trial(row.trial_id), gallery)
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
