"""Makes an image set of raw images: scales the pixels, numbers the classes, splits the images."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import MAX_CHANNELS, MIN_IMAGE_SIDE, MIN_IMAGES, Reading, ReadingSpec
from vaetune.data.disk.images import DiskImages, Images
from vaetune.data.images import (
    ImageSet,
    Split,
    fingerprint_of,
    hold_out,
    to_unit_interval,
)
from vaetune.data.labels import convert_labels
from vaetune.data.pixels import (
    PixelRange,
    Scaling,
    Values,
    decide_range,
    measure_values,
    scale_on_disk,
    scale_pixels,
    unclear_range_error,
)
from vaetune.data.quality import check_can_teach, count_copies, find_doubts
from vaetune.data.raw import RawImages, RawSplit
from vaetune.errors import DataError

MAX_CLIPPED = 0.05
"""Largest share of values that a range found by vaetune may clip."""


@dataclass(frozen=True, eq=False)
class _Scaled:
    """The images of all splits with scaled pixels.

    Attributes:
        splits: Images of each split, all of the same type.
        values: Pixel values as they were found.
        range: Values that became 0 and 1.
        clipped: Number of values that were outside.
        warnings: Facts that may be mistakes, one sentence each.
    """

    splits: Sequence[Images]
    values: Values
    range: PixelRange
    clipped: int
    warnings: tuple[str, ...]


def assemble(name: str, source: str, raw: RawImages, spec: ReadingSpec) -> ImageSet:
    """Returns the image set of raw images.

    Args:
        name: Name of the set.
        source: Name of the set or path, also in messages.
        raw: Images as they were found. The arrays may be overwritten.
        spec: Options of reading.

    Raises:
        DataError: A VAE cannot be trained on the images.
    """
    names = ("training", "validation", "test")
    found = [(n, s) for n, s in zip(names, (raw.train, raw.validation, raw.test), strict=True) if s]
    found_splits = [split for _, split in found]
    _check_counts(found, source)
    check_size(raw.train.images.shape[1:], spec, source)
    scaled = _scale(found_splits, spec, source)
    labels = convert_labels(
        [split.labels for _, split in found],
        [len(split.images) for _, split in found],
        [split_name for split_name, _ in found],
    )
    splits: dict[str, Split] = {
        split_name: Split(images, indices, positions)
        for (split_name, _), images, indices, positions in zip(
            found, scaled.splits, labels.indices, list_positions(found_splits), strict=True
        )
    }
    train, validation, test = hold_out(
        splits["training"], splits.get("validation"), splits.get("test")
    )
    reading = _describe(raw, scaled, spec, labels.warnings)
    reading = reading.model_copy(update={"copies": count_copies(train, validation, test)})
    doubts = check_can_teach(reading, len(train) + len(validation) + len(test), source)
    return ImageSet(
        name,
        source,
        train,
        validation,
        test,
        raw.class_names or labels.class_names,
        fingerprint_of((train, validation, test)),
        reading=reading.model_copy(update={"warnings": (*reading.warnings, *doubts)}),
        names=list_names(found_splits),
    )


def list_positions(splits: Sequence[RawSplit]) -> list[NDArray[np.int64]]:
    """Returns the positions of the images of each split among all images as they were found."""
    ends = np.cumsum([0, *(len(split.images) for split in splits)]).tolist()
    return [np.arange(*pair) for pair in itertools.pairwise(ends)]


def list_names(splits: Sequence[RawSplit]) -> NDArray[Any]:
    """Returns the names of all images by position: paths of files, or indices in the arrays."""
    return np.concatenate(
        [np.arange(len(s.images)) if s.names is None else s.names for s in splits]
    )


def _check_counts(found: Sequence[tuple[str, RawSplit]], source: str) -> None:
    for name, split in found:
        count, least = len(split.images), MIN_IMAGES if name == "training" else 1
        if count < least:
            raise DataError(
                f"{source} contains {count} {name} images, expected at least {least}. Add images"
                + (", or use --dataset digits." if name == "training" else ", or leave them out.")
            )


def check_size(shape: Sequence[int], spec: ReadingSpec, source: str) -> None:
    """Checks the size of images and the number of their channels.

    Args:
        shape: Height, width and channels.
        spec: Options of reading.
        source: Name of the image set in messages.

    Raises:
        DataError: A VAE cannot be trained on such images.
    """
    height, width, channels = shape
    if spec.show and max(spec.show) >= channels:
        raise DataError(
            f"{source} has {channels} channels, numbered from 0, but show = {list(spec.show)} "
            "under [data] in the search file names others."
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise DataError(f"{source} has {channels} channels, expected 1 to {MAX_CHANNELS}.")
    if min(height, width) < MIN_IMAGE_SIDE:
        raise DataError(
            f"{source} has images of {height} x {width} pixels, expected at least {MIN_IMAGE_SIDE} "
            f"x {MIN_IMAGE_SIDE}. Enlarge them with --image-size, or pad them."
        )


def _scale(found: Sequence[RawSplit], spec: ReadingSpec, source: str) -> _Scaled:
    """Scales the pixels of all splits by one range."""
    splits = [split.images for split in found]
    if spec.range is None and len({images.dtype.kind == "f" for images in splits}) > 1:
        return _scale_each(found, source)
    values = measure_values(splits, source, [split.names for split in found])
    chosen = decide_range(values, spec.range, source)
    scaled = [_scale_split(images, values, chosen) for images in splits]
    clipped = sum(count for _, count in scaled)
    total = sum(math.prod(images.shape) for images in splits)
    if clipped > MAX_CLIPPED * total and chosen.rule != "given":
        raise unclear_range_error(values, source)
    warnings = [chosen.warning] if chosen.warning else [*find_doubts(splits, values, chosen)]
    if clipped:
        warnings.append(
            f"{clipped:,} of {total:,} pixel values were outside {chosen.low:g}..{chosen.high:g} "
            f"and clipped; the values reach from {values.low:g} to {values.high:g}."
        )
    return _Scaled([images for images, _ in scaled], values, chosen, clipped, tuple(warnings))


def _scale_split(images: Images, values: Values, chosen: PixelRange) -> tuple[Images, int]:
    if isinstance(images, DiskImages):
        return scale_on_disk(images, Scaling(values, chosen))
    return scale_pixels(images, values, chosen)


def _scale_each(splits: Sequence[RawSplit], source: str) -> _Scaled:
    """Scales splits of whole numbers and of floats, each by its own range."""
    parts = [_scale([split], ReadingSpec(), source) for split in splits]
    types = " and ".join(dict.fromkeys(str(split.images.dtype) for split in splits))
    first = parts[0]
    return _Scaled(
        [to_unit_interval(part.splits[0][:]) for part in parts],
        first.values,
        first.range,
        sum(part.clipped for part in parts),
        (
            f"The splits have values of the types {types}. Each was scaled by its own range.",
            *dict.fromkeys(warning for part in parts for warning in part.warnings),
        ),
    )


def _describe(
    raw: RawImages, scaled: _Scaled, spec: ReadingSpec, warnings: Sequence[str]
) -> Reading:
    return Reading(
        kind=raw.kind,
        dtype=str(np.dtype(raw.train.images.dtype)),
        low=scaled.values.low,
        high=scaled.values.high,
        range=(scaled.range.low, scaled.range.high),
        rule=scaled.range.rule,
        clipped=scaled.clipped,
        layout=raw.layout,
        pages=raw.pages,
        image_size=raw.image_size,
        resize=raw.resize,
        background=raw.background,
        show=spec.show,
        own_splits=raw.own_splits(),
        notes=(*raw.notes, *_describe_place(scaled.splits)),
        warnings=(*raw.warnings, *scaled.warnings, *warnings),
    )


def _describe_place(splits: Sequence[Images]) -> Iterator[str]:
    """Yields a sentence if the images stay on the disk."""
    if any(isinstance(images, DiskImages) for images in splits):
        size = sum(images.nbytes for images in splits) / 1e9
        yield f"Each epoch reads the images from the disk: they need {size:,.1f} GB in memory."
