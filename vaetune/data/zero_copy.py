"""Arrays in memory that TensorFlow uses without a copy."""

import ctypes
import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.data.images import ImageSet

ALIGNMENT = 64
"""Bytes. TensorFlow's operations want their arrays to begin at a multiple."""


def empty_aligned(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array that TensorFlow on the CPU takes as it is: see `training.put_on_device`."""
    size = math.prod(shape)
    memory = np.empty(size + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].reshape(shape)


def map_images(images: ImageSet) -> ImageSet:
    """The same images, in arrays that TensorFlow takes without copying them."""
    train, validation = (
        replace(split, images=_writeable(split.images))
        for split in (images.train, images.validation)
    )
    return replace(images, train=train, validation=validation)


def _writeable(array: NDArray[Any]) -> NDArray[Any]:
    """Returns the same memory as an array that TensorFlow accepts; it is never written to.

    It takes no memory that is marked as read-only, as that of Ray's object store is. An array that
    does not begin where TensorFlow wants it to is small, and copied.
    """
    if array.ctypes.data % ALIGNMENT or not array.flags.c_contiguous:
        return array.copy()
    memory: Any = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    memory.owner = array  # which lives as long as the view
    return np.frombuffer(memory, array.dtype).reshape(array.shape)
