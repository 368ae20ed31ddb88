"""The losses of a VAE."""

from collections.abc import Callable, Sequence

import tensorflow as tf

Mean = Callable[[tf.Tensor], tf.Tensor]
"""Returns the mean over the images of a batch, the first axis."""


def binary_cross_entropy(images: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the binary cross-entropy summed over pixels and channels, in nats.

    It is computed from logits l as max(l, 0) - l x + log(1 + exp(-|l|)), which cannot overflow.

    Args:
        images: Targets in [0, 1], (batch, height, width, channels).
        logits: Logits of the pixel probabilities, same shape.

    Returns:
        Cross-entropy of each image, (batch,).
    """
    per_pixel = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
    return tf.reduce_sum(per_pixel, axis=(1, 2, 3))


def kl_divergence(z_mean: tf.Tensor, z_log_var: tf.Tensor) -> tf.Tensor:
    """Returns KL(N(z_mean, exp(z_log_var)) || N(0, 1)) summed over latent dimensions, in nats.

    Args:
        z_mean: Means, (batch, latent_dim).
        z_log_var: Logarithms of the variances, (batch, latent_dim).

    Returns:
        Divergence of each image, (batch,), at least 0 up to rounding.

    References:
        Kingma and Welling 2014, appendix B.
    """
    return tf.reduce_sum(kl_per_dimension(z_mean, z_log_var), axis=1)


def total_kl(parameters: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the KL divergence of each image, (batch,), summed over all levels, in nats.

    Args:
        parameters: Means and logarithms of the variances of each level, alternating, each of
            shape (batch, ...).
    """
    total = None
    for mean, log_var in zip(parameters[::2], parameters[1::2], strict=True):
        axes = tuple(range(1, len(mean.shape)))
        own = tf.reduce_sum(kl_per_dimension(mean, log_var), axis=axes)
        total = own if total is None else total + own
    return total


def kl_per_dimension(z_mean: tf.Tensor, z_log_var: tf.Tensor) -> tf.Tensor:
    """Returns KL(N(z_mean, exp(z_log_var)) || N(0, 1)) of each latent dimension, in nats.

    Both arguments and the result have shape (batch, latent_dim).
    """
    return -0.5 * (1.0 + z_log_var - tf.square(z_mean) - tf.exp(z_log_var))


def mean_over_images(values: tf.Tensor) -> tf.Tensor:
    """Returns the mean over the first axis."""
    return tf.reduce_mean(values, axis=0)


def missing_bits(
    parameters: Sequence[tf.Tensor],
    free_bits: tf.Tensor | float,
    mean: Mean = mean_over_images,
) -> tf.Tensor:
    """Returns the nats that latent dimensions lack to the free bits, summed over dimensions.

    Each latent dimension of the top level and each channel of lower levels counts.

    Args:
        parameters: Means and log-variances of all levels, alternating.
        free_bits: Nats of a dimension that cost nothing, a scalar.
        mean: Function that returns the mean over the images of a batch, the first axis.

    References:
        Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow", 2016,
        equation 15.
    """
    missing: tf.Tensor | float = 0.0
    for z_mean, z_log_var in zip(parameters[::2], parameters[1::2], strict=True):
        divergence = kl_per_dimension(z_mean, z_log_var)
        if len(divergence.shape) == 4:
            divergence = tf.reduce_sum(divergence, axis=(1, 2))
        missing += tf.reduce_sum(tf.nn.relu(free_bits - mean(divergence)))
    return missing
