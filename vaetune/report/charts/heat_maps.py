"""Draws images, their reconstructions and the loss of each pixel, on one scale for all images."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vaetune.report.charts.latent_map import to_thumbnails
from vaetune.report.charts.style import INK, MUTED, RULE, chart_style
from vaetune.report.text.units import printable
from vaetune.study import Pixels

COLOURS = "inferno"
"""Colour map of the losses: black where the reconstruction is perfect."""

_LOSSES = "with its reconstruction and the loss of each pixel above the lowest possible one."

_EXPECTED = "Scores are losses above the one that is expected of an image of this complexity."
_LOWEST = "Scores are losses above the lowest one that the image could have."

_TOP = 0.998
"""Share of the pixels that the colours tell apart. One bright pixel must not darken all others."""

_COLUMNS = 2
"""Images in a row, each with its reconstruction and its map."""

_LONGEST = 400
"""Longest side of a picture in pixels."""

_SIDE, _GAP, _BETWEEN, _MARGIN = 1.5, 0.06, 0.4, 0.25
"""Longest side of a picture, gap between pictures, gap between images and margin, in inches."""

_TITLE, _HEADING, _BAR = 0.27, 0.62, 1.15
"""Height of a title and of a heading, and width of the colour bar with its numbers, in inches."""

_LEAST_HEIGHT = 2.8
"""Height of a figure with room for the colour bar, in inches."""

_LEGEND, _LINE, _LETTER = 0.4, 0.18, 0.08
"""Height of the first line and of each further one, and width of a letter, in inches."""


@dataclass(frozen=True, eq=False)
class HeatMaps:
    """Images with their reconstructions and the losses of their pixels.

    Attributes:
        originals: Images, (n, height, width, channels), 0..255, n at least 1.
        reconstructions: Their reconstructions, same shape.
        losses: Loss of each pixel above the lowest possible one, (n, height, width) in nats.
        titles: Title of each image, such as its name and score.
        anomalous: Number of anomalous images, which come first. The others are normal.
        show: Channels to show, see `shown_channels`. If each would be shown, pictures show their
            mean.
        splits: Names of the splits that the images were chosen from; empty for other images.
        is_corrected: True if a score is the loss above the expected one of its image; False if it
            is the loss above the lowest possible one.
    """

    originals: Pixels
    reconstructions: Pixels
    losses: NDArray[np.float64]
    titles: Sequence[str]
    anomalous: int
    show: Sequence[int] | None = None
    splits: Sequence[str] = ()
    is_corrected: bool = False

    @property
    def legend(self) -> tuple[str, str]:
        """What the pictures show, and what the scores are."""
        *others, last = self.splits or ("",)
        names = f"{', '.join(others)} and {last}" if others else last
        images = f"{names[:1].upper()}{names[1:]} images" if names else "Images"
        return f"{images}, each {_LOSSES}", _EXPECTED if self.is_corrected else _LOWEST

    @property
    def most(self) -> float:
        """Loss with the brightest colour, in nats."""
        finite = self.losses[np.isfinite(self.losses)]
        most = float(np.quantile(finite, _TOP)) if finite.size else 0.0
        return most if most > 0 else 1.0

    @property
    def blocks(self) -> list[tuple[str, range]]:
        """Headings, and the numbers of the images below each."""
        count = len(self.titles)
        found = [
            ("Most anomalous", range(self.anomalous)),
            ("For comparison: scores in the middle", range(self.anomalous, count)),
        ]
        return [(heading, numbers) for heading, numbers in found if numbers]


@chart_style()
def draw_heat_maps(maps: HeatMaps) -> Figure:
    """Draws each image next to its reconstruction and its map, all maps with the same colours."""
    layout = _Layout(maps)
    figure = Figure(figsize=(layout.width, layout.height))
    pictures = [
        to_thumbnails(each, maps.show, _LONGEST) for each in (maps.originals, maps.reconstructions)
    ]
    losses = np.nan_to_num(maps.losses, nan=maps.most, posinf=maps.most)
    scale = Normalize(0.0, maps.most)
    layout.write(figure, _MARGIN, layout.legend_end, layout.legend, fontsize=10, color=MUTED)
    for heading, numbers, top in layout.blocks:
        layout.write(figure, _MARGIN, top + _HEADING / 2, heading, fontsize=12, color=INK)
        for place, number in enumerate(numbers):
            left, below = layout.corner(place, top)
            title = printable(maps.titles[number], layout.letters)
            layout.write(figure, left, below - 0.06, title, fontsize=9, color=MUTED)
            shown = (pictures[0][number], pictures[1][number], losses[number])
            for column, picture in enumerate(shown):
                box = layout.box(left + column * (layout.side[0] + _GAP), below)
                _draw_picture(figure.add_axes(box), picture, scale, is_map=column == 2)
    _add_colours(figure, layout, maps, scale)
    return figure


class _Layout:
    """Places of headings, pictures and colours, in inches from the top left corner.

    Args:
        maps: Images and losses to draw.
    """

    def __init__(self, maps: HeatMaps) -> None:
        height, width = maps.losses.shape[1:]
        ratio = min(max(height / width, 0.25), 4.0)
        self.side = (_SIDE / max(1.0, ratio), _SIDE * min(1.0, ratio))
        self._columns = min(_COLUMNS, max(len(numbers) for _, numbers in maps.blocks))
        self._panel = 3 * self.side[0] + 2 * _GAP
        self.letters = max(8, int(self._panel / 0.075))
        self.right = 2 * _MARGIN + self._columns * (self._panel + _BETWEEN) - _BETWEEN
        self.width = max(self.right + _BAR, 4.2)
        room = int((self.width - 2 * _MARGIN) / _LETTER)
        lines = [line for text in maps.legend for line in textwrap.wrap(text, room)]
        self.legend = "\n".join(lines)
        self.legend_end = _LEGEND + _LINE * (len(lines) - 1)
        self.blocks: list[tuple[str, range, float]] = []
        top = self.legend_end
        for heading, numbers in maps.blocks:
            self.blocks.append((heading, numbers, top))
            top += _HEADING + -(-len(numbers) // self._columns) * self._row
        self.height = max(top + _MARGIN, _LEAST_HEIGHT + self.legend_end - _LEGEND)

    @property
    def _row(self) -> float:
        height: float = self.side[1]
        return height + _TITLE + _GAP

    def corner(self, place: int, top: float) -> tuple[float, float]:
        """Returns the left end of an image and the upper end of its pictures."""
        row, column = divmod(place, self._columns)
        left = _MARGIN + column * (self._panel + _BETWEEN)
        return left, top + _HEADING + row * self._row

    def box(self, left: float, top: float) -> tuple[float, float, float, float]:
        """Returns a picture's left end, lower end, width and height as shares of the figure."""
        return self.share(left, top, *self.side)

    def share(
        self, left: float, top: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Returns left end, lower end, width and height as shares of the figure."""
        bottom = self.height - top - height
        across, up = self.width, self.height
        return left / across, bottom / up, width / across, height / up

    def write(self, figure: Figure, left: float, bottom: float, text: str, **style: Any) -> None:
        """Writes a text above a line."""
        x, y, _, _ = self.share(left, bottom, 0.0, 0.0)
        figure.text(x, y, text, parse_math=False, va="bottom", **style)


def _draw_picture(axes: Any, picture: Pixels, scale: Normalize, is_map: bool) -> None:
    colours = {"cmap": COLOURS, "norm": scale} if is_map else {"cmap": "gray", "vmin": 0}
    colours |= {} if is_map else {"vmax": 255}
    is_small = max(picture.shape[:2]) < _LONGEST / 4
    smoothing = "nearest" if is_small else "antialiased"
    axes.imshow(picture, aspect="auto", interpolation=smoothing, **colours)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(RULE)


def _add_colours(figure: Figure, layout: _Layout, maps: HeatMaps, scale: Normalize) -> None:
    """Adds the colour bar."""
    _, _, top = layout.blocks[0]
    height = min(layout.height - top - _HEADING - _MARGIN, 3.0)
    box = layout.share(layout.right, top + _HEADING, 0.16, height)
    finite = maps.losses[np.isfinite(maps.losses)]
    is_above = finite.size < maps.losses.size or bool((finite > maps.most).any())
    colours = ScalarMappable(scale, COLOURS)
    bar = figure.colorbar(
        colours, cax=figure.add_axes(box), extend="max" if is_above else "neither"
    )
    bar.outline.set_edgecolor(RULE)
    bar.ax.tick_params(color=RULE, labelcolor=MUTED, labelsize=9)
    label = "loss of a pixel above the\nlowest possible one, nats"
    bar.set_label(label, color=INK, fontsize=10)
