"""Compresses the images of all trials for the page, the best trials first, within a budget."""

import io
import json
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaetune.report.charts.clusters import ClustersInfo, compute_clusters
from vaetune.report.charts.data_urls import smaller_data_url
from vaetune.report.charts.grids import GridInfo, compute_reconstructions, compute_samples
from vaetune.report.text.units import nats
from vaetune.study import PICTURES_NAME, Artifacts, ProbeImages, Study, Trial, reduce_images

BUDGET_BYTES = 1_200_000
"""Limit of the JSON in bytes. It keeps the page of a thousand trials below five million bytes."""

LEVELS = 32
"""Levels of brightness in a PNG file. They look almost like 256 levels and take half the bytes."""

LONGEST_SIDE = 64
"""Longest side of an image in pixels. Larger images are reduced by averaging."""

STEPS = 255
"""Largest coordinate of a point."""

_GAP = 1
"""Value of the transparent gap between images. No level of brightness has this value."""

_ROUNDED = np.rint(np.rint(np.linspace(0, LEVELS - 1, 256)) * (255 / (LEVELS - 1))).astype(np.uint8)


@dataclass(frozen=True)
class Latent:
    """Latent means of the validation images, in integer coordinates from 0 to `STEPS`.

    Both axes have the same scale, and the shorter one is centred. A single latent dimension is
    shown along x; y then shows the class, with jitter to separate the points.

    Attributes:
        x: Horizontal coordinate of each point.
        y: Vertical coordinate of each point, upwards.
        axis_names: Names of the axes with the range of their latent coordinates, because the points
            of a collapsed posterior fill the square as well.
    """

    x: tuple[int, ...]
    y: tuple[int, ...]
    axis_names: tuple[str, ...]


@dataclass(frozen=True)
class Thumbnail:
    """The images of one trial as data URLs, PNG files without enlargement or smaller WebP files.

    Attributes:
        trial_id: Id of the trial.
        reconstructions: Row of originals above a row of reconstructions; empty if the originals
            are missing, or if the page has it elsewhere.
        samples: Decoded samples of the prior, ten per row; empty if the page has them elsewhere.
        latent: Latent means, or None if one of them is not finite.
    """

    trial_id: str
    reconstructions: str
    samples: str
    latent: Latent | None


@dataclass(frozen=True)
class Thumbnails:
    """The images of the trials of a search.

    Attributes:
        trials: Images of the completed trials, best first, then of all others.
        labels: Index into `class_names` for each point, the same for all trials; None without
            labels.
        class_names: Names of the classes of the points.
        left_out: Number of trials with images that exceeded the budget.
    """

    trials: tuple[Thumbnail, ...]
    labels: tuple[int, ...] | None
    class_names: tuple[str, ...]
    left_out: int


def collect_thumbnails(
    study: Study, elsewhere: Container[str] = (), budget_bytes: int = BUDGET_BYTES
) -> Thumbnails:
    """Collects the images of trials, best first, until the budget is used up.

    Args:
        study: Search to show.
        elsewhere: Ids of trials whose pictures the page has already; they are left out here.
        budget_bytes: Limit of the JSON for all trials together, in bytes.
    """
    probe_images = ProbeImages.load(study.folder)
    labels, class_names = name_points(study, probe_images)
    used_bytes = _json_bytes([labels, class_names])
    thumbnails: list[Thumbnail] = []
    remaining = _best_first(study)
    for trial in remaining:
        thumbnail = make_thumbnail(study, trial, probe_images)
        if thumbnail is None:
            continue
        if trial.trial_id in elsewhere:
            thumbnail = replace(thumbnail, reconstructions="", samples="")
        used_bytes += _json_bytes(thumbnail)
        if used_bytes > budget_bytes:
            left_out = 1 + sum(_has_artifacts(study, rest) for rest in remaining)
            return Thumbnails(tuple(thumbnails), labels, class_names, left_out)
        thumbnails.append(thumbnail)
    return Thumbnails(tuple(thumbnails), labels, class_names, 0)


def name_points(
    study: Study, probe_images: ProbeImages | None
) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    """Finds the class of each point.

    Returns:
        Index of each point into the names, or None without labels; and the names of the classes.
    """
    if probe_images is None or probe_images.labels is None:
        return None, ()
    points = np.zeros((len(probe_images.labels), 1))  # Only the labels matter here.
    info = compute_clusters(points, probe_images.labels, study.started.data.class_names)
    return tuple(info.members.tolist()), info.classes


def make_thumbnail(
    study: Study, trial: Trial, probe_images: ProbeImages | None
) -> Thumbnail | None:
    """Compresses the images of a trial; None if they were not kept or are damaged.

    Args:
        study: Search of the trial.
        trial: Trial to show.
        probe_images: Validation images of the search, or None.
    """
    artifacts = Artifacts.load(study.trial_folder(trial.trial_id))
    if artifacts is None:
        return None
    show = study.started.data.show
    samples = reduce_images(artifacts.prior_samples, LONGEST_SIDE)
    reconstructions = ""
    if probe_images is not None and probe_images.originals.shape == artifacts.reconstructions.shape:
        originals = reduce_images(probe_images.originals, LONGEST_SIDE)
        theirs = reduce_images(artifacts.reconstructions, LONGEST_SIDE)
        reconstructions = _data_url(compute_reconstructions(originals, theirs, show))
    return Thumbnail(
        trial_id=trial.trial_id,
        reconstructions=reconstructions,
        samples=_data_url(compute_samples(samples, show=show)),
        latent=place_points(artifacts.z_mean, probe_images.labels if probe_images else None),
    )


def place_points(z_mean: NDArray[np.float32], labels: NDArray[np.int64] | None) -> Latent | None:
    """Projects latent means with `compute_clusters` and rounds them to integer coordinates.

    Args:
        z_mean: Latent means (points, latent_dim).
        labels: Class indices (points,), or None.

    Returns:
        None if there are no points, or if one is not finite, because labels would then belong to
        the wrong points.
    """
    info = compute_clusters(z_mean, labels, None)
    count = len(z_mean) if labels is None else min(len(z_mean), len(labels))
    if not count or len(info.points) < count:
        return None
    if len(info.axis_names) == 1:
        # Seeded jitter across the strip of a class only separates the points.
        strips = info.members + np.random.default_rng(0).uniform(-0.35, 0.35, count)
        x, y = _scale_to_steps(info.points), _scale_to_steps(strips[:, None])
        return Latent(_integers(x[:, 0]), _integers(y[:, 0]), (_ranges(info)[0], "class"))
    steps = _scale_to_steps(info.points)
    return Latent(_integers(steps[:, 0]), _integers(steps[:, 1]), _ranges(info))


def _ranges(info: ClustersInfo) -> tuple[str, ...]:
    low, high = info.points.min(axis=0), info.points.max(axis=0)
    return tuple(
        f"{name}, {nats(float(low[axis]), 2)} to {nats(float(high[axis]), 2)}"
        for axis, name in enumerate(info.axis_names)
    )


def _scale_to_steps(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales all columns by the same factor, so that the longest fills the range; centres each."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = max(float((high - low).max()), np.finfo(np.float64).tiny)
    steps: NDArray[np.float64] = np.rint(((points - (low + high) / 2) / extent + 0.5) * STEPS)
    return steps


def _integers(column: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(column.astype(int).tolist())


def _best_first(study: Study) -> Iterator[Trial]:
    """Iterates over the completed trials, best first, then over all others."""
    ranked = {trial.trial_id for trial in study.ranking}
    others = [trial for trial in study.trials if trial.trial_id not in ranked]
    return iter((*study.ranking, *others))


def _has_artifacts(study: Study, trial: Trial) -> bool:
    return (study.trial_folder(trial.trial_id) / PICTURES_NAME).is_file()


def _data_url(grid: GridInfo) -> str:
    image = grid.image
    is_grey = grid.tiles.shape[-1] < 3
    pixels = _ROUNDED[image[..., 0 if is_grey else slice(3)]]
    pixels[image[..., 3] == 0] = _GAP
    buffer = io.BytesIO()
    # The highest compression level would save 3% of the bytes and take four times as long.
    Image.fromarray(pixels).save(
        buffer, format="PNG", compress_level=6, transparency=_GAP if is_grey else (_GAP,) * 3
    )
    return smaller_data_url(buffer.getvalue(), Image.fromarray(image))


def _json_bytes(value: object) -> int:
    # `dataclasses.asdict` copies each number, which takes longer than all compression.
    return len(json.dumps(value, separators=(",", ":"), default=vars))
