"""Draws a map of images: a point for each, and thumbnails where they do not overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from vaetune.report.charts.channels import shown_channels, to_pictures
from vaetune.report.charts.clusters import (
    CLASS_COLOURS,
    ClustersInfo,
    compute_clusters,
    draw_class,
    draw_clusters,
)
from vaetune.report.charts.style import OTHER, add_legend, chart_style, new_chart, set_text
from vaetune.study import Pixels

SIDES = (1 / 26, 1 / 10)
"""Longer side of a thumbnail of many and of few images, as a share of the map."""

_GAP = 1.08
"""Smallest distance of two thumbnails, in thumbnails."""

_PIXELS = 96
"""Longest side of a thumbnail, in pixels of the image."""

_SIDE_IN_CHART = 1 / 17
"""Longer side of a thumbnail in a chart of clusters, as a share of the chart."""

_MOST_CANDIDATES = 50_000
"""Number of images among which those with a thumbnail are chosen."""


@dataclass(frozen=True, eq=False)
class MapInfo:
    """A map of images.

    Attributes:
        clusters: Points of the images, with their classes.
        places: Points in the unit square of the map, (n, 2).
        shown: Indices of the points with a thumbnail.
        rows: Number of the image of each point of `shown`.
        thumbnail: Width and height of a thumbnail, as shares of the map.
    """

    clusters: ClustersInfo
    places: NDArray[np.float64]
    shown: NDArray[np.int64]
    rows: NDArray[np.int64]
    thumbnail: tuple[float, float]


def compute_map(
    z_mean: NDArray[np.floating[Any]],
    labels: NDArray[np.int64] | None,
    class_names: Sequence[str] | None,
    ratio: float = 1.0,
) -> MapInfo:
    """Projects latent means onto a plane, and chooses images whose thumbnails do not overlap.

    Args:
        z_mean: Latent means (n, latent_dim). Rows that are not finite are left out.
        labels: Class indices (n,), or None.
        class_names: Name of each class index.
        ratio: Height of an image over its width.
    """
    finite = np.flatnonzero(np.isfinite(z_mean).all(axis=1))
    known = None if labels is None else labels[finite]
    clusters = compute_clusters(z_mean[finite], known, class_names)
    points = clusters.points
    if points.shape[1] == 1:  # Seeded jitter separates the points of a line.
        jitter = np.random.default_rng(0).uniform(-1.0, 1.0, len(points))
        points = np.column_stack([points[:, 0], jitter])
    low = points.min(axis=0, initial=np.inf)
    span = points.max(axis=0, initial=-np.inf) - low
    places = (points - low) / np.where(span > 0, span, 1.0)
    thumbnail = _size_of(ratio, len(places))
    shown = choose_apart(places, *thumbnail)
    return MapInfo(clusters, places, shown, finite[shown], thumbnail)


def choose_apart(places: NDArray[np.float64], width: float, height: float) -> NDArray[np.int64]:
    """Returns the indices of points at which rectangles do not overlap, as many as fit at random.

    Args:
        places: Points in the unit square, (n, 2).
        width: Width of a rectangle.
        height: Height of a rectangle.
    """
    order = np.random.default_rng(0).permutation(len(places))[:_MOST_CANDIDATES]
    scaled = places / (_GAP * np.array([width, height]))
    taken: dict[tuple[int, int], NDArray[np.float64]] = {}
    chosen = []
    for index in order.tolist():
        point = scaled[index]
        column, row = (int(each) for each in np.floor(point))
        around = [(column + i, row + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        others = (taken[cell] for cell in around if cell in taken)
        if all(np.abs(point - other).max() >= 1 for other in others):
            taken[column, row] = point
            chosen.append(index)
    return np.array(sorted(chosen), np.int64)


@chart_style()
def draw_map(info: MapInfo, thumbnails: Sequence[Pixels]) -> Figure:
    """Draws points coloured by class, and thumbnails framed in the colour of their class.

    Args:
        info: The map.
        thumbnails: Pictures of `to_thumbnails` of the images `info.rows`.
    """
    figure, axes = new_chart(9.0, 9.4)
    axes.set_box_aspect(1)
    axes.set(xticks=[], yticks=[])
    clusters = info.clusters
    size = float(np.clip(400 / np.sqrt(max(1, len(info.places))), 1.5, 5.0))
    handles = [
        draw_class(axes, info.places[clusters.members == index], index, size, alpha=0.6)
        for index in range(max(1, len(clusters.classes)))
    ]
    for index, picture in zip(info.shown.tolist(), thumbnails, strict=True):
        smooth = "nearest" if max(picture.shape[:2]) < _PIXELS else "antialiased"
        frame = _colour_of(clusters, index)
        _draw_thumbnail(axes, info.places[index], info.thumbnail, picture, frame, smooth)
    width, height = info.thumbnail
    axes.set(xlim=(-width, 1 + width), ylim=(-height, 1 + height))
    set_text(axes.set_xlabel, clusters.axis_names[0])
    if len(clusters.axis_names) > 1:
        set_text(axes.set_ylabel, clusters.axis_names[1])
    add_legend(figure, handles, clusters.classes, handle_width=0.8, room=95.0)
    return figure


@chart_style()
def draw_clusters_with_thumbnails(info: ClustersInfo, thumbnails: Sequence[Pixels]) -> Figure:
    """Draws the chart of `draw_clusters`, with thumbnails where they do not overlap.

    Args:
        info: Points of the images.
        thumbnails: Pictures of `to_thumbnails` of the first images.
    """
    figure = draw_clusters(info)
    figure.suppressComposite = True  # An SVG then holds each thumbnail in its own size.
    axes = figure.axes[0]
    limits = np.array([axes.get_xlim(), axes.get_ylim()])
    low, span = limits[:, 0], limits[:, 1] - limits[:, 0]
    positions = info.positions[: len(thumbnails)]
    height, width = thumbnails[0].shape[:2]
    figure.draw_without_rendering()  # It gives the axes their size.
    box = axes.get_window_extent()
    size = _fit(_SIDE_IN_CHART, height / width) * [1.0, box.width / box.height]
    for index in choose_apart((positions - low) / span, *size).tolist():
        frame = _colour_of(info, index)
        _draw_thumbnail(axes, positions[index], size * span, thumbnails[index], frame, "none")
    axes.set(xlim=limits[0], ylim=limits[1])
    return figure


def _colour_of(info: ClustersInfo, index: int) -> str:
    """Returns the colour of a point's class."""
    return CLASS_COLOURS[info.members[index] % len(CLASS_COLOURS)] if info.classes else OTHER


def _draw_thumbnail(
    axes: Any,
    centre: NDArray[np.float64],
    size: Sequence[float] | NDArray[np.float64],
    picture: Pixels,
    colour: str,
    interpolation: str,
) -> None:
    (x, y), (width, height) = centre, size
    left, bottom = x - width / 2, y - height / 2
    axes.imshow(
        picture,
        cmap="gray",
        vmin=0,
        vmax=255,
        extent=(left, left + width, bottom, bottom + height),
        aspect="auto",
        interpolation=interpolation,
        zorder=3,
    )
    frame = Rectangle((left, bottom), width, height, fill=False, edgecolor=colour, linewidth=1.4)
    frame.set_zorder(4)
    axes.add_patch(frame)


def _size_of(ratio: float, count: int) -> tuple[float, float]:
    """Returns width and height of a thumbnail. Images that are very long become a little wider."""
    width, height = _fit(float(np.clip(0.5 / np.sqrt(max(1, count)), *SIDES)), ratio)
    return width, height


def _fit(side: float, ratio: float) -> NDArray[np.float64]:
    """Returns width and height of a thumbnail with this longer side, in the same unit."""
    ratio = min(max(ratio, 0.25), 4.0)
    return side * np.array([1 / max(1.0, ratio), min(1.0, ratio)])


def to_thumbnails(
    images: Pixels, show: Sequence[int] | None = None, longest: int = _PIXELS
) -> list[Pixels]:
    """Returns small pictures, (height, width) in grey or (height, width, 3).

    Args:
        images: Images, (n, height, width, channels), 0..255.
        show: Channels to show, see `shown_channels`. If each would be shown, thumbnails show their
            mean.
        longest: Longest side of a thumbnail in pixels.
    """
    if shown_channels(images.shape[-1], show):
        pictures = to_pictures(images, show)
    else:
        pictures = images.mean(axis=-1, keepdims=True).astype(np.uint8)
    small = []
    for picture in pictures:
        image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
        image.thumbnail((longest, longest))
        small.append(np.asarray(image))
    return small
