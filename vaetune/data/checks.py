"""Checks and conversions of loaded images and labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.data.images import to_unit_interval
from vaetune.errors import DataError

MIN_IMAGES = 12

MIN_IMAGE_SIDE = 8


def checked_images(images: Any, source: str) -> NDArray[Any]:
    """Checks images and returns them as uint8, or as float32 in [0, 1].

    Args:
        images: Pixels, (n, height, width) or (n, height, width, channels).
        source: Name of the image set in messages.

    Returns:
        Images, (n, height, width, channels).

    Raises:
        DataError: A VAE cannot be trained on the images.
    """
    if images.dtype.kind not in "buif":
        raise DataError(
            f"{source} contains values of type {images.dtype}, expected numbers: uint8, or floats "
            "in [0, 1] or 0..255."
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
            f"{source} has {channels} channels, expected 1 (grey) or 3 (colour). The order of axes "
            "must be (images, height, width, channels)."
        )
    if min(height, width) < MIN_IMAGE_SIDE:
        raise DataError(
            f"{source} has images of {height} x {width} pixels, expected at least {MIN_IMAGE_SIDE} "
            f"x {MIN_IMAGE_SIDE}. Enlarge or pad the images."
        )


def _to_pixels(images: NDArray[Any], source: str) -> NDArray[Any]:
    if images.dtype.kind == "b":
        return images.astype(np.uint8) * np.uint8(255)
    low, high = float(images.min()), float(images.max())
    if not np.isfinite(low + high):
        at = int(np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))[0])
        raise DataError(
            f"{source} contains pixels that are NaN or infinite, the first in image {at}. Replace "
            "the pixels or remove those images."
        )
    if low < 0 or high > 255:
        wrong = low if low < 0 else high
        raise DataError(
            f"{source} contains the pixel value {wrong:g}, expected 0..255, or floats in 0..1. "
            "Scale the images first."
        )
    if images.dtype.kind == "f":
        return _floats_to_pixels(images, high)
    if high == 1:  # These are masks of zeros and ones, not almost black images.
        return images.astype(np.uint8) * np.uint8(255)
    return images.astype(np.uint8, copy=False)


def _floats_to_pixels(images: NDArray[Any], high: float) -> NDArray[Any]:
    if high <= 1.0:
        return images.astype(np.float32, copy=False)
    as_bytes = images.astype(np.uint8)
    if np.array_equal(as_bytes, images):
        return as_bytes
    return images.astype(np.float32) / np.float32(255.0)


def checked_labels(labels: Any, count: int, source: str, purpose: str) -> NDArray[Any] | None:
    """Checks labels and returns them as int64, (count,); None if there are none.

    Args:
        labels: Labels, (count,) or (count, 1), or None.
        count: Number of images.
        source: Name of the image set in messages.
        purpose: "training" or "test", in messages.

    Raises:
        DataError: The labels are not one whole number for each image.
    """
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != count:
        raise DataError(
            f"{source} has {count} {purpose} images, but labels of shape {labels.shape}: expected "
            f"({count},). Give each image a label, or leave the labels out."
        )
    is_whole = labels.dtype.kind in "iub" or (
        labels.dtype.kind == "f" and bool(np.all(labels == np.floor(labels)))
    )
    if not is_whole:
        raise DataError(
            f"{source} has {purpose} labels of type {labels.dtype}, expected whole numbers. "
            "Number the classes, or leave the labels out."
        )
    numbers: NDArray[np.int64] = labels.astype(np.int64)
    return numbers


def check_test_set(images: NDArray[Any], test_images: NDArray[Any], source: str) -> None:
    """Checks that test images have the shape of the training images.

    Raises:
        DataError: The shapes differ.
    """
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{source} has training images of shape {images.shape[1:]}, but test images of shape "
            f"{test_images.shape[1:]}: expected the same shape. Resize them, or leave x_test out."
        )


def number_classes(
    labels: NDArray[Any] | None,
    test_labels: NDArray[Any] | None,
    class_names: tuple[str, ...] | None,
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Turns labels into class indices, counted from 0 in the order of the labels.

    Args:
        labels: Labels of the training images, (n,), or None.
        test_labels: Labels of the test images, (m,), or None.
        class_names: Class names, if the labels are indices already.

    Returns:
        Class indices of the training images, of the test images, and the class names.
    """
    present = [each for each in (labels, test_labels) if each is not None]
    if not present or class_names is not None:
        return labels, test_labels, class_names
    values = np.unique(np.concatenate(present))
    numbered = [
        None if each is None else np.searchsorted(values, each).astype(np.int64)
        for each in (labels, test_labels)
    ]
    return numbered[0], numbered[1], tuple(str(value) for value in values)


def to_common_type(
    images: NDArray[Any], test_images: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Returns training and test images with the same type: float32 if one of them is float."""
    if test_images is None or images.dtype == test_images.dtype:
        return images, test_images
    return to_unit_interval(images), to_unit_interval(test_images)
