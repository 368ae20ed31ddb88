"""Shows images of any number of channels as grey or coloured pictures."""

import math
from collections.abc import Sequence

import numpy as np

from vaetune.study import Pixels

FRAME = 64
"""Grey around channels that are side by side, 0..255."""

_DIGITS = ("75557", "26227", "71747", "71717", "55711", "74717", "74757", "71111", "75757", "75717")
"""The pixels of the digits, 3 wide and 5 high: an octal digit for each row."""

_SIDE_OF_A_SMALL_IMAGE = 32
"""Longest side in pixels of images whose numbers are not enlarged."""


def shown_channels(channels: int, show: Sequence[int] | None = None) -> tuple[int, ...]:
    """Returns the channels that a picture shows: one in grey, or red, green and perhaps blue.

    Args:
        channels: Number of channels of the images.
        show: The user's choice. By default, one channel is grey, three are colours, and so are
            the first three of four.

    Returns:
        Numbers of channels, from 0. Empty if each channel is shown in grey, side by side.
    """
    if show and max(show) < channels:
        return tuple(show)
    return {1: (0,), 3: (0, 1, 2), 4: (0, 1, 2)}.get(channels, ())


def to_pictures(images: Pixels, show: Sequence[int] | None = None) -> Pixels:
    """Returns images as pictures, (..., height, width, 1) in grey or (..., height, width, 3).

    If each channel is shown, a picture holds all channels side by side, each below its number.

    Args:
        images: Images, (..., height, width, channels), 0..255.
        show: Channels to show, see `shown_channels`.
    """
    channels = images.shape[-1]
    shown = shown_channels(channels, show)
    if not shown:
        return _side_by_side(images)
    if shown == tuple(range(channels)) and channels != 2:
        return images
    picture: Pixels = images[..., list(shown)]
    if len(shown) == 2:
        picture = np.concatenate([picture, np.zeros_like(picture[..., :1])], axis=-1)
    return picture


def columns_of_channels(channels: int, show: Sequence[int] | None = None) -> int:
    """Returns the number of channels in a row of a picture of `to_pictures`.

    Args:
        channels: Number of channels of the images.
        show: Channels to show, see `shown_channels`.
    """
    return 1 if shown_channels(channels, show) else math.ceil(math.sqrt(channels))


def scale_of_numbers(height: int, width: int) -> int:
    """Returns the size of the pixels of channel numbers, at images of this size."""
    return max(1, min(height, width) // _SIDE_OF_A_SMALL_IMAGE)


def _side_by_side(images: Pixels) -> Pixels:
    *before, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(channels))
    rows = -(-channels // columns)
    scale = scale_of_numbers(height, width)
    label = 7 * scale
    down, across = label + height + scale, width + 2 * scale
    sheet = np.full((*before, rows * down, columns * across, 1), FRAME, np.uint8)
    for channel in range(channels):
        top, left = channel // columns * down, channel % columns * across + scale
        sheet[..., top + label : top + label + height, left : left + width, 0] = images[
            ..., channel
        ]
        number = _draw_number(channel, scale)
        end, right = top + scale + number.shape[0], left + number.shape[1]
        sheet[..., top + scale : end, left:right, 0] = number
    return sheet


def _draw_number(number: int, scale: int) -> Pixels:
    """Draws a number in white on `FRAME`, 5 pixels high times the scale."""
    digits = [
        [[int(row, 8) >> shift & 1 for shift in (2, 1, 0)] + [0] for row in _DIGITS[int(digit)]]
        for digit in str(number)
    ]
    dots = np.concatenate(digits, axis=1)[:, :-1].repeat(scale, 0).repeat(scale, 1)
    return np.where(dots, 255, FRAME).astype(np.uint8)
