"""Arrays that TensorFlow can use without copying them."""

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

ALIGNMENT = 64
"""Bytes. TensorFlow's operations require arrays with an address that is a multiple of this."""


def empty_aligned(shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
    """Returns an empty array that `training.put_on_device` does not copy on the CPU."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def as_writeable(array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array with the same memory, marked as writeable. Do not write to it.

    TensorFlow rejects memory that is marked as read-only, such as that of Ray's object store. An
    array that is not aligned is copied. Such arrays are small, because Ray aligns large ones.
    """
    if array.ctypes.data % ALIGNMENT or not array.flags.c_contiguous:
        return array.copy()
    memory: Any = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    memory.owner = array  # This keeps the array alive as long as the view.
    return np.frombuffer(memory, array.dtype).reshape(array.shape)
