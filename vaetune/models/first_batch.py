"""Looks at the first batch of what Keras's `fit` is given, and says whether its scale is right."""

import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

SAMPLE_IMAGES = 256
"""Number of images of an array to look at. They are spread over the array."""

TOLERANCE = 1e-5
"""Distance from [0, 1] that rounding can cause."""

CLIP_BELOW = 0.25
"""Distance from [0, 1] up to which floats were probably resized, which overshoots at edges."""


def peek(data: Any) -> tuple[NDArray[Any] | None, Any]:
    """Returns the images of the first batch, and the data to train on in place of `data`.

    Args:
        data: Argument `x` or `validation_data` of `fit`: an array, a tuple that begins with one,
            a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator.

    Returns:
        The images, or None if there are none or `data` is of another kind; and `data` itself, or
        a generator of the same batches in place of a generator.
    """
    if isinstance(data, types.GeneratorType):
        batch = next(data, None)
        return _images_of(batch), data if batch is None else _put_back(batch, data)
    if isinstance(data, tf.data.Dataset):
        return _images_of(next(iter(data.take(1)), None)), data
    if isinstance(data, keras.utils.PyDataset):
        return _images_of(data[0]), data
    return _images_of(data), data


def _put_back(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield first
    # `yield from` would close `others` at the end of a trial, and the next one continues it.
    for batch in others:  # noqa: UP028
        yield batch


def _images_of(batch: Any) -> NDArray[Any] | None:
    if isinstance(batch, (tuple, list)):
        return _images_of(batch[0]) if batch else None
    if not hasattr(batch, "shape") or not hasattr(batch, "__getitem__") or not batch.shape:
        return None
    step = max(1, int(batch.shape[0]) // SAMPLE_IMAGES)
    images = np.asarray(batch[::step])
    return images if images.size and images.dtype.kind not in "OSUM" else None


def explain_range(images: NDArray[Any]) -> str:
    """Returns what is wrong with the scale of images and what to do; empty if nothing is.

    Args:
        images: Images of any type and shape.
    """
    values = images.astype(np.float64)
    if not np.isfinite(values).all():
        return f"{images.dtype} with values that are not finite. Remove or replace them."
    low, high = float(values.min()), float(values.max())
    if low >= -TOLERANCE and high <= 1.0 + TOLERANCE:
        return ""
    return f"{images.dtype} from {low:.6g} to {high:.6g}. {_advise(images.dtype, low, high)}"


def _advise(dtype: np.dtype[Any], low: float, high: float) -> str:
    """Returns how to bring values into [0, 1]."""
    is_whole = dtype.kind in "iu"
    if dtype == np.uint8:
        return "Divide them by 255."
    if not is_whole and low >= -CLIP_BELOW and high <= 1.0 + CLIP_BELOW:
        return "Clip them with numpy.clip(x, 0, 1)."
    if low >= -1.0 - TOLERANCE and high <= 1.0 + TOLERANCE:
        return "Scale them with (x + 1) / 2."
    if dtype == np.int8:
        return "Scale them with (x + 128.0) / 255."
    if low < 0.0:
        return "Scale them with (x - low) / (high - low), the bounds of all training images."
    for bound in (255, 65535):
        if high <= bound:
            return f"Divide them by {bound}, or by another value that is white in all images."
    return "Divide them by the value that is white in all images."
