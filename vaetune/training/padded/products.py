"""Convolutions as matrix products.

On a GPU, XLA can put matrix products into one CUDA graph, but not cuDNN's convolutions. Their
results also repeat bit for bit, which those of convolutions do not.
"""

import math
from collections.abc import Sequence

import tensorflow as tf


def convolve(x: tf.Tensor, kernel: tf.Tensor, strides: Sequence[int]) -> tf.Tensor:
    """Returns `tf.nn.conv2d(x, kernel, strides, "SAME")`.

    Args:
        x: Maps, (batch, height, width, channels), of known shape.
        kernel: Kernel, (rows, columns, channels, filters).
        strides: Strides of rows and columns.
    """
    batch, *sides, _ = x.shape
    *taps, channels, filters = kernel.shape
    sizes = [-(-side // stride) for side, stride in zip(sides, strides, strict=True)]
    columns = zip(sizes, strides, taps, sides, strict=True)
    surplus = [max((size - 1) * stride + tap - side, 0) for size, stride, tap, side in columns]
    padded = tf.pad(x, [[0, 0], *([each // 2, -(-each // 2)] for each in surplus), [0, 0]])
    # The end of each slice is one past its last element.
    ends = [(size - 1) * stride + 1 for size, stride in zip(sizes, strides, strict=True)]
    patches = [
        padded[:, i : i + ends[0] : strides[0], j : j + ends[1] : strides[1]]
        for i in range(taps[0])
        for j in range(taps[1])
    ]
    rows = tf.reshape(tf.concat(patches, axis=-1), (-1, math.prod(taps) * channels))
    product = tf.matmul(rows, tf.reshape(kernel, (-1, filters)))
    return tf.reshape(product, (batch, *sizes, filters))


def convolve_transposed(x: tf.Tensor, kernel: tf.Tensor, strides: Sequence[int]) -> tf.Tensor:
    """Returns `tf.nn.conv2d_transpose(x, kernel, shape, strides, "SAME")`.

    Args:
        x: Maps, (batch, height, width, channels), of known shape.
        kernel: Kernel, (rows, columns, filters, channels).
        strides: Strides of rows and columns. Height and width of the result are this many times
            those of x.
    """
    batch, *sides, channels = x.shape
    *taps, filters, _ = kernel.shape
    matrix = tf.reshape(tf.transpose(kernel, (3, 0, 1, 2)), (channels, -1))
    product = tf.matmul(tf.reshape(x, (-1, channels)), matrix)
    spread = tf.reshape(product, (batch, *sides, *taps, filters))
    rows = _overlap_add(tf.unstack(spread, axis=3), strides[0], axis=1)
    return _overlap_add(tf.unstack(rows, axis=3), strides[1], axis=2)


def _overlap_add(taps: Sequence[tf.Tensor], stride: int, axis: int) -> tf.Tensor:
    """Adds the contributions of each tap of a kernel along an axis.

    Args:
        taps: Contributions of each position to the tap, in the order of the kernel.
        stride: Number of results for each position.
        axis: Axis of the positions.

    Returns:
        Results, with an axis that is `stride` times as long.
    """
    before = max(len(taps) - stride, 0) // 2
    phases: list[tf.Tensor | None] = [None] * stride
    for number, tap in enumerate(taps):
        shift, phase = divmod(number - before, stride)
        moved, sum_so_far = _shift(tap, shift, axis), phases[phase]
        phases[phase] = moved if sum_so_far is None else sum_so_far + moved
    zeros = tf.zeros_like(taps[0])
    stacked = tf.stack([zeros if phase is None else phase for phase in phases], axis + 1)
    shape = taps[0].shape.as_list()
    return tf.reshape(stacked, (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))


def _shift(x: tf.Tensor, by: int, axis: int) -> tf.Tensor:
    """Moves x along an axis, towards larger indices if positive. Zeros move in."""
    if by == 0:
        return x
    paddings = [[0, 0]] * len(x.shape)
    paddings[axis] = [max(by, 0), max(-by, 0)]
    kept = [slice(None)] * len(x.shape)
    kept[axis] = slice(max(-by, 0), x.shape[axis] - max(by, 0))
    return tf.pad(x[tuple(kept)], paddings)
