"""Likelihoods of pixels, whose negative logarithm is the reconstruction loss.

The decoder's logits l give the location sigmoid(l) of each pixel. Some likelihoods also have a
scale: one number for all pixels, learned with the weights.

References:
    Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in variational
    autoencoders", 2019.
    Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated Decoders",
    2021, section 3: a Gaussian with one learned variance.
    Salimans, Karpathy, Chen and Kingma, "PixelCNN++", 2017, section 2.1, with one component.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from vaetune.config import PIXEL_LEVELS, Likelihood
from vaetune.models.losses import binary_cross_entropy

SCALE_LAYER = "pixel_scale"

DEFAULT_SPREAD = 0.3
"""Standard deviation of pixels of images that are not known yet."""

SMALLEST_SCALE = 1.0 / (PIXEL_LEVELS - 1)
"""Smallest standard deviation of the Gaussian: one grey level of 8 bits.

With a smaller one, the density of pixels that are always equal, such as a white background, would
grow without bound."""

_SMALLEST = {"gaussian": SMALLEST_SCALE, "discretized_logistic": SMALLEST_SCALE / 8}

_SERIES_BELOW = 0.25
"""Size of a logit below which the normalizer of the continuous Bernoulli is a series."""

_CLOSEST = 1e-15
"""Distance to 0 and 1 that keeps perfect logits finite."""

_FAR_LOGITS = np.geomspace(1e-4, (1.0 - 1e-9) / SMALLEST_SCALE, 4000)
_MEAN_LOGITS = np.concatenate([-_FAR_LOGITS[::-1], _FAR_LOGITS])
_MEANS = -1.0 / np.expm1(-_MEAN_LOGITS) - 1.0 / _MEAN_LOGITS
"""Means of the continuous Bernoulli with `_MEAN_LOGITS`, within its bounds."""


@keras.saving.register_keras_serializable(package="vaetune")
class PixelScale(layers.Layer):
    """The learned scale of a likelihood, as a layer with a single weight.

    Args:
        start: Initial scale, above 0.
    """

    def __init__(self, start: float = DEFAULT_SPREAD, **kwargs: Any) -> None:
        super().__init__(**{"name": SCALE_LAYER, **kwargs})
        self.start = start
        self.log_scale = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(math.log(start)), name="log_scale"
        )
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


def make_scale(likelihood: Likelihood, spread: float = DEFAULT_SPREAD) -> PixelScale | None:
    """Returns the layer of a likelihood's scale; None for a likelihood without one.

    Args:
        likelihood: Name of the likelihood.
        spread: Standard deviation of the pixels, from which the scale starts.
    """
    if likelihood not in _SMALLEST:
        return None
    start = max(spread, 2.0 * SMALLEST_SCALE)
    # A logistic distribution of scale s has the standard deviation s pi / sqrt(3).
    return PixelScale(start * math.sqrt(3.0) / math.pi if likelihood != "gaussian" else start)


def reconstruction_loss(
    likelihood: Likelihood,
    images: tf.Tensor,
    logits: tf.Tensor,
    log_scale: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns -log p(x | z) summed over pixels and channels, in nats.

    Args:
        likelihood: Name of the likelihood.
        images: Targets in [0, 1], (batch, height, width, channels).
        logits: Logits of the locations, same shape.
        log_scale: The weight of `PixelScale`, scalar.

    Returns:
        Loss of each image, (batch,).
    """
    return _LOSSES[likelihood](images, logits, log_scale)


def bounded_log_scale(likelihood: Likelihood, log_scale: tf.Tensor) -> tf.Tensor:
    """Returns the logarithm of the scale that a weight stands for.

    It approaches the smallest scale smoothly, so its gradient never vanishes.
    """
    smallest = tf.constant(math.log(_SMALLEST[likelihood]), log_scale.dtype)
    return smallest + tf.nn.softplus(log_scale - smallest)


def _bernoulli(images: tf.Tensor, logits: tf.Tensor, log_scale: Any) -> tf.Tensor:
    del log_scale
    return binary_cross_entropy(images, logits)


def _continuous_bernoulli(images: tf.Tensor, logits: tf.Tensor, log_scale: Any) -> tf.Tensor:
    """Returns the loss with logits that are bounded smoothly, so that no density exceeds 255.

    That is the density of one grey level. Without the bound, the density of pixels that are always
    black or white would grow with the logit. Logits of ten and less change by at most 0.005.
    """
    del log_scale
    bounded = tf.tanh(logits * SMALLEST_SCALE) / SMALLEST_SCALE
    return binary_cross_entropy(images, bounded) - _sum(log_normalizer(bounded))


def log_normalizer(logits: tf.Tensor) -> tf.Tensor:
    """Returns log C of the continuous Bernoulli, C = l / tanh(l / 2), for each logit l.

    Near l = 0 this is 0 / 0, so a series replaces it there.
    """
    is_small = tf.abs(logits) < _SERIES_BELOW
    square = tf.square(tf.where(is_small, logits, tf.zeros_like(logits)))
    series = math.log(2.0) + square * (
        1.0 / 12.0 + square * (-7.0 / 1440.0 + square * 31.0 / 90720.0)
    )
    # Without the replacement, the gradient would be NaN although `where` does not choose it.
    far = tf.where(is_small, tf.ones_like(logits), logits)
    return tf.where(is_small, series, tf.math.log(far / tf.tanh(0.5 * far)))


def _gaussian(images: tf.Tensor, logits: tf.Tensor, log_scale: tf.Tensor) -> tf.Tensor:
    log_sigma = bounded_log_scale("gaussian", log_scale)
    squares = _sum(tf.square(images - tf.sigmoid(logits)))
    values = tf.cast(tf.size(images[0]), squares.dtype)
    constant = log_sigma + 0.5 * math.log(2.0 * math.pi)
    return 0.5 * tf.exp(-2.0 * log_sigma) * squares + values * constant


def _discretized_logistic(images: tf.Tensor, logits: tf.Tensor, log_scale: tf.Tensor) -> tf.Tensor:
    """Returns the loss of pixels that are rounded to 256 levels, as 8-bit pixels are already.

    A level has the probability of its interval under the logistic distribution; the intervals of
    black and white reach to infinity.
    """
    top = PIXEL_LEVELS - 1
    pixels = tf.round(images * top) / top
    inverse = tf.exp(-bounded_log_scale("discretized_logistic", log_scale))
    distance, half = (pixels - tf.sigmoid(logits)) * inverse, 0.5 * inverse / top
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), without cancellation.
    below_top, above_bottom = (tf.cast(each, images.dtype) for each in (pixels < 1.0, pixels > 0.0))
    upper = below_top * tf.nn.softplus(-(distance + half))
    lower = above_bottom * tf.nn.softplus(distance - half)
    inner = below_top * above_bottom * tf.math.log(-tf.math.expm1(-2.0 * half))
    return _sum(upper + lower - inner)


def _sum(per_pixel: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(per_pixel, axis=(1, 2, 3))


_LOSSES: Mapping[str, Callable[[tf.Tensor, tf.Tensor, Any], tf.Tensor]] = {
    "bernoulli": _bernoulli,
    "continuous_bernoulli": _continuous_bernoulli,
    "gaussian": _gaussian,
    "discretized_logistic": _discretized_logistic,
}


def spread_of(images: np.ndarray[Any, Any]) -> float:
    """Returns the standard deviation of pixels from the mean of their channel.

    Args:
        images: Images in [0, 1], (n, height, width, channels).
    """
    values = images.reshape(-1, images.shape[-1])
    return float(np.sqrt(values.var(axis=0, dtype=np.float64).mean()))


def perfect_logits(likelihood: Likelihood, images: np.ndarray[Any, Any]) -> NDArray[np.float64]:
    """Returns the logits with the smallest loss, which no reconstruction of these images has.

    Args:
        likelihood: Name of the likelihood.
        images: Images in [0, 1], any shape.
    """
    x = np.asarray(images, np.float64)
    logits: NDArray[np.float64]
    if likelihood == "continuous_bernoulli":
        bounded = np.interp(x, _MEANS, _MEAN_LOGITS)
        logits = np.arctanh(bounded * SMALLEST_SCALE) / SMALLEST_SCALE
        return logits
    if likelihood == "discretized_logistic":
        x = np.round(x * (PIXEL_LEVELS - 1)) / (PIXEL_LEVELS - 1)
    x = np.clip(x, _CLOSEST, 1.0 - _CLOSEST)
    logits = np.log(x) - np.log1p(-x)
    return logits
