"""Checks and conversions of images and labels as they were loaded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.data.images import to_unit_interval
from vaetune.errors import DataError

MIN_IMAGES = 12

MIN_IMAGE_SIDE = 8


def checked_images(images: Any, source: str) -> NDArray[Any]:
    """Returns (n, height, width, channels), as uint8 or as float32 in [0, 1]."""
    if images.dtype.kind not in "buif":
        raise DataError(
            f"{source} holds values of type {images.dtype}, expected numbers: uint8, or floats in "
            "[0, 1] or 0..255."
        )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4:
        raise DataError(
            f"{source} has shape {images.shape}, expected (images, height, width) or "
            "(images, height, width, channels)."
        )
    if not len(images):
        raise DataError(f"{source} is empty, at least {MIN_IMAGES} images are needed.")
    _check_size(images.shape[1:], source)
    return _to_pixels(images, source)


def _check_size(shape: Sequence[int], source: str) -> None:
    height, width, channels = shape
    if channels not in (1, 3):
        raise DataError(
            f"{source} has {channels} channels, expected 1 (grey) or 3 (colour). Arrays are read "
            "as (images, height, width, channels)."
        )
    if min(height, width) < MIN_IMAGE_SIDE:
        raise DataError(
            f"{source} has images of {height} x {width} pixels, at least {MIN_IMAGE_SIDE} x "
            f"{MIN_IMAGE_SIDE} are needed. Enlarge or pad them."
        )


def _to_pixels(images: NDArray[Any], source: str) -> NDArray[Any]:
    if images.dtype.kind == "b":
        return images.astype(np.uint8) * np.uint8(255)
    low, high = float(images.min()), float(images.max())
    if not np.isfinite(low + high):
        at = int(np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))[0])
        raise DataError(
            f"{source} holds pixels that are NaN or infinite, the first in image {at}. "
            "Replace them or leave those images out."
        )
    if low < 0 or high > 255:
        wrong = low if low < 0 else high
        raise DataError(
            f"{source} holds the pixel value {wrong:g}, expected 0..255, or 0..1 as floats. "
            "Scale the images first."
        )
    if images.dtype.kind == "f":
        return _floats_to_pixels(images, high)
    if high == 1:  # a mask of zeros and ones, not an all but black picture
        return images.astype(np.uint8) * np.uint8(255)
    return images.astype(np.uint8, copy=False)


def _floats_to_pixels(images: NDArray[Any], high: float) -> NDArray[Any]:
    if high <= 1.0:
        return images.astype(np.float32, copy=False)
    as_bytes = images.astype(np.uint8)
    if np.array_equal(as_bytes, images):
        return as_bytes
    return images.astype(np.float32) / np.float32(255.0)


def checked_labels(labels: Any, count: int, source: str, what: str) -> NDArray[Any] | None:
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != count:
        raise DataError(
            f"{source} has {count} {what} images, but labels of shape {labels.shape}: expected "
            f"({count},). Give a label to each image, or leave the labels out."
        )
    whole = labels.dtype.kind in "iub" or (
        labels.dtype.kind == "f" and bool(np.all(labels == np.floor(labels)))
    )
    if not whole:
        raise DataError(
            f"{source} has {what} labels of type {labels.dtype}, expected whole numbers. "
            "Number the classes, or leave the labels out."
        )
    numbers: NDArray[np.int64] = labels.astype(np.int64)
    return numbers


def check_test_set(images: NDArray[Any], test_images: NDArray[Any], source: str) -> None:
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{source} has training images of shape {images.shape[1:]}, but test images of shape "
            f"{test_images.shape[1:]}: expected the same. Resize them, or leave x_test out."
        )


def as_classes(
    labels: NDArray[Any] | None,
    test_labels: NDArray[Any] | None,
    class_names: tuple[str, ...] | None,
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Numbers the classes from 0 in the order of their labels."""
    given = [each for each in (labels, test_labels) if each is not None]
    if not given or class_names is not None:
        return labels, test_labels, class_names
    values = np.unique(np.concatenate(given))
    numbered = [
        None if each is None else np.searchsorted(values, each).astype(np.int64)
        for each in (labels, test_labels)
    ]
    return numbered[0], numbered[1], tuple(str(value) for value in values)


def to_one_type(
    images: NDArray[Any], test_images: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Training and test images share a type, floats if either are."""
    if test_images is None or images.dtype == test_images.dtype:
        return images, test_images
    return to_unit_interval(images), to_unit_interval(test_images)
