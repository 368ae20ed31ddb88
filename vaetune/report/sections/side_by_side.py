"""Pairs the images of the winner with those of the Keras example, for the page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from vaetune.report.charts.clusters import compute_clusters, draw_clusters
from vaetune.report.charts.data_urls import grid_to_data_url
from vaetune.report.charts.grids import (
    GridInfo,
    compute_manifold,
    compute_reconstructions,
    compute_samples,
)
from vaetune.report.charts.latent_map import draw_clusters_with_thumbnails, to_thumbnails
from vaetune.report.charts.svg import to_svg
from vaetune.study import Artifacts, DataSummary, ProbeImages, Study

Role = Literal["winner", "reference"]

ROLE_NAMES: Mapping[Role, str] = {"winner": "Winner", "reference": "Keras example"}


@dataclass(frozen=True)
class Side:
    """One model's side of a pair: a PNG, a chart, or the reason why there is neither.

    Attributes:
        role: Role of the model.
        source: Data URL of the PNG, or empty.
        alt: Alternative text of the PNG.
        chart: SVG element, or None.
        missing: Reason why there is neither, or empty.
    """

    role: Role
    source: str = ""
    alt: str = ""
    chart: Markup | None = None
    missing: str = ""


@dataclass(frozen=True)
class Pair:
    """One kind of images for the winner and the Keras example.

    Attributes:
        title: Title of the pair.
        caption: Explanation of the images.
        sides: Sides of the models.
    """

    title: str
    caption: str
    sides: tuple[Side, ...]

    @property
    def shown(self) -> tuple[Side, ...]:
        """The sides with an image or a chart."""
        return tuple(side for side in self.sides if not side.missing)

    @property
    def missing(self) -> tuple[Side, ...]:
        """The sides without an image or a chart."""
        return tuple(side for side in self.sides if side.missing)


@dataclass(frozen=True, eq=False)
class _Model:
    """The winner of a study with its stored images.

    Attributes:
        role: Role of the model on the page.
        title: Name of the model within a sentence.
        name: Prefix of the ids of its charts.
        data: Summary of the study's data.
        probe_images: Validation images, or None.
        artifacts: Images and latent means that the model made.
    """

    role: Role
    title: str
    name: str
    data: DataSummary
    probe_images: ProbeImages | None
    artifacts: Artifacts


def pair_pictures(study: Study, baseline: Study | None, name: str) -> tuple[Pair, ...]:
    """Pairs the images of the winner and the Keras example.

    Args:
        study: Search to show.
        baseline: Run of the Keras example, or None.
        name: Prefix of the ids of the charts.

    Returns:
        A pair for each kind of images that at least one of the models has.
    """
    models: dict[Role, _Model | None] = {"winner": _model(study, "winner", name)}
    if baseline and baseline.winner:
        models["reference"] = _model(baseline, "reference", name, ProbeImages.load(study.folder))
    pairs = (
        Pair(title, caption, tuple(show(m) if m else _not_kept(r) for r, m in models.items()))
        for title, caption, show in _KINDS
    )
    return tuple(pair for pair in pairs if pair.shown)


def _model(
    study: Study, role: Role, name: str, fallback: ProbeImages | None = None
) -> _Model | None:
    """Loads the images of the winner of a study; None if there are none.

    Args:
        study: Search or baseline.
        role: Role of the winner on the page.
        name: Prefix of the ids of its charts.
        fallback: Probe images of another study on the same data, in case this one kept none.
    """
    winner = study.winner
    artifacts = Artifacts.load(study.trial_folder(winner.trial_id)) if winner else None
    if artifacts is None:
        return None
    title = "the winner" if role == "winner" else f"the {study.reference_name}"
    probe_images = ProbeImages.load(study.folder) or fallback
    return _Model(role, title, f"{name}-{role}", study.started.data, probe_images, artifacts)


def _reconstructions(model: _Model) -> Side:
    probe_images, reconstructions = model.probe_images, model.artifacts.reconstructions
    if probe_images is None or probe_images.originals.shape != reconstructions.shape:
        return _not_kept(model.role)
    grid = compute_reconstructions(probe_images.originals, reconstructions, model.data.show)
    return _image(
        model,
        grid,
        f"{grid.tiles.shape[1]} images above the reconstructions of {model.title}",
    )


def _samples(model: _Model) -> Side:
    samples = model.artifacts.prior_samples
    grid = compute_samples(samples, show=model.data.show)
    count = grid.tiles.shape[0] * grid.tiles.shape[1]
    alt = f"{count} samples from the prior, decoded by {model.title}"
    return _image(model, grid, alt)


def _manifold(model: _Model) -> Side:
    manifold, dimensions = model.artifacts.manifold, model.artifacts.z_mean.shape[1]
    if manifold is None:
        return Side(
            model.role,
            missing=f"not available, because the model has {dimensions} latent dimensions.",
        )
    rows, columns = manifold.shape[:2]
    alt = f"{rows} by {columns} images over the two latent dimensions of {model.title}"
    return _image(model, compute_manifold(manifold, model.data.show), alt)


def _clusters(model: _Model) -> Side:
    labels = model.probe_images.labels if model.probe_images else None
    info = compute_clusters(model.artifacts.z_mean, labels, model.data.class_names)
    coloured = f", coloured by {len(info.classes)} classes" if info.classes else ""
    thumbnails = model.probe_images.thumbnails if model.probe_images else None
    is_whole = len(info.points) == len(model.artifacts.z_mean)
    label = f"Scatter of {len(info.points)} latent means of {model.title}{coloured}"
    if thumbnails is None or not is_whole:  # Thumbnails would belong to other points.
        figure = draw_clusters(info)
    else:
        pictures = to_thumbnails(thumbnails, model.data.show)
        figure = draw_clusters_with_thumbnails(info, pictures)
        label += ", and images at some of them"
    return Side(model.role, chart=Markup(to_svg(figure, model.name, label)))


def _image(model: _Model, grid: GridInfo, alt: str) -> Side:
    return Side(model.role, source=grid_to_data_url(grid), alt=alt)


def _not_kept(role: Role) -> Side:
    return Side(role, missing="no images were kept.")


_KINDS: tuple[tuple[str, str, Callable[[_Model], Side]], ...] = (
    (
        "Reconstructions",
        "Validation images above their reconstructions.",
        _reconstructions,
    ),
    ("Samples", "Images decoded from random samples of the prior.", _samples),
    (
        "Latent space",
        "Latent means of validation images, with the images where there is room. More than two "
        "latent dimensions are projected onto the first two principal components.",
        _clusters,
    ),
    (
        "Manifold",
        "Images decoded from a grid over the two latent dimensions, in steps of equal prior "
        "probability.",
        _manifold,
    ),
)
