"""Every trial's pictures in few bytes, the best trial's first, as far as a page has room."""

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaetune.report.charts.clusters import ClustersInfo, compute_clusters
from vaetune.report.charts.grids import GridInfo, compute_reconstructions, compute_samples
from vaetune.report.text.units import nats
from vaetune.study import PICTURES_NAME, Artifacts, Pixels, ProbeImages, Study, Trial

BUDGET_BYTES = 1_200_000
"""Of JSON. With it the page of a search of a thousand trials stays below five million."""

LEVELS = 32
"""Steps of brightness: half the bytes of 256 steps, with hardly a visible difference."""

LONGEST_SIDE = 64
"""Pixels. Larger images are averaged down."""

STEPS = 255
"""The highest coordinate of a point."""

_GAP = 1  # between images, transparent: no step of brightness has this value

_ROUNDED = np.rint(np.rint(np.linspace(0, LEVELS - 1, 256)) * (255 / (LEVELS - 1))).astype(np.uint8)


@dataclass(frozen=True)
class Latent:
    """Where a model puts the validation images, in whole steps from 0 to `STEPS`.

    Both axes have one scale, so that distances are true, and the shorter one is centred. A
    single latent dimension lies along x alone; y is then the class, and only keeps points apart.

    Attributes:
        x: One for each point.
        y: One for each point, rising upwards.
        axis_names: Names of x and y with the lowest and highest latent coordinate: a collapsed
            posterior fills the square as well as any other.
    """

    x: tuple[int, ...]
    y: tuple[int, ...]
    axis_names: tuple[str, ...]


@dataclass(frozen=True)
class Thumbnail:
    """One trial's pictures: data URLs of PNG files, one pixel an image's pixel.

    Attributes:
        reconstructions: A row of originals above a row of reconstructions; empty if the
            originals are lost.
        samples: Samples from the prior, ten per row.
        latent: None if a latent mean is not finite.
    """

    trial_id: str
    reconstructions: str
    samples: str
    latent: Latent | None


@dataclass(frozen=True)
class Thumbnails:
    """The pictures of a search's trials.

    Attributes:
        trials: Completed ones first, best first.
        labels: The index into `class_names` of each point, the same for every trial; None
            without labels.
        class_names: Names of the classes of the points.
        left_out: Trials with pictures for which there was no room.
    """

    trials: tuple[Thumbnail, ...]
    labels: tuple[int, ...] | None
    class_names: tuple[str, ...]
    left_out: int


def collect_thumbnails(study: Study, budget_bytes: int = BUDGET_BYTES) -> Thumbnails:
    """Gathers the pictures of the trials that have any, until there is no more room.

    Args:
        study: The search.
        budget_bytes: Maximum size of the JSON of all thumbnails, in bytes.
    """
    probe_images = ProbeImages.load(study.folder)
    labels, class_names = name_points(study, probe_images)
    spent = _json_bytes([labels, class_names])
    shown: list[Thumbnail] = []
    waiting = _best_first(study)
    for trial in waiting:
        thumbnail = make_thumbnail(study, trial, probe_images)
        if thumbnail is None:
            continue
        spent += _json_bytes(thumbnail)
        if spent > budget_bytes:
            left_out = 1 + sum(_has_pictures(study, rest) for rest in waiting)
            return Thumbnails(tuple(shown), labels, class_names, left_out)
        shown.append(thumbnail)
    return Thumbnails(tuple(shown), labels, class_names, 0)


def name_points(
    study: Study, probe_images: ProbeImages | None
) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    """The class of each point, as an index into the names that follow; None without labels."""
    if probe_images is None or probe_images.labels is None:
        return None, ()
    anywhere = np.zeros((len(probe_images.labels), 1))
    info = compute_clusters(anywhere, probe_images.labels, study.started.data.class_names)
    return tuple(info.members.tolist()), info.classes


def make_thumbnail(
    study: Study, trial: Trial, probe_images: ProbeImages | None
) -> Thumbnail | None:
    """A trial's pictures in few bytes; None if they were not kept or are damaged."""
    pictures = Artifacts.load(study.trial_folder(trial.trial_id))
    if pictures is None:
        return None
    reconstructions = ""
    if probe_images is not None and probe_images.originals.shape == pictures.reconstructions.shape:
        both = (_small(probe_images.originals), _small(pictures.reconstructions))
        reconstructions = _data_url(compute_reconstructions(*both))
    return Thumbnail(
        trial_id=trial.trial_id,
        reconstructions=reconstructions,
        samples=_data_url(compute_samples(_small(pictures.prior_samples))),
        latent=place_points(pictures.z_mean, probe_images.labels if probe_images else None),
    )


def place_points(z_mean: NDArray[np.float32], labels: NDArray[np.int64] | None) -> Latent | None:
    """The projection of latent means that `compute_clusters` finds, in whole steps.

    Args:
        z_mean: (points, latent_dim).
        labels: Class indices (points,), or None.

    Returns:
        Where the points are; None if there are none, or if one is not finite: those that follow
        would be taken for others.
    """
    info = compute_clusters(z_mean, labels, None)
    count = len(z_mean) if labels is None else min(len(z_mean), len(labels))
    if not count or len(info.points) < count:
        return None
    if len(info.axis_names) == 1:
        # The scatter across a strip only keeps points apart and is the same each time.
        strips = info.members + np.random.default_rng(0).uniform(-0.35, 0.35, count)
        x, y = _whole_steps(info.points), _whole_steps(strips[:, None])
        return Latent(_numbers(x[:, 0]), _numbers(y[:, 0]), (_ranges(info)[0], "class"))
    steps = _whole_steps(info.points)
    return Latent(_numbers(steps[:, 0]), _numbers(steps[:, 1]), _ranges(info))


def _ranges(info: ClustersInfo) -> tuple[str, ...]:
    low, high = info.points.min(axis=0), info.points.max(axis=0)
    return tuple(
        f"{name}, {nats(float(low[axis]), 2)} to {nats(float(high[axis]), 2)}"
        for axis, name in enumerate(info.axis_names)
    )


def _whole_steps(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales all columns alike, so that the longest fills the range, and centres each."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = max(float((high - low).max()), np.finfo(np.float64).tiny)
    steps: NDArray[np.float64] = np.rint(((points - (low + high) / 2) / extent + 0.5) * STEPS)
    return steps


def _numbers(column: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(column.astype(int).tolist())


def _best_first(study: Study) -> Iterator[Trial]:
    """The completed trials, best first, then all others."""
    ranked = {trial.trial_id for trial in study.ranking}
    others = [trial for trial in study.trials if trial.trial_id not in ranked]
    return iter((*study.ranking, *others))


def _has_pictures(study: Study, trial: Trial) -> bool:
    return (study.trial_folder(trial.trial_id) / PICTURES_NAME).is_file()


def _small(images: Pixels) -> Pixels:
    """Averages images (n, height, width, channels) down until no side is too long."""
    count, height, width, channels = images.shape
    block = -(-max(height, width) // LONGEST_SIDE)
    if block == 1:
        return images
    rows, columns = max(1, height // block), max(1, width // block)
    cut = images[:, : rows * block, : columns * block]
    blocks = cut.reshape(count, rows, -1, columns, cut.shape[2] // columns, channels)
    averaged: Pixels = blocks.mean(axis=(2, 4)).astype(np.uint8)
    return averaged


def _data_url(grid: GridInfo) -> str:
    image = grid.image
    is_grey = grid.tiles.shape[-1] < 3
    pixels = _ROUNDED[image[..., 0 if is_grey else slice(3)]]
    pixels[image[..., 3] == 0] = _GAP
    buffer = io.BytesIO()
    # The best compression would save three bytes in a hundred and take four times as long.
    Image.fromarray(pixels).save(
        buffer, format="PNG", compress_level=6, transparency=_GAP if is_grey else (_GAP,) * 3
    )
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _json_bytes(value: object) -> int:
    # `dataclasses.asdict` copies each number, which takes longer than all pictures do.
    return len(json.dumps(value, separators=(",", ":"), default=vars))
