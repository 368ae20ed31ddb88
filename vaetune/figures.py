"""Numbers -> Info -> figure: what a VAE draws, and where it puts what it sees.

Every picture is computed as a frozen Info first, and drawn from it by a pure function with
matplotlib's object API: no pyplot, no display, no global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from vaetune.drawing import (
    INK,
    MOST_NAMES,
    MUTED,
    Axes,
    add_legend,
    new_chart,
    own_style,
    printable,
    set_text,
)
from vaetune.pictures import Pixels, prior_grid

CLASS_COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
"""Petroff (2021), "Accessible color sequences for data visualization": ten that the colour-blind
tell apart, on light and on dark."""

CLASS_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True, eq=False)
class GridInfo:
    """Images in rows and columns.

    Attributes:
        tiles: (rows, columns, height, width, channels), 0..255.
        gap: Pixels between two images.
        row_names: What stands left of each row, or nothing.
        across: Of a manifold, the first latent dimension of each column.
        down: Of a manifold, the second latent dimension of each row, from the top.
    """

    tiles: Pixels
    gap: int = 2
    row_names: tuple[str, ...] = ()
    across: tuple[float, ...] = ()
    down: tuple[float, ...] = ()

    @property
    def image(self) -> Pixels:
        """All images in one, (height, width, 4): the gaps between them are transparent."""
        rows, columns, height, width, channels = self.tiles.shape
        padded = np.zeros((rows, columns, height + self.gap, width + self.gap, 4), np.uint8)
        padded[:, :, :height, :width, :3] = self.tiles[..., : 3 if channels >= 3 else 1]
        padded[:, :, :height, :width, 3] = 255
        whole = padded.transpose(0, 2, 1, 3, 4).reshape(
            rows * (height + self.gap), columns * (width + self.gap), 4
        )
        return whole[: whole.shape[0] - self.gap, : whole.shape[1] - self.gap]


@dataclass(frozen=True, eq=False)
class ClustersInfo:
    """Where a model puts images in its latent space.

    Attributes:
        points: (n, 2), or (n, 1) for one latent dimension.
        classes: Names of the classes, in the order of their labels; empty without labels.
        members: For each point the index of its class; zeros without labels.
        axis_names: One for each column of the points.
    """

    points: NDArray[np.float64]
    classes: tuple[str, ...]
    members: NDArray[np.int64]
    axis_names: tuple[str, ...]


def compute_manifold(manifold: Pixels) -> GridInfo:
    """The decoded grid of the prior's quantiles.

    Args:
        manifold: (rows, columns, height, width, channels), decoded from `prior_grid`.
    """
    rows, columns = manifold.shape[:2]
    across = tuple(float(z) for z in prior_grid(columns)[0, :, 0])
    down = tuple(float(z) for z in prior_grid(rows)[:, 0, 1])
    return GridInfo(manifold, gap=0, across=across, down=down)


def compute_samples(samples: Pixels, columns: int = 10) -> GridInfo:
    """Decoded samples of the prior, in whole rows.

    Args:
        samples: (n, height, width, channels), n at least 1.
        columns: Images in a row, fewer if there are fewer samples.
    """
    columns = min(columns, len(samples))
    rows = len(samples) // columns
    return GridInfo(samples[: rows * columns].reshape(rows, columns, *samples.shape[1:]))


def compute_reconstructions(originals: Pixels, reconstructions: Pixels) -> GridInfo:
    """Originals above what the model makes of them.

    Args:
        originals: (n, height, width, channels).
        reconstructions: Same shape.
    """
    return GridInfo(np.stack([originals, reconstructions]), row_names=("original", "reconstructed"))


def compute_clusters(
    z_mean: NDArray[np.floating[Any]],
    labels: NDArray[np.int64] | None,
    class_names: Sequence[str] | None,
) -> ClustersInfo:
    """Latent means in at most two dimensions: beyond, their first two principal components.

    Args:
        z_mean: (n, latent_dim); rows that are not finite are left out.
        labels: Class indices (n,), or None.
        class_names: One for each class index; the index itself where there is none.
    """
    count = len(z_mean) if labels is None else min(len(z_mean), len(labels))
    finite = np.isfinite(z_mean[:count]).all(axis=1)
    z = z_mean[:count][finite].astype(np.float64)
    points, axis_names = (z, _latent_names(z)) if z.shape[1] <= 2 else _principal_components(z)
    if labels is None:
        return ClustersInfo(points, (), np.zeros(len(points), np.int64), axis_names)
    present, members = np.unique(labels[:count][finite], return_inverse=True)
    classes = tuple(_class_name(int(label), class_names or ()) for label in present)
    return ClustersInfo(points, classes, members.astype(np.int64), axis_names)


@own_style()
def draw_grid(info: GridInfo) -> Figure:
    """Draws images side by side, with latent coordinates or row names if there are any."""
    image = info.image
    height, width = image.shape[:2]
    inches = 7.2
    figure = Figure(figsize=(inches, inches * height / width + 0.3), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=10)
    tile_height, tile_width = info.tiles.shape[2:4]
    _tick(axes.xaxis, info.across, tile_width)
    _tick(axes.yaxis, info.down, tile_height)
    if info.across:
        axes.set_xlabel("z[0]", color=INK)
        axes.set_ylabel("z[1]", color=INK)
    if info.row_names:
        centres = [
            tile_height / 2 + row * (tile_height + info.gap) for row in range(len(info.row_names))
        ]
        axes.set_yticks(centres, info.row_names)
    return figure


@own_style()
def draw_clusters(info: ClustersInfo) -> Figure:
    """Draws a scatter of latent means, coloured by class; one dimension as strips of points."""
    figure, axes = new_chart(5.4, 5.0)
    points = info.points
    rows = info.members.astype(np.float64)
    if len(info.axis_names) == 1:
        # A strip a class; the scatter across it only keeps points apart and is the same each time.
        jitter = np.random.default_rng(0).uniform(-0.35, 0.35, len(rows))
        points = np.column_stack([points[:, 0], rows + jitter])
    handles = [
        _draw_class(axes, points[info.members == index], index)
        for index in range(max(1, len(info.classes)))
    ]
    set_text(axes.set_xlabel, info.axis_names[0])
    if len(info.axis_names) == 1:
        names = [printable(name, longest=20) for name in info.classes[:MOST_NAMES]]
        axes.set_yticks(range(len(names)), names, parse_math=False)
    else:
        set_text(axes.set_ylabel, info.axis_names[1])
        add_legend(figure, handles, info.classes, handle_width=0.8)
    return figure


@own_style()
def to_png(figure: Figure, dpi: int = 160) -> bytes:
    """A figure as a PNG file, on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def grid_to_png(info: GridInfo, least_width: int = 840) -> bytes:
    """The bare images as a PNG file, each pixel enlarged to a whole square.

    Args:
        info: The images.
        least_width: In pixels. Small images are enlarged at least so far, that a browser's
            smoothing leaves their pixels square.
    """
    image = info.image
    scale = -(-least_width // image.shape[1])
    enlarged = image.repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(enlarged).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def _principal_components(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Projects (n, d) onto the two directions of largest variance, and names their shares."""
    centred = z - z.mean(axis=0) if len(z) else z
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    # A singular vector's sign is arbitrary: its largest weight is made positive.
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    projected = centred @ (directions * np.where(largest < 0, -1.0, 1.0)[:, None]).T
    points = np.zeros((len(z), 2))
    points[:, : projected.shape[1]] = projected  # a single point has one direction only
    variance = np.zeros(max(2, len(singular)))
    variance[: len(singular)] = singular**2
    shares = variance / max(variance.sum(), np.finfo(np.float64).tiny)
    names = (f"principal component {i + 1} ({shares[i]:.0%} of variance)" for i in range(2))
    return points, tuple(names)


def _latent_names(z: NDArray[np.float64]) -> tuple[str, ...]:
    return tuple(f"z_mean[{dimension}]" for dimension in range(z.shape[1]))


def _class_name(label: int, class_names: Sequence[str]) -> str:
    return class_names[label] if 0 <= label < len(class_names) else str(label)


def _draw_class(axes: Axes, points: NDArray[np.float64], index: int) -> Any:
    (line,) = axes.plot(
        points[:, 0],
        points[:, 1],
        linestyle="none",
        # The second ten classes have the colours of the first, and other markers.
        marker=CLASS_MARKERS[(index + index // len(CLASS_COLOURS)) % len(CLASS_MARKERS)],
        markersize=4.2,
        markeredgewidth=0,
        alpha=0.8,
        color=CLASS_COLOURS[index % len(CLASS_COLOURS)],
    )
    return line


def _tick(axis: Any, values: Sequence[float], tile: int, ticks: int = 5) -> None:
    """Writes latent coordinates at the centres of a few tiles, or nothing."""
    chosen = np.unique(np.linspace(0, len(values) - 1, ticks).round().astype(int))
    if len(values):
        axis.set_ticks(
            [(i + 0.5) * tile - 0.5 for i in chosen],
            [f"{values[i]:z.1f}".replace("-", "\N{MINUS SIGN}") for i in chosen],
        )
    else:
        axis.set_ticks([])
