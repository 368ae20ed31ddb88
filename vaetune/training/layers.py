"""Applies the layers of a model to the weights of another configuration, of any widths."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from keras import Model, layers

from vaetune.models import BATCH_MOMENTUM, GROUP_CHANNELS, Sampling, reparameterise

FLOAT32_LAYERS = ("z_mean", "z_log_var", "logits", "decoder_pixels", "level_")
"""Beginnings of the names of layers that multiply in float32 in every precision."""

Tensors = Sequence[tf.Tensor]

Weights = Mapping[str, tf.Tensor]
"""The variables of a model by path, as tensors."""


class ModelRunner:
    """Runs models with other weights than their own.

    Args:
        weights: Variables by path.
        training: Whether a batch normalization uses the statistics of the batch.
        dtype: Type in which layers multiply. In place of bfloat16, those of `FLOAT32_LAYERS` use
            float32.

    Attributes:
        statistics: New moving statistics of the batch normalizations by path, after training.
    """

    def __init__(
        self, weights: Weights, training: bool = False, dtype: tf.DType = tf.float32
    ) -> None:
        self._weights = weights
        self._training = training
        self._dtype = dtype
        self._exact_dtype = tf.float32 if dtype == tf.bfloat16 else dtype
        self.statistics: dict[str, tf.Tensor] = {}

    def run(self, model: Model, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Returns the outputs of a model."""
        # Keras uses this method for its own calls. It follows the connections of the layers.
        outputs = model._run_through_graph(list(inputs), operation_fn=self._function_of)
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    def variable(self, path: str) -> tf.Tensor:
        """Returns the value of a variable."""
        return self._weights[path]

    def width(self, path: str) -> tf.Tensor:
        """Returns the last dimension of a variable, int32 scalar."""
        return tf.shape(self._weights[path])[-1]

    def _function_of(self, layer: layers.Layer) -> Callable[..., tf.Tensor]:
        def apply(inputs: Any, mask: Any = None) -> tf.Tensor:
            del mask  # Keras passes it to batch normalizations. Images have none.
            xs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            weights = [self._weights[variable.path] for variable in layer.variables]
            is_exact = layer.name.startswith(FLOAT32_LAYERS)
            if weights or len(xs) > 1:
                dtype = self._exact_dtype if is_exact else self._dtype
                xs = [tf.cast(x, dtype) for x in xs]
            return self._apply(layer, xs, weights)

        return apply

    def _apply(self, layer: layers.Layer, inputs: Tensors, weights: Tensors) -> tf.Tensor:
        x = inputs[0]
        match layer:
            case layers.Add():
                return tf.add_n(inputs)
            case layers.Multiply():
                return inputs[0] * inputs[1]
            case layers.Concatenate():
                return tf.concat(inputs, axis=-1)
            case Sampling():
                return reparameterise(*inputs)
            case layers.BatchNormalization():
                return self._normalize_batch(layer, x, weights)
            case layers.GroupNormalization():
                return self._normalize_groups(x, weights[0], weights[1], layer.epsilon)
            case layers.Activation():
                activated: tf.Tensor = layer.activation(x)
                return activated
            case layers.Conv2D() | layers.Conv2DTranspose() | layers.Dense():
                return self._multiply(layer, x, *(tf.cast(each, x.dtype) for each in weights))
            case _:
                return _reshape(layer, x)

    def _normalize_batch(self, layer: layers.Layer, x: tf.Tensor, weights: Tensors) -> tf.Tensor:
        gamma, beta, mean, variance = weights
        exact = tf.cast(x, gamma.dtype)
        if self._training:
            moments = self._moments(exact)
            paths = (layer.moving_mean.path, layer.moving_variance.path)
            for path, old, new in zip(paths, (mean, variance), moments, strict=True):
                self.statistics[path] = BATCH_MOMENTUM * old + (1.0 - BATCH_MOMENTUM) * new
            mean, variance = moments
        scale = gamma * tf.math.rsqrt(variance + layer.epsilon)
        return tf.cast(exact * scale + (beta - mean * scale), x.dtype)

    def _moments(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mean and variance of each channel over the images of a batch."""
        mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
        return mean, variance

    def _group_size(self, x: tf.Tensor) -> tf.Tensor | int:
        """Returns the largest power of two up to `GROUP_CHANNELS` that divides the channels."""
        size, channels = tf.constant(1), tf.shape(x)[-1]
        for candidate in (2**power for power in range(1, GROUP_CHANNELS.bit_length())):
            size = tf.where(channels % candidate == 0, candidate, size)
        return size

    def _normalize_groups(
        self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
    ) -> tf.Tensor:
        shape, channels = tf.shape(x), tf.shape(x)[-1]
        size = self._group_size(x)
        grouped = tf.reshape(tf.cast(x, gamma.dtype), (shape[0], -1, channels // size, size))
        mean, variance = tf.nn.moments(grouped, (1, 3), keepdims=True)
        normal = tf.reshape((grouped - mean) * tf.math.rsqrt(variance + epsilon), shape)
        return tf.cast(tf.ensure_shape(normal * gamma + beta, x.shape), x.dtype)

    def _multiply(
        self, layer: layers.Layer, x: tf.Tensor, kernel: tf.Tensor, *bias: tf.Tensor
    ) -> tf.Tensor:
        match layer:
            case layers.Dense():
                outputs = tf.matmul(x, kernel)
            case layers.Conv2DTranspose():
                outputs = self._convolve_transposed(layer, x, kernel)
            case _:
                outputs = self._convolve(layer, x, kernel)
        if bias:
            outputs = tf.nn.bias_add(outputs, bias[0])
        activated: tf.Tensor = layer.activation(outputs)
        return activated

    def _convolve(self, layer: layers.Layer, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, kernel, layer.strides, layer.padding.upper())

    def _convolve_transposed(
        self, layer: layers.Layer, x: tf.Tensor, kernel: tf.Tensor
    ) -> tf.Tensor:
        sides = (side * stride for side, stride in zip(x.shape[1:3], layer.strides, strict=True))
        shape = (tf.shape(x)[0], *sides, tf.shape(kernel)[2])
        return tf.nn.conv2d_transpose(x, kernel, shape, layer.strides, layer.padding.upper())


def _reshape(layer: layers.Layer, x: tf.Tensor) -> tf.Tensor:
    batch = tf.shape(x)[0]
    match layer:
        case layers.Flatten():
            return tf.reshape(x, (batch, -1))
        case layers.Reshape(target_shape=(rows, columns, _)):
            return tf.reshape(x, (batch, rows, columns, -1))
        case layers.Cropping2D(cropping=((top, bottom), (left, right))):
            height, width = x.shape[1:3]
            return x[:, top : height - bottom, left : width - right]
        case _:
            raise TypeError(f"Unsupported layer {layer.name} of type {type(layer)}.")
