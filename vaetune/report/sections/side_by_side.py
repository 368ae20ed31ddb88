"""The winner's pictures next to the reference's, ready for a page."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from vaetune.report.charts.clusters import compute_clusters, draw_clusters
from vaetune.report.charts.grids import (
    GridInfo,
    compute_manifold,
    compute_reconstructions,
    compute_samples,
    grid_to_png,
)
from vaetune.report.charts.svg import to_svg
from vaetune.study import Artifacts, DataSummary, ProbeImages, Study

Role = Literal["winner", "reference"]

ROLE_NAMES: Mapping[Role, str] = {"winner": "Winner", "reference": "Keras example"}


@dataclass(frozen=True)
class Side:
    """One model's half of a pair: a PNG, a chart, or the reason why there is neither.

    Attributes:
        source: A data URL.
        alt: Text in place of the PNG, for screen readers.
        chart: An SVG element.
        missing: The reason.
    """

    role: Role
    source: str = ""
    alt: str = ""
    chart: Markup | None = None
    missing: str = ""


@dataclass(frozen=True)
class Pair:
    """One kind of picture, of the winner and of the reference."""

    title: str
    caption: str
    sides: tuple[Side, ...]

    @property
    def shown(self) -> tuple[Side, ...]:
        return tuple(side for side in self.sides if not side.missing)

    @property
    def missing(self) -> tuple[Side, ...]:
        return tuple(side for side in self.sides if side.missing)


@dataclass(frozen=True, eq=False)
class _Model:
    """The winner of a study, with what it drew."""

    role: Role
    name: str
    data: DataSummary
    probe_images: ProbeImages | None
    pictures: Artifacts


def pair_pictures(study: Study, baseline: Study | None, name: str) -> tuple[Pair, ...]:
    """Shows what the winner and the reference draw.

    Args:
        study: The search.
        baseline: Its reference, if there is one.
        name: Starts the ids of the charts.

    Returns:
        A pair for each kind of picture that at least one of the models has.
    """
    models: dict[Role, _Model | None] = {"winner": _model(study, "winner", name)}
    if baseline and baseline.winner:
        models["reference"] = _model(baseline, "reference", name, ProbeImages.load(study.folder))
    pairs = (
        Pair(title, caption, tuple(show(m) if m else _not_kept(r) for r, m in models.items()))
        for title, caption, show in _KINDS
    )
    return tuple(pair for pair in pairs if pair.shown)


def _model(study: Study, role: Role, name: str, alike: ProbeImages | None = None) -> _Model | None:
    """The winner of a study.

    Args:
        study: A search or a baseline.
        role: Role of the winner on the page.
        name: Starts the ids of its charts.
        alike: The gallery of another study of the same images, if this one kept none.
    """
    winner = study.winner
    pictures = Artifacts.load(study.trial_folder(winner.trial_id)) if winner else None
    if pictures is None:
        return None
    probe_images = ProbeImages.load(study.folder) or alike
    return _Model(role, f"{name}-{role}", study.started.data, probe_images, pictures)


def _reconstructions(model: _Model) -> Side:
    probe_images, reconstructions = model.probe_images, model.pictures.reconstructions
    if probe_images is None or probe_images.originals.shape != reconstructions.shape:
        return _not_kept(model.role)
    grid = compute_reconstructions(probe_images.originals, reconstructions)
    return _image(
        model,
        grid,
        f"{len(reconstructions)} images above {_RUN_NAMES[model.role]}'s reconstructions",
    )


def _samples(model: _Model) -> Side:
    samples = model.pictures.prior_samples
    alt = f"{len(samples)} samples from {_RUN_NAMES[model.role]}'s prior"
    return _image(model, compute_samples(samples), alt)


def _manifold(model: _Model) -> Side:
    manifold, dimensions = model.pictures.manifold, model.pictures.z_mean.shape[1]
    if manifold is None:
        return Side(model.role, missing=f"{dimensions} latent dimensions make no flat map.")
    rows, columns = manifold.shape[:2]
    alt = f"{rows} by {columns} images over the two latent dimensions of {_RUN_NAMES[model.role]}"
    return _image(model, compute_manifold(manifold), alt)


def _clusters(model: _Model) -> Side:
    labels = model.probe_images.labels if model.probe_images else None
    info = compute_clusters(model.pictures.z_mean, labels, model.data.class_names)
    coloured = f", coloured by {len(info.classes)} classes" if info.classes else ""
    said = f"Scatter of {len(info.points)} latent means of {_RUN_NAMES[model.role]}{coloured}"
    return Side(model.role, chart=Markup(to_svg(draw_clusters(info), model.name, said)))


def _image(model: _Model, grid: GridInfo, alt: str) -> Side:
    encoded = base64.b64encode(grid_to_png(grid)).decode()
    return Side(model.role, source=f"data:image/png;base64,{encoded}", alt=alt)


_RUN_NAMES: Mapping[Role, str] = {"winner": "the winner", "reference": "the Keras example"}


def _not_kept(role: Role) -> Side:
    return Side(role, missing="its pictures were not kept.")


_KINDS: tuple[tuple[str, str, Callable[[_Model], Side]], ...] = (
    (
        "Reconstructions",
        "Validation images, and below them what the model makes of them.",
        _reconstructions,
    ),
    ("Samples", "Decoded draws from the prior.", _samples),
    (
        "Latent space",
        "Where the model puts validation images; more than two latent dimensions are projected "
        "onto their first two principal components.",
        _clusters,
    ),
    (
        "Manifold",
        "Decoded from a grid over the prior in equal steps of probability.",
        _manifold,
    ),
)
