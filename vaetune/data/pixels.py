"""Decides which pixel values are black and white, and scales pixels accordingly.

The decision is made once, from the values of all splits together. A range that leaves no doubt is
certain. A likely one is used with a warning. All others are refused, and the search file must give
the range.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaetune.data.disk.cache import remember
from vaetune.data.disk.images import DiskImages, Images
from vaetune.data.prepare import to_unit
from vaetune.data.zero_copy import empty_aligned
from vaetune.errors import DataError

FULL_SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""Largest values of 8, 10, 12, 14 and 16 bits."""

SMALL_SCALES = (7.0, 8.0, 15.0, 16.0, 31.0, 32.0, 63.0, 64.0, 100.0)
"""Largest values of images that are not stored with 8 bits: 3 to 6 bits, and percent."""

OVERSHOOT = 0.25
"""How far floats in [0, 1] or [-1, 1] may lie outside, because resizing filters overshoot."""

DARK = 32
"""If the largest byte is below this, another range is suggested."""

_CHUNK_VALUES = 2**18
"""Pixel values that are converted at a time, to limit memory."""


@dataclass(frozen=True)
class Values:
    """The pixel values of all splits.

    Attributes:
        dtype: Type of the values.
        low: Smallest value.
        high: Largest value.
        is_whole: Whether all values are whole numbers.
        tops: Largest value of each split.
    """

    dtype: np.dtype[Any]
    low: float
    high: float
    is_whole: bool
    tops: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.dtype} values {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class PixelRange:
    """The values that become 0 and 1.

    Attributes:
        low: Value that becomes 0.
        high: Value that becomes 1.
        rule: Whether the range is certain, likely, or given by the user.
        warning: Advice in case a likely range is wrong, one sentence; empty if there is no doubt.
    """

    low: float
    high: float
    rule: Literal["certain", "likely", "given"] = "certain"
    warning: str = ""


Names = NDArray[Any] | None
"""Names of the images of a split, (n,); None if they have none."""


def measure_values(
    splits: Sequence[Images], source: str, names: Sequence[Names] | None = None
) -> Values:
    """Returns the range of the pixel values of all splits.

    Args:
        splits: Images of each split, (n, height, width, channels).
        source: Name of the image set in messages.
        names: Names of the images of each split, for messages.

    Raises:
        DataError: Values are not numbers, or not finite.
    """
    for images in splits:
        if images.dtype.kind not in "buif":
            raise DataError(
                f"{source} contains values of type {images.dtype}, expected numbers. Convert the "
                "images to uint8, or to floats in 0..1."
            )
    pairs = zip(splits, names or [None] * len(splits), strict=True)
    found = [_measure(images, source, its_names) for images, its_names in pairs]
    return Values(
        np.result_type(*(images.dtype for images in splits)),
        min(values.low for values in found),
        max(values.high for values in found),
        all(values.is_whole for values in found),
        tuple(values.high for values in found),
    )


def _measure(images: Images, source: str, names: Names) -> Values:
    """Returns the range of the pixel values of a split, after reading it once."""
    low, high, is_whole = remember("values", [images], lambda: _survey(images, source, names))
    return Values(images.dtype, low, high, is_whole)


def _survey(images: Images, source: str, names: Names) -> tuple[float, float, bool]:
    """Returns the smallest and the largest value, and whether all are whole numbers."""
    low, high, is_whole = math.inf, -math.inf, True
    for chunk in _chunks(images):
        part = images[chunk]
        if part.dtype.kind == "f":
            _check_finite(part, chunk.start, source, names)
            is_whole = is_whole and bool((np.rint(part) == part).all())
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    return low, high, is_whole


def _check_finite(images: NDArray[Any], start: int, source: str, names: Names) -> None:
    wrong = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if len(wrong):
        first = start + int(wrong[0])
        raise DataError(
            f"{source} contains pixels that are NaN or infinite, the first in "
            f"{f'image {first}' if names is None else names[first]}. Replace the pixels or remove "
            "those images."
        )


def decide_range(
    values: Values, given: tuple[float, float] | None = None, source: str = "The image set"
) -> PixelRange:
    """Decides which pixel values are black and white.

    Args:
        values: Pixel values of all splits.
        given: Values that become 0 and 1, if the user gives them.
        source: Name of the image set in messages.

    Raises:
        DataError: The values do not tell which of them are black and white.
    """
    if given:
        return PixelRange(float(given[0]), float(given[1]), "given")
    decide = _decide_integers if values.dtype.kind in "bui" else _decide_floats
    decided = decide(values)
    if decided is None:
        raise unclear_range_error(values, source)
    if decided.rule == "likely" and not decided.warning:
        return replace(decided, warning=_describe_doubt(values, decided))
    return decided


def unclear_range_error(values: Values, source: str) -> DataError:
    """Returns the error that pixel values do not tell which of them are black and white."""
    low, high = _suggestion(values)
    return DataError(
        f"{source} contains {values}: it is unclear which values are black and white. Add range = "
        f"[{low:g}, {high:g}] under [data] in the search file, with the values of black and white. "
        "`vaetune new NAME --dataset DATA` writes a search file."
    )


def _describe_doubt(values: Values, decided: PixelRange) -> str:
    other = _suggestion(values)
    if other == (decided.low, decided.high):
        other = (0.0, 65535.0) if other == (0.0, 255.0) else (0.0, 255.0)
    return (
        f"{values} were taken as {decided.low:g}..{decided.high:g}. If this is wrong, add, for "
        f"example, range = [{other[0]:g}, {other[1]:g}] under [data] in the search file."
    )


def _suggestion(values: Values) -> tuple[float, float]:
    """Returns the range to suggest: the values themselves."""
    low = min(values.low, 0.0)
    return low, values.high if values.high > low else low + 1.0


def _decide_integers(values: Values) -> PixelRange | None:
    low, high = values.low, values.high
    if low < 0:
        return None
    if high <= 1:  # These are masks of zeros and ones, not almost black images.
        return PixelRange(0.0, 1.0)
    if values.dtype == np.uint8:
        return _decide_bytes(values)
    full = _full_scale(high)
    if full is None:
        return None
    # Signed types are NumPy's default for whole numbers; unsigned ones of 16 bits are from cameras.
    is_byte = full == 255.0 and high >= 128.0 and values.dtype.kind == "i"
    is_full = full > 255.0 and high >= 0.9 * full
    return PixelRange(0.0, full, "certain" if is_byte or is_full else "likely")


def _decide_bytes(values: Values) -> PixelRange:
    if values.high >= DARK:
        return PixelRange(0.0, 255.0)
    return PixelRange(
        0.0,
        255.0,
        "likely",
        f"The largest pixel value is {values.high:g} of 255, so the images are almost black. If "
        f"{values.high:g} is white, add range = [0, {values.high:g}] under [data] in the search "
        "file.",
    )


def _decide_floats(values: Values) -> PixelRange | None:
    low, high = values.low, values.high
    if low >= 0 and high <= 1:
        return PixelRange(0.0, 1.0)
    if low >= -OVERSHOOT and 0.6 < high <= 1 + OVERSHOOT:
        return PixelRange(0.0, 1.0)
    if -1 - OVERSHOOT <= low < -0.6 and 0.6 < high <= 1 + OVERSHOOT:
        is_certain = low <= -1 + OVERSHOOT and high >= 1 - OVERSHOOT
        return PixelRange(-1.0, 1.0, "certain" if is_certain else "likely")
    if -0.6 < low < -0.4 and 0.4 < high < 0.6:
        return PixelRange(-0.5, 0.5, "likely")
    return _decide_whole_floats(values) if values.is_whole else _decide_fractions(values)


def _decide_whole_floats(values: Values) -> PixelRange | None:
    """Decides for floats that hold whole numbers, which were probably integers once."""
    low, high = values.low, values.high
    full = _full_scale(high)
    if low < 0 or full is None:
        return None
    if high in SMALL_SCALES:
        return PixelRange(0.0, high, "likely")
    if full == 255.0 and high < 64:
        return None
    return PixelRange(0.0, full, "certain" if full == 255.0 and high >= 128 else "likely")


def _decide_fractions(values: Values) -> PixelRange | None:
    """Decides for floats with fractions, such as images that were resized."""
    low, high = values.low, values.high
    if low >= 0 and high == 100.0:
        return PixelRange(0.0, 100.0, "likely")
    if low >= -OVERSHOOT * 255 and 128 <= high <= (1 + OVERSHOOT) * 255:
        return PixelRange(0.0, 255.0, "certain" if low >= 0 and 200 <= high <= 255 else "likely")
    return None


def _full_scale(high: float) -> float | None:
    """Returns the largest value of the smallest number of bits that holds a value.

    Values that are a little above 255 may be bytes after a filter or 10 bits, so there is none.
    """
    if 255.0 < high <= (1 + OVERSHOOT) * 255.0:
        return None
    return next((full for full in FULL_SCALES if high <= full), None)


@dataclass(frozen=True)
class Scaling:
    """Scales images as `scale_pixels` does.

    Attributes:
        values: Pixel values of all splits.
        chosen: Values that become 0 and 1.
    """

    values: Values
    chosen: PixelRange

    def __call__(self, images: NDArray[Any]) -> NDArray[Any]:
        """Returns the scaled images."""
        return scale_pixels(images, self.values, self.chosen)[0]


def scale_on_disk(images: DiskImages, scaling: Scaling) -> tuple[DiskImages, int]:
    """Scales images each time they are read, and counts the values that will be clipped."""
    scaled = images.changed(scaling)
    values, chosen = scaling.values, scaling.chosen
    if chosen.low == 0.0 <= values.low and values.high <= chosen.high:
        return scaled, 0

    def count() -> int:
        return sum(scale_pixels(images[chunk], values, chosen)[1] for chunk in _chunks(images))

    return scaled, remember("clipped", [scaled], count)


def scale_pixels(
    images: NDArray[Any], values: Values, chosen: PixelRange
) -> tuple[NDArray[Any], int]:
    """Scales images, and returns them with the number of values that were clipped.

    Whole numbers in 0..255 become uint8, and masks of zeros and ones become 0 and 255. All other
    images become float32 in [0, 1]. The images stay as they are if nothing is to be done.

    Args:
        images: Pixels, (n, height, width, channels), of one split.
        values: Pixel values of all splits.
        chosen: Values that become 0 and 1.
    """
    bounds = (chosen.low, chosen.high)
    is_mask = values.dtype.kind in "bui" and values.low >= 0 and values.high <= 1
    if bounds == (0.0, 1.0) and is_mask:
        return images.astype(np.uint8) * np.uint8(255), 0
    if bounds == (0.0, 255.0) and values.is_whole and values.low >= 0 and values.high <= 255:
        return images.astype(np.uint8, copy=False), 0
    if bounds == (0.0, 1.0) and values.low >= 0 and values.high <= 1:
        return images.astype(np.float32, copy=False), 0
    scaled, clipped = empty_aligned(images.shape, np.float32), 0
    for chunk in _chunks(images):
        scaled[chunk], outside = to_unit(images[chunk], *bounds)
        clipped += outside
    return scaled, clipped


def _chunks(images: Images) -> Iterator[slice]:
    """Yields slices of images that are small enough to be converted at a time."""
    step = max(1, _CHUNK_VALUES // max(1, math.prod(images.shape[1:])))
    return (slice(start, start + step) for start in range(0, len(images), step))
