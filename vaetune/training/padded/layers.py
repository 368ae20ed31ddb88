"""Applies the layers of a wide model to padded weights, with shapes that are all known."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf
from keras import layers

from vaetune.models import group_channels
from vaetune.training.layers import ModelRunner
from vaetune.training.padded.products import convolve, convolve_transposed


class Filled(NamedTuple):
    """How many images of a batch of constant size count.

    Attributes:
        shares: Share of each image in the mean over the batch, (batch,); 0 for those that do not
            count.
        active: 1 if any image counts, else 0, a scalar.
    """

    shares: tf.Tensor
    active: tf.Tensor

    @classmethod
    def of(cls, count: tf.Tensor, batch_size: int, dtype: tf.DType) -> "Filled":
        """Returns that of the first `count` images of a batch; `count` may be 0."""
        counts = tf.sequence_mask(count, batch_size, dtype)
        number = tf.cast(count, dtype)
        return cls(counts / tf.maximum(number, 1.0), tf.minimum(number, 1.0))

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the mean over the first axis of the images that count."""
        return tf.tensordot(self.shares, values, 1)


class PaddedModelRunner(ModelRunner):
    """Runs models with padded weights; see `ModelRunner`.

    Args:
        weights: Variables by path.
        filled: Images that count in training. None: the model is not trained.
        dtype: Type in which layers multiply, see `ModelRunner`.
    """

    def __init__(
        self,
        weights: Mapping[str, tf.Tensor],
        filled: Filled | None = None,
        dtype: tf.DType = tf.float32,
    ) -> None:
        super().__init__(weights, filled is not None, dtype)
        self._filled = filled

    def _moments(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        assert self._filled is not None  # Moments are needed in training only.
        axes = list(range(1, len(x.shape) - 1))
        mean = self._filled.mean(tf.reduce_mean(x, axes))
        variance = self._filled.mean(tf.reduce_mean(tf.math.squared_difference(x, mean), axes))
        return mean, variance

    def _group_size(self, x: tf.Tensor) -> tf.Tensor | int:
        return group_channels(x.shape[-1])

    def _convolve(self, layer: layers.Layer, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return convolve(x, kernel, layer.strides)

    def _convolve_transposed(
        self, layer: layers.Layer, x: tf.Tensor, kernel: tf.Tensor
    ) -> tf.Tensor:
        return convolve_transposed(x, kernel, layer.strides)
