"""Numbers -> Info -> figure: where a VAE puts what it sees.

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

from vaetune.report.charts.style import MAX_NAMES, Axes, add_legend, new_chart, own_style, set_text
from vaetune.report.text.units import printable

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
        names = [printable(name, longest=20) for name in info.classes[:MAX_NAMES]]
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
