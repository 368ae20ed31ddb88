"""Draws the latent means of images, coloured by class.

As for all charts, a `compute_` function returns a frozen Info, and a pure `draw_` function draws it
with matplotlib's object API: without pyplot, a display or global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vaetune.report.charts.style import (
    MAX_NAMES,
    Axes,
    add_legend,
    chart_style,
    new_chart,
    set_text,
)
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
"""Ten colours that colour-blind people can distinguish, on light and dark backgrounds.

Reference: Petroff (2021), "Accessible color sequences for data visualization".
"""

CLASS_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True, eq=False)
class ClustersInfo:
    """Latent means of images, in one or two dimensions.

    Attributes:
        points: Coordinates (n, 2), or (n, 1) for one latent dimension.
        classes: Names of the classes, in the order of their labels; empty without labels.
        members: Index of the class of each point, (n,); zeros without labels.
        axis_names: Names of the columns of `points`.
    """

    points: NDArray[np.float64]
    classes: tuple[str, ...]
    members: NDArray[np.int64]
    axis_names: tuple[str, ...]

    @property
    def positions(self) -> NDArray[np.float64]:
        """Coordinates of the points in a chart, (n, 2). Of one dimension, each class has a strip.

        Seeded jitter across the strip only separates the points.
        """
        if self.points.shape[1] > 1:
            return self.points
        jitter = np.random.default_rng(0).uniform(-0.35, 0.35, len(self.members))
        return np.column_stack([self.points[:, 0], self.members + jitter])


def compute_clusters(
    z_mean: NDArray[np.floating[Any]],
    labels: NDArray[np.int64] | None,
    class_names: Sequence[str] | None,
) -> ClustersInfo:
    """Projects latent means with more than two dimensions onto two principal components.

    Args:
        z_mean: Latent means (n, latent_dim). Rows that are not finite are left out.
        labels: Class indices (n,), or None.
        class_names: Name of each class index. The index is used for classes without a name.
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


@chart_style()
def draw_clusters(info: ClustersInfo) -> Figure:
    """Draws a scatter of latent means, coloured by class; one dimension as strips of points."""
    figure, axes = new_chart(5.4, 5.0)
    points = info.positions
    handles = [
        draw_class(axes, points[info.members == index], index)
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


@chart_style()
def to_png(figure: Figure, dpi: int = 160, software: str | None = None) -> bytes:
    """Renders a figure as a PNG file with a white background.

    Args:
        figure: Figure to render.
        dpi: Pixels per inch.
        software: Software in the metadata of the file.
    """
    buffer = io.BytesIO()
    metadata = {"Software": software}
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata=metadata)
    return buffer.getvalue()


def _principal_components(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Projects points (n, d) onto two principal components and names the components."""
    centred = z - z.mean(axis=0) if len(z) else z
    with threadpool_limits(1):  # Threads would wait for one another, for most of the time.
        _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    # The sign of a singular vector is arbitrary, so its largest weight is made positive.
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    projected = centred @ (directions * np.where(largest < 0, -1.0, 1.0)[:, None]).T
    points = np.zeros((len(z), 2))
    points[:, : projected.shape[1]] = projected  # A single point has only one component.
    variance = np.zeros(max(2, len(singular)))
    variance[: len(singular)] = singular**2
    shares = variance / max(variance.sum(), np.finfo(np.float64).tiny)
    names = (f"principal component {i + 1} ({shares[i]:.0%} of variance)" for i in range(2))
    return points, tuple(names)


def _latent_names(z: NDArray[np.float64]) -> tuple[str, ...]:
    return tuple(f"z_mean[{dimension}]" for dimension in range(z.shape[1]))


def _class_name(label: int, class_names: Sequence[str]) -> str:
    return class_names[label] if 0 <= label < len(class_names) else str(label)


def draw_class(
    axes: Axes, points: NDArray[np.float64], index: int, size: float = 4.2, alpha: float = 0.8
) -> Any:
    """Draws the points of a class, and returns the artist for a legend.

    Args:
        axes: Axes of the chart.
        points: Coordinates, (n, 2).
        index: Index of the class.
        size: Size of a marker in points.
        alpha: Opacity.
    """
    (line,) = axes.plot(
        points[:, 0],
        points[:, 1],
        linestyle="none",
        # Classes from the eleventh on reuse the colours with other markers.
        marker=CLASS_MARKERS[(index + index // len(CLASS_COLOURS)) % len(CLASS_MARKERS)],
        markersize=size,
        markeredgewidth=0,
        alpha=alpha,
        color=CLASS_COLOURS[index % len(CLASS_COLOURS)],
    )
    return line
