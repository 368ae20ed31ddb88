"""The losses of a VAE."""

import tensorflow as tf


def binary_cross_entropy(images: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy summed over pixels and channels, in nats.

    Computed from logits as max(l, 0) - l x + log(1 + exp(-|l|)), which no logit overflows.

    Args:
        images: Targets in [0, 1], (batch, height, width, channels).
        logits: Same shape.

    Returns:
        One value an image, (batch,).
    """
    per_pixel = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
    return tf.reduce_sum(per_pixel, axis=(1, 2, 3))


def kl_divergence(z_mean: tf.Tensor, z_log_var: tf.Tensor) -> tf.Tensor:
    """KL(N(z_mean, exp(z_log_var)) || N(0, 1)) summed over latent dimensions, in nats.

    Args:
        z_mean: Means, (batch, latent_dim).
        z_log_var: Logarithms of the variances, (batch, latent_dim).

    Returns:
        One value an image, (batch,), never negative beyond rounding.

    References:
        Kingma and Welling 2014, appendix B.
    """
    return tf.reduce_sum(kl_per_dimension(z_mean, z_log_var), axis=1)


def kl_per_dimension(z_mean: tf.Tensor, z_log_var: tf.Tensor) -> tf.Tensor:
    """KL(N(z_mean, exp(z_log_var)) || N(0, 1)) of each latent dimension, in nats.

    Both arguments and the result are of shape (batch, latent_dim).
    """
    return -0.5 * (1.0 + z_log_var - tf.square(z_mean) - tf.exp(z_log_var))
