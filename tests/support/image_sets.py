"""Tiny image sets for tests that train."""

import numpy as np

from vaetune.data.images import ImageSet, Split


def make_split(count, shape, seed):
    """Images with one bright square each. The position of the square gives the label."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    images = generator.integers(0, 30, (count, *shape)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 4, 2 * label : 2 * label + 4] = 250
    return Split(images, labels.astype(np.int64))


def make_images(train=40, validation=14, test=14, shape=(9, 10, 1), fingerprint="f" * 64):
    """An image set with the given numbers of images, equal in each call."""
    return ImageSet(
        name="squares",
        source="squares.npz",
        train=make_split(train, shape, 1),
        validation=make_split(validation, shape, 2),
        test=make_split(test, shape, 3),
        class_names=("near", "middle", "far"),
        fingerprint=fingerprint,
    )
