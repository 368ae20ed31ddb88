"""The order of the axes of arrays of images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import MAX_CHANNELS, MIN_IMAGE_SIDE, MIN_IMAGES, Layout
from vaetune.errors import DataError

_ORDER: Mapping[Layout, Sequence[int]] = {
    "channels_last": (0, 1, 2, 3),
    "channels_first": (0, 2, 3, 1),
    "images_last": (3, 0, 1, 2),
}
"""The axes that become image, height, width and channel."""

_ORDER_OF_GREY: Mapping[Layout, Sequence[int]] = {
    "channels_last": (0, 1, 2),
    "images_last": (2, 0, 1),
}


def find_layout(
    shape: Sequence[int], given: Layout | None, labels: int | None, source: str
) -> Layout:
    """Returns the order of the axes of an array of images.

    Args:
        shape: Shape of the array.
        given: The order that the user gives, or None.
        labels: Number of labels, if there are any. It tells which axis counts the images.
        source: Name of the image set in messages.

    Raises:
        DataError: No order fits the shape, or several do.
    """
    if given:
        _check_given(shape, given, source)
        return given
    if len(shape) == 3:
        return _find_grey_layout(shape, labels, source)
    if len(shape) != 4:
        raise DataError(
            f"{source} has shape {tuple(shape)}, expected (images, height, width) or "
            f"(images, height, width, channels).{_reshape_hint(shape)}"
        )
    fitting = [layout for layout in _ORDER if _fits(shape, layout)]
    fitting = [one for one in fitting if shape[_ORDER[one][0]] >= MIN_IMAGES] or fitting
    if labels is not None and len(fitting) > 1:
        fitting = [one for one in fitting if shape[_ORDER[one][0]] == labels] or fitting
    if len(fitting) > 1:
        fitting = [one for one in fitting if _is_square(shape, one)] or fitting
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            f"{source} has shape {tuple(shape)}, and it is unclear which axis has the channels. "
            f'Add layout = "{fitting[0]}" or layout = "{fitting[1]}" under [data] in the search '
            f"file.{_too_many_channels(shape)}"
        )
    raise DataError(_no_fit(shape, source))


def _too_many_channels(shape: Sequence[int]) -> str:
    """Returns a note about square images whose last axis can only be too many channels."""
    _, height, width, channels = shape
    if height != width or channels <= MAX_CHANNELS:
        return ""
    return f" If the last axis has the channels, {channels} are too many: at most {MAX_CHANNELS}."


def _find_grey_layout(shape: Sequence[int], labels: int | None, source: str) -> Layout:
    """Returns the order of the axes of an array without channels."""
    if labels is not None and labels == shape[2] != shape[0]:
        return "images_last"
    is_cube = len(set(shape)) == 1
    if shape[0] == shape[1] >= MIN_IMAGE_SIDE and (is_cube or labels != shape[0]):
        height, width, count = shape
        raise DataError(
            f"{source} has shape {tuple(shape)}: these can be {count} images of {height} x {width} "
            f"or {height} images of {width} x {count}. Add "
            'layout = "images_last" or layout = "channels_last" under [data] in the search file.'
        )
    return "channels_last"


def _check_given(shape: Sequence[int], given: Layout, source: str) -> None:
    orders = {3: _ORDER_OF_GREY, 4: _ORDER}.get(len(shape), {})
    if given not in orders:
        raise DataError(
            f'{source} has shape {tuple(shape)}, which layout = "{given}" does not fit: expected '
            f"{'4 axes' if given == 'channels_first' else '3 or 4 axes'}."
        )


def _fits(shape: Sequence[int], layout: Layout) -> bool:
    count, height, width, channels = (shape[axis] for axis in _ORDER[layout])
    if layout == "images_last" and count < MIN_IMAGES:
        return False
    return min(height, width) >= MIN_IMAGE_SIDE and 1 <= channels <= MAX_CHANNELS


def _is_square(shape: Sequence[int], layout: Layout) -> bool:
    _, height, width, _ = (shape[axis] for axis in _ORDER[layout])
    return height == width


def _no_fit(shape: Sequence[int], source: str) -> str:
    _, height, width, channels = shape
    if min(height, width) < MIN_IMAGE_SIDE and channels <= MAX_CHANNELS:
        return (
            f"{source} has images of {height} x {width} pixels, expected at least {MIN_IMAGE_SIDE} "
            f"x {MIN_IMAGE_SIDE}. Enlarge them with --image-size, or pad them."
        )
    return (
        f"{source} has shape {tuple(shape)} and so {channels} channels, expected (images, height, "
        f"width, channels) with 1 to {MAX_CHANNELS} channels and sides of at least "
        f"{MIN_IMAGE_SIDE} pixels. Move the axes with numpy.moveaxis."
    )


def warn_of_shape(shape: Sequence[int], layout: Layout, given: Layout | None) -> str:
    """Returns a warning if images have an unusual shape for the axes that were found."""
    if given or len(shape) != 3 or layout != "channels_last":
        return ""
    height, width = shape[1:]
    if max(height, width) < 4 * min(height, width):
        return ""
    return (
        f"Images of {height} x {width} pixels are unusually long. If the last axis counts the "
        'images, add layout = "images_last" under [data] in the search file.'
    )


def _reshape_hint(shape: Sequence[int]) -> str:
    if len(shape) != 2:
        return " Reshape the array."
    if shape[1] % 3 == 0 and (side := square_side((shape[0], shape[1] // 3))):
        return (
            f" Give each image its axes, as in x.reshape(-1, 3, {side}, {side}) if the channels "
            f"come first, or x.reshape(-1, {side}, {side}, 3)."
        )
    if (side := square_side((shape[1], shape[0]))) and side >= 2 * MIN_IMAGE_SIDE:
        return " It looks transposed: try x.T."
    return " Give each image its height and width, as in x.reshape(-1, HEIGHT, WIDTH)."


def square_side(shape: Sequence[int]) -> int | None:
    """Returns the side of square grey images that are stored as rows, or None."""
    if len(shape) != 2:
        return None
    side = round(shape[1] ** 0.5)
    return side if side**2 == shape[1] and side >= MIN_IMAGE_SIDE else None


def describe_unflattened(values: int, side: int) -> str:
    """Returns the warning that rows of values were taken as square images."""
    return f"Each row of {values} values was taken as an image of {side} x {side} pixels."


def shape_channels_last(shape: Sequence[int], layout: Layout) -> tuple[int, int, int, int]:
    """Returns the number, height, width and channels of an array of images.

    Args:
        shape: Shape of the array, with 3 or 4 axes in the order of `layout`.
        layout: Order of the axes.
    """
    if len(shape) == 3:
        count, height, width = (shape[axis] for axis in _ORDER_OF_GREY[layout])
        return count, height, width, 1
    count, height, width, channels = (shape[axis] for axis in _ORDER[layout])
    return count, height, width, channels


def to_channels_last(array: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Returns an array of images as (n, height, width, channels).

    Args:
        array: Images with 3 or 4 axes in the order of `layout`.
        layout: Order of the axes.
    """
    if array.ndim == 3:
        grey = array.transpose(_ORDER_OF_GREY[layout])[..., np.newaxis]
        return np.ascontiguousarray(grey) if layout == "images_last" else grey
    moved = array.transpose(_ORDER[layout])
    return moved if layout == "channels_last" else np.ascontiguousarray(moved)
