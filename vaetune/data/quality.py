"""Checks of a whole image set: copies, constant images, and values that look like a mistake."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import MIN_IMAGES, Copies, Reading
from vaetune.data.disk.cache import remember
from vaetune.data.disk.images import DiskImages, Images
from vaetune.data.images import Split
from vaetune.data.pixels import PixelRange, Values
from vaetune.errors import DataError

_DIGEST_BYTES = 8
"""Bytes of the hash of an image. Ten million images have two equal ones by chance once in 300,000
sets."""

_CHUNK_BYTES = 2**18
"""Bytes of images that are compared at a time, to limit memory."""

_CHUNK_BYTES_ON_DISK = 2**24
"""Bytes of images on the disk that are compared at a time. Fewer reads are faster."""

_DIVIDED_TWICE = 1.001 / 255.0
"""Largest value of images in 0..1 that were divided by 255 once more, with some rounding."""


def count_copies(train: Split, validation: Split, test: Split) -> Copies:
    """Counts images that are equal, pixel by pixel, and images of a single value.

    Images are compared by a hash of their bytes, so only one image at a time is read.

    Args:
        train: Training images.
        validation: Validation images, with the type of the training images.
        test: Test images, with the type of the training images.
    """
    splits = (train, validation, test)
    images = [split.images for split in splits]
    return Copies(**remember("copies", images, lambda: _count(splits).model_dump()))


def _count(splits: Sequence[Split]) -> Copies:
    earlier = np.empty(0, np.uint64)
    within = across = constant = 0
    for split in splits:
        digests = np.empty(len(split), np.uint64)
        at = 0
        for chunk in _chunks(split):
            digests[at : at + len(chunk)] = _digest(chunk)
            constant += _count_constant(chunk)
            at += len(chunk)
        distinct = np.unique(digests)
        within += len(digests) - len(distinct)
        across += int(np.isin(digests, earlier).sum())
        earlier = np.union1d(earlier, distinct)
    return Copies(distinct=len(earlier), within=within, across=across, constant=constant)


def _digest(images: NDArray[Any]) -> NDArray[np.uint64]:
    """Returns a hash of each image."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1).view(np.uint8)
    hashes = (hashlib.blake2b(row.data, digest_size=_DIGEST_BYTES).digest() for row in rows)
    return np.frombuffer(b"".join(hashes), np.uint64)


def _count_constant(images: NDArray[Any]) -> int:
    flat = images.reshape(len(images), -1)
    return int(np.count_nonzero((flat == flat[:, :1]).all(axis=1)))


def _chunks(split: Split) -> Iterator[NDArray[Any]]:
    if not len(split):
        return
    size = _CHUNK_BYTES_ON_DISK if isinstance(split.images, DiskImages) else _CHUNK_BYTES
    step = max(1, size * len(split) // split.images.nbytes)
    yield from (split.images[start : start + step] for start in range(0, len(split), step))


def check_can_teach(reading: Reading, count: int, source: str) -> tuple[str, ...]:
    """Checks that a model can learn something from an image set.

    Args:
        reading: Record of the reading, with the copies.
        count: Number of images in all splits together.
        source: Name of the image set in messages.

    Returns:
        Warnings about possible mistakes, one sentence each.

    Raises:
        DataError: All images are equal or constant, or there are too few distinct images.
    """
    copies = reading.copies
    if copies is None:
        return tuple(_warnings_of_values(reading))
    if copies.distinct == 1 and count > 1:
        raise DataError(
            f"{source}: all {count:,} images are equal, expected at least {MIN_IMAGES} distinct "
            "images. Look at the images, and at the program that wrote them."
        )
    if copies.constant == count:
        raise DataError(
            f"{source}: each of the {count:,} images has the same value in all its pixels, so "
            "there is nothing to learn. Look at the images, and at the program that wrote them."
        )
    if copies.distinct < MIN_IMAGES:
        raise DataError(
            f"{source} contains {copies.distinct} distinct images, {count:,} with copies, expected "
            f"at least {MIN_IMAGES} distinct ones. Add images, or use --dataset digits."
        )
    return (*_warnings_of_copies(copies), *_warnings_of_values(reading))


def _warnings_of_copies(copies: Copies) -> Iterator[str]:
    if copies.across:
        few = copies.across == 1
        yield (
            f"{copies.across:,} validation or test {'image is' if few else 'images are'} also in "
            "an earlier split, training or validation: losses are too good. Remove the copies."
        )
    if copies.within:
        few = copies.within == 1
        yield (
            f"{copies.within:,} {'image repeats' if few else 'images repeat'} another one of the "
            "same split and count twice or more."
        )
    if copies.constant:
        few = copies.constant == 1
        yield (
            f"{copies.constant:,} {'image has' if few else 'images have'} the same value in all "
            "pixels."
        )


def _warnings_of_values(reading: Reading) -> Iterator[str]:
    if reading.rule == "given":  # The range was chosen, so these values are meant.
        return
    kind = np.dtype(reading.dtype).kind
    if kind in "ui" and (reading.low, reading.high) == (0, 1):
        yield (
            "The images have only the values 0 and 1. An integer division by 255 leaves these; "
            "binarised images are fine."
        )
    if kind == "f" and reading.low >= 0 and 0 < reading.high <= _DIVIDED_TWICE:
        yield (
            f"The largest pixel value is {reading.high:.2g}, so the images are almost black. Were "
            "they divided by 255 twice?"
        )


def find_doubts(splits: Sequence[Images], values: Values, chosen: PixelRange) -> Iterator[str]:
    """Yields warnings about values that use little of their range.

    Args:
        splits: Images of each split as they were found.
        values: Pixel values of all splits.
        chosen: Values that become 0 and 1.
    """
    if chosen.rule == "given" or chosen.warning:
        return
    if max(values.tops) > 8 * min(values.tops):
        tops = ", ".join(f"{top:g}" for top in values.tops)
        yield (
            f"The largest values of the splits are {tops}. Were all splits scaled in the same way?"
        )
    bright = remember("bright", splits, lambda: _bright_value(splits))
    if 0 < bright - chosen.low < (chosen.high - chosen.low) / 6:
        yield (
            f"Nearly all pixel values are below {bright:g} of {chosen.high:g}, so the images are "
            f"almost black. If {bright:g} is white, add range = [{chosen.low:g}, {bright:g}] under "
            "[data] in the search file."
        )


def _bright_value(splits: Sequence[Images]) -> float:
    """Returns a value that one in a thousand pixels exceeds."""
    sample = np.concatenate([_sample(images) for images in splits])
    return float(np.percentile(sample.astype(np.float32), 99.9))


def _sample(images: Images) -> NDArray[Any]:
    """Returns some 20,000 values of at most 512 images, evenly spread."""
    some = images[:: max(1, len(images) // 256)].reshape(-1)
    return some[:: max(1, some.size // 20_000) | 1]
