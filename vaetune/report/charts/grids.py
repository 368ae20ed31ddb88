"""Draws images in rows and columns: reconstructions, samples, interpolations and traversals."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from vaetune.report.charts.channels import columns_of_channels, shown_channels, to_pictures
from vaetune.report.charts.latent_walks import Activity
from vaetune.report.charts.style import INK, MUTED, Axes, chart_style
from vaetune.study import Pixels, prior_grid

DPI = 160
"""Resolution of figures. At this value each pixel of an image is a whole square in the PNG."""

_BREAK = 8
"""Width in pixels of the extra gap before a column of `GridInfo.breaks`."""

_MARGIN = 12
"""Margin around a figure, in pixels."""

_LINE, _LETTER = 28, 13
"""Height of a line and width of a letter, in pixels at `DPI`."""

_WIDTH, _HEIGHT = 1240, 2600
"""Largest size in pixels to which small images are enlarged."""


Show = Sequence[int] | None
"""Channels that pictures show, see `shown_channels`."""


@dataclass(frozen=True, eq=False)
class GridInfo:
    """Images in rows and columns.

    Attributes:
        tiles: Pictures (rows, columns, height, width, 1 or 3) of `to_pictures`, 0..255.
        gap: Space between two images, in pixels.
        row_names: Labels to the left of the rows, or empty.
        column_names: Labels above the columns, or empty.
        caption: Text below the images, or empty.
        breaks: Columns with extra space before them.
        across: Values of the first latent dimension for the columns of a manifold, or empty.
        down: Values of the second latent dimension for the rows of a manifold, or empty.
    """

    tiles: Pixels
    gap: int = 2
    row_names: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()
    caption: str = ""
    breaks: tuple[int, ...] = ()
    across: tuple[float, ...] = ()
    down: tuple[float, ...] = ()

    @property
    def image(self) -> Pixels:
        """All images in one, (height, width, 4), with transparent gaps."""
        rows, columns, height, width, _ = self.tiles.shape
        padded = np.zeros((rows, columns, height + self.gap, width + self.gap, 4), np.uint8)
        padded[:, :, :height, :width, :3] = self.tiles
        padded[:, :, :height, :width, 3] = 255
        whole = padded.transpose(0, 2, 1, 3, 4).reshape(
            rows * (height + self.gap), columns * (width + self.gap), 4
        )
        whole = whole[: whole.shape[0] - self.gap, : whole.shape[1] - self.gap]
        places = [column * (width + self.gap) for column in self.breaks for _ in range(_BREAK)]
        return np.insert(whole, places, 0, axis=1)

    @property
    def row_centres(self) -> list[float]:
        """The centre of each row of images, in pixels from the top."""
        rows, height = self.tiles.shape[0], self.tiles.shape[2]
        return [row * (height + self.gap) + (height - 1) / 2 for row in range(rows)]

    @property
    def column_centres(self) -> list[float]:
        """The centre of each column of images, in pixels from the left."""
        columns, width = self.tiles.shape[1], self.tiles.shape[3]
        return [
            column * (width + self.gap)
            + _BREAK * sum(start <= column for start in self.breaks)
            + (width - 1) / 2
            for column in range(columns)
        ]


def compute_manifold(manifold: Pixels, show: Show = None) -> GridInfo:
    """Arranges images decoded from a grid of the prior's quantiles.

    Args:
        manifold: Images (rows, columns, height, width, channels), decoded from `prior_grid`.
        show: Channels to show, see `shown_channels`. If each is shown, it has a panel with all
            the images, and the axes are named in the caption.
    """
    rows, columns, height, width, channels = manifold.shape
    if not shown_channels(channels, show):
        whole = manifold.swapaxes(1, 2).reshape(rows * height, columns * width, channels)
        panels = to_pictures(whole)[np.newaxis, np.newaxis]
        return GridInfo(panels, caption="in each channel, z[0] to the right and z[1] upwards")
    across = tuple(float(z) for z in prior_grid(columns)[0, :, 0])
    down = tuple(float(z) for z in prior_grid(rows)[:, 0, 1])
    return GridInfo(to_pictures(manifold, show), gap=0, across=across, down=down)


def compute_samples(samples: Pixels, columns: int = 10, show: Show = None) -> GridInfo:
    """Arranges samples in complete rows; samples that do not fill a row are left out.

    Args:
        samples: Decoded samples (n, height, width, channels), n at least 1.
        columns: Images per row, or fewer if there are fewer samples.
        show: Channels to show, see `shown_channels`. If each is shown, there are fewer samples.
    """
    abreast = columns_of_channels(samples.shape[-1], show)
    columns = max(1, min(columns // abreast, len(samples)))
    rows = max(1, len(samples) // abreast**2 // columns)
    pictures = to_pictures(samples[: rows * columns], show)
    return GridInfo(pictures.reshape(rows, columns, *pictures.shape[1:]))


def compute_reconstructions(
    originals: Pixels, reconstructions: Pixels, show: Show = None
) -> GridInfo:
    """Arranges originals above their reconstructions.

    Args:
        originals: Images (n, height, width, channels).
        reconstructions: Reconstructions, same shape.
        show: Channels to show, see `shown_channels`. If each is shown, there are fewer images.
    """
    few = max(1, len(originals) // columns_of_channels(originals.shape[-1], show))
    both = to_pictures(np.stack([originals[:few], reconstructions[:few]]), show)
    return GridInfo(both, row_names=("original", "reconstructed"))


def compute_interpolations(originals: Pixels, decoded: Pixels, show: Show = None) -> GridInfo:
    """Arranges a row for each pair of images, with the interpolation between the two.

    Args:
        originals: Images (2 * pairs, height, width, channels); neighbours form a pair.
        decoded: Images (pairs, steps, height, width, channels), decoded from the line between the
            two z_mean, ends included.
        show: Channels to show, see `shown_channels`.
    """
    pairs, steps = decoded.shape[:2]
    ends = originals.reshape(pairs, 2, *originals.shape[1:])
    shares = np.linspace(0.0, 1.0, steps)
    return GridInfo(
        to_pictures(np.concatenate([ends[:, :1], decoded, ends[:, 1:]], axis=1), show),
        column_names=("image", *(f"{share:.1f}" for share in shares), "image"),
        caption="weight of the right image's z_mean; the left one's has the rest",
        breaks=(1, steps + 1),
    )


def compute_traversal(
    dimensions: Sequence[Activity], values: Sequence[float], decoded: Pixels, show: Show = None
) -> GridInfo:
    """Arranges a row for each latent dimension, from low to high values.

    Args:
        dimensions: Latent dimension of each row.
        values: Value of the row's dimension in each column.
        decoded: Decoded images (dimensions, values, height, width, channels).
        show: Channels to show, see `shown_channels`.
    """
    return GridInfo(
        to_pictures(decoded, show),
        row_names=tuple(
            f"z[{each.dimension}], variance {each.variance:.2f}" for each in dimensions
        ),
        column_names=tuple(_signed(value) for value in values),
        caption="value of the row's dimension, all others at 0",
    )


@chart_style()
def draw_grid(info: GridInfo) -> Figure:
    """Draws the images, with row names, column names or latent coordinates around them."""
    image = info.image
    height, width = image.shape[:2]
    scale = max(1, min(_WIDTH // width, _HEIGHT // height))
    figure = Figure(figsize=(scale * width / DPI, scale * height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=6, labelcolor=MUTED, labelsize=10)
    axes.set(xticks=[], yticks=[])
    _name_rows_and_columns(axes, info, scale)
    if info.across:
        axes.set_xlabel("z[0]", color=INK)
        axes.set_ylabel("z[1]", color=INK)
    if info.caption:
        axes.set_xlabel(info.caption, color=MUTED, fontsize=10, labelpad=10)
    _make_room(figure, axes)
    return figure


def grid_to_picture(info: GridInfo, least_width: int = 840, most_width: int = 1000) -> Image.Image:
    """Renders the images without labels, in red, green, blue and opacity.

    Args:
        info: Images to render.
        least_width: Smallest width in pixels. Small images are enlarged to at least this width, so
            that their pixels stay square when a browser smooths them.
        most_width: Largest width in pixels. Large images are reduced to it to keep the page small.
    """
    whole = Image.fromarray(info.image)
    image = enlarge(whole, least_width)
    if image.width == whole.width > most_width:
        image = image.resize((most_width, round(image.height * most_width / image.width)))
    return image


def to_file(picture: Image.Image) -> bytes:
    """Returns a picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def enlarge(image: Image.Image, least_width: int) -> Image.Image:
    """Returns a picture of at least a width, with square pixels.

    Args:
        image: The picture.
        least_width: Smallest width in pixels.
    """
    scale = -(-least_width // image.width)
    size = image.width * scale, image.height * scale
    return image if scale == 1 else image.resize(size, Image.Resampling.NEAREST)


def _name_rows_and_columns(axes: Axes, info: GridInfo, scale: int) -> None:
    rows, columns = info.row_centres, info.column_centres
    if info.across:
        _tick_a_few(axes.xaxis, columns, info.across)
        _tick_a_few(axes.yaxis, rows, info.down)
    if info.row_names:
        chosen = _spread([scale * y for y in rows], [_LINE] * len(rows))
        axes.yaxis.set_ticks([rows[i] for i in chosen], [info.row_names[i] for i in chosen])
    if info.column_names:
        widths = [_LETTER * (len(name) + 1) for name in info.column_names]
        chosen = _spread([scale * x for x in columns], widths)
        axes.xaxis.tick_top()
        axes.xaxis.set_ticks([columns[i] for i in chosen], [info.column_names[i] for i in chosen])


def _tick_a_few(axis: Any, centres: Sequence[float], values: Sequence[float]) -> None:
    chosen = np.unique(np.linspace(0, len(values) - 1, 5).round().astype(int))
    axis.set_ticks([centres[i] for i in chosen], [_signed(values[i]) for i in chosen])


def _spread(centres: Sequence[float], sizes: Sequence[float]) -> Sequence[int]:
    """Selects every name, every second, and so on, so that the names do not overlap.

    Args:
        centres: Centre of each name, in pixels.
        sizes: Size of each name along the axis, in pixels.

    Returns:
        Indices of the names to show.
    """
    for step in range(1, len(centres)):
        chosen = range(0, len(centres), step)
        if all(centres[j] - centres[i] >= (sizes[i] + sizes[j]) / 2 for i, j in pairwise(chosen)):
            return chosen
    return [0]


def _make_room(figure: Figure, axes: Axes) -> None:
    """Enlarges a figure to fit its labels; the images keep their size in pixels."""
    width, height = (round(side) for side in figure.bbox.size)
    box = axes.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    left, bottom = (math.ceil(max(0.0, -side)) + _MARGIN for side in (box.x0, box.y0))
    right, top = (math.ceil(max(0.0, side)) + _MARGIN for side in (box.x1 - width, box.y1 - height))
    across, up = left + width + right, bottom + height + top
    figure.set_size_inches(across / DPI, up / DPI)
    axes.set_position((left / across, bottom / up, width / across, height / up))


def _signed(value: float) -> str:
    """A latent coordinate with a minus sign as wide as a digit, and no sign at zero."""
    return f"{value:z.1f}".replace("-", "\N{MINUS SIGN}")
