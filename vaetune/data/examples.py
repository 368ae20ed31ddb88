"""Chooses images that are shown to people."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.data.images import ImageSet, Split, binarized, to_unit_interval


def spread_over_classes(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns an order of images: the first of each class, then the second of each, and so on.

    Args:
        labels: Class indices, (n,).
    """
    occurrence = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        occurrence[members] = np.arange(len(members))
    return np.lexsort((labels, occurrence))


def choose_examples(images: ImageSet, count: int) -> NDArray[np.uint8]:
    """Returns training images as a model sees them, from all classes.

    Args:
        images: Prepared image set.
        count: Largest number of images.

    Returns:
        Images, (n, height, width, channels), 0..255.
    """
    train = images.train
    labels = np.zeros(len(train), np.int64) if train.labels is None else train.labels
    chosen = train.take(spread_over_classes(labels)[:count])
    seen = binarized(Split(chosen.images[:], None), images.binarize)
    return to_bytes(seen.images[:])


def to_bytes(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns images, uint8 or floats in [0, 1], as uint8."""
    if images.dtype == np.uint8:
        return images
    pixels: NDArray[np.uint8] = np.rint(to_unit_interval(images) * 255.0).astype(np.uint8)
    return pixels
