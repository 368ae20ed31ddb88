"""Hands the images of each compiled call to TensorFlow, from memory or from the disk."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import ALIGNMENT, DiskImages, Images, ImageSet, read_ahead

CALL_BYTES = 2**26
"""Largest size of the images of one compiled call, unless a single batch is larger."""

CALLS_PER_EPOCH = 10
"""Compiled calls per epoch. Between two calls, progress is reported and Ctrl-C takes effect."""

Feed: TypeAlias = tf.Tensor | DiskImages
"""Images, (n, height, width, channels), on the device or on the disk."""


@dataclass(frozen=True, eq=False)
class DeviceData:
    """The images of a search on the device or on the disk, in their original type.

    Attributes:
        train: Training images, (n, height, width, channels), uint8 or float32.
        validation: Validation images, (n, height, width, channels), uint8 or float32.
        draws_pixels: Whether each training step replaces a pixel by 1 with a probability equal to
            its value, else by 0.
    """

    train: Feed
    validation: Feed
    draws_pixels: bool = False


def put_on_device(images: ImageSet) -> DeviceData:
    """Puts training and validation images on the default device, but not the test images.

    On the CPU, aligned arrays are not copied; see `data.zero_copy`. Therefore, images from a
    folder are in memory only once. Images on the disk stay there.
    """
    return DeviceData(
        to_feed(images.train.images),
        to_feed(images.validation.images),
        images.binarize == "stochastic",
    )


def to_feed(images: Images) -> Feed:
    """Puts images that are in memory on the default device. Others stay on the disk."""
    return images if isinstance(images, DiskImages) else to_tensor(images)


def to_tensor(images: NDArray[Any]) -> tf.Tensor:
    """Puts images on the default device. On the CPU, aligned arrays are not copied."""
    is_aligned = images.ctypes.data % ALIGNMENT == 0 and images.flags.c_contiguous
    if not is_aligned or not images.flags.writeable or tf.config.list_logical_devices("GPU"):
        return tf.constant(images)
    return tf.experimental.dlpack.from_dlpack(images.__dlpack__())


def first_images(feed: Feed, count: int) -> Feed:
    """Returns the first images of a feed."""
    return feed.take(slice(count)) if isinstance(feed, DiskImages) else feed[:count]


def images_per_call(feed: Feed, batch_size: int) -> int:
    """Returns the largest number of images of one call: whole batches, at least one."""
    per_image = tf.as_dtype(feed.dtype).size * math.prod(feed.shape[1:])
    batches = max(1, CALL_BYTES // int(per_image) // batch_size)
    return batches * batch_size


def images_per_part(feed: Feed, images: int, batch_size: int) -> int:
    """Returns the number of images that one compiled call trains on, a multiple of the batch size.

    Args:
        feed: All images.
        images: Number of images of an epoch.
        batch_size: Images per training step.
    """
    steps = -(-images // batch_size)
    stride = -(-steps // CALLS_PER_EPOCH) * batch_size
    return min(stride, images_per_call(feed, batch_size))


def feed_parts(
    feed: Feed, parts: Sequence[NDArray[np.int32]]
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Yields the images of each call, and their order in them.

    In memory, these are all images, so nothing is copied. From the disk, these are the images of
    the call only. While one call runs, a thread reads the images of the next one.

    Args:
        feed: All images.
        parts: Indices of the images of each call, in the order of their use.
    """
    if not isinstance(feed, DiskImages):
        for part in parts:
            yield feed, tf.constant(part)
        return
    for images in read_ahead(feed.__getitem__, parts):
        yield to_tensor(images), tf.range(len(images))
