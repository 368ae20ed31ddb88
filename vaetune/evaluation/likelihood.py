"""Negative ELBO and importance-weighted bound of a trained VAE."""

import math
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.errors import DeviceError
from vaetune.models import VAE, binary_cross_entropy, kl_per_dimension
from vaetune.study import Estimate
from vaetune.training import to_unit_interval

BATCH_SIZE = 250
"""Images that go through the model at once, to begin with."""

Latent = NDArray[np.float32]

PerImage = NDArray[np.float64]

LogLikelihood = Callable[[Latent], PerImage]
"""log p(x | z) of each image, in nats, (n,), for a z of each, (n, latent_dim)."""


class _Stream(IntEnum):
    """Keeps the samples of two estimates independent."""

    ELBO = 0
    IMPORTANCE = 1


class Batches:
    """Sends images through a model some at a time, fewer once memory has run out.

    Args:
        size: Number of images per batch, to begin with.
    """

    def __init__(self, size: int = BATCH_SIZE) -> None:
        self.size = size

    def run(self, step: Callable[[slice], tuple[Any, ...]], count: int) -> list[NDArray[Any]]:
        """Calls a step for one slice of `count` images after the other.

        Returns:
            What the step returned, an array for each part of its tuple, joined over the images.

        Raises:
            DeviceError: There is not even memory for a single image.
        """
        parts, start = [], 0
        while start < count:
            where = slice(start, min(start + self.size, count))
            try:
                parts.append([np.asarray(each) for each in step(where)])
            except tf.errors.ResourceExhaustedError as error:
                if where.stop - start == 1:
                    raise DeviceError(
                        "There is not enough memory to send a single image through the model. "
                        "End what else uses it, then give the same command again."
                    ) from error
                self.size = (where.stop - start) // 2
                continue
            start = where.stop
        return [np.concatenate(each) for each in zip(*parts, strict=True)]


def encode(vae: VAE, images: NDArray[Any], batches: Batches) -> tuple[Latent, Latent]:
    """z_mean and z_log_var, each (n, latent_dim), of images (n, height, width, channels)."""
    posterior = compile_function(
        lambda x: vae.posterior(to_unit_interval(x)), images_of(vae, images)
    )
    z_mean, z_log_var = batches.run(lambda at: posterior(tf.constant(images[at])), len(images))
    return z_mean, z_log_var


def image_likelihood(
    vae: VAE,
    images: NDArray[Any],
    batches: Batches,
    on_decoded: Callable[[int], None] | None = None,
) -> LogLikelihood:
    """log p(x | z) of images: less the binary cross-entropy that the model is trained on.

    Logits are in float32, as in training, all that follows in float64.

    Args:
        vae: The model.
        images: (n, height, width, channels), uint8 or floats in [0, 1].
        batches: Batches of images.
        on_decoded: Called after each batch with how many images it was of.
    """

    def negative_loss(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        logits = vae.to_logits(z, training=False)
        targets = to_unit_interval(x)
        return -binary_cross_entropy(*(tf.cast(each, tf.float64) for each in (targets, logits)))

    compiled = compile_function(negative_loss, images_of(vae, images), latent_of(vae))

    def of_latent(z: Latent) -> PerImage:
        def step(at: slice) -> tuple[PerImage]:
            values = compiled(tf.constant(images[at]), tf.constant(z[at])).numpy()
            if on_decoded:
                on_decoded(len(values))
            return (values,)

        (values,) = batches.run(step, len(images))
        return values

    return of_latent


def mean_log_likelihood(
    log_likelihood: LogLikelihood, z_mean: Latent, z_log_var: Latent, samples: int, seed: int
) -> PerImage:
    """E_q(z|x) log p(x | z) of each image, (n,) in nats, estimated by posterior samples."""
    drawn = _draw(z_mean, z_log_var, samples, (seed, _Stream.ELBO))
    total = np.zeros(len(z_mean))
    for z, _ in drawn:
        total += log_likelihood(z)
    return total / samples


def importance_weighted_bound(
    log_likelihood: LogLikelihood, z_mean: Latent, z_log_var: Latent, samples: int, seed: int
) -> PerImage:
    """L_k: log (1/k) sum_i p(x, z_i) / q(z_i | x), a lower bound on log p(x) in expectation.

    With k = 1 it is the ELBO of one sample; it rises with k towards log p(x). The sum is kept as
    its logarithm, so that weights of any size neither overflow nor vanish.

    Args:
        log_likelihood: log p(x | z) of the images.
        z_mean: (n, latent_dim).
        z_log_var: Likewise.
        samples: k.
        seed: Random seed of the samples. The samples of a smaller k are the first ones of a larger
            k.

    Returns:
        Nats, (n,).

    References:
        Burda et al. 2016, equation 8.
    """
    log_sum = np.full(len(z_mean), -math.inf)
    for z, log_prior_ratio in _draw(z_mean, z_log_var, samples, (seed, _Stream.IMPORTANCE)):
        log_sum = np.logaddexp(log_sum, log_likelihood(z) + log_prior_ratio)
    return log_sum - math.log(samples)


def _draw(
    z_mean: Latent, z_log_var: Latent, samples: int, stream: tuple[int, int]
) -> Iterator[tuple[Latent, PerImage]]:
    """Yields samples z of the posterior, (n, latent_dim), with log p(z) - log q(z | x), (n,)."""
    deviation = np.exp(np.float32(0.5) * z_log_var)
    for sample in range(samples):
        generator = np.random.default_rng([*stream, sample])
        epsilon = generator.standard_normal(z_mean.shape, dtype=np.float32)
        z = z_mean + deviation * epsilon
        # The constants of the two normal densities cancel.
        terms = np.square(epsilon, dtype=np.float64) + z_log_var - np.square(z, dtype=np.float64)
        yield z, 0.5 * terms.sum(axis=1)


def closed_form_kl(z_mean: Latent, z_log_var: Latent) -> NDArray[np.float64]:
    """KL(q(z | x) || p(z)) of each image and latent dimension, (n, latent_dim) in nats."""
    exact = (tf.constant(each, tf.float64) for each in (z_mean, z_log_var))
    return np.asarray(kl_per_dimension(*exact))


def estimate(per_image: PerImage) -> Estimate:
    """The mean over images and its standard error."""
    count = len(per_image)
    error = float(per_image.std(ddof=1)) / math.sqrt(count) if count > 1 else None
    return Estimate(float(per_image.mean()), error)


def images_of(vae: VAE, images: NDArray[Any]) -> tf.TensorSpec:
    return tf.TensorSpec((None, *vae.image_shape), images.dtype)


def latent_of(vae: VAE) -> tf.TensorSpec:
    return tf.TensorSpec((None, vae.latent_dim), tf.float32)


def compile_function(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
    """Compiled once: the last batch, or a smaller one, is not traced again."""
    return tf.function(  # type: ignore[no-any-return]
        function, input_signature=signature, autograph=False
    ).get_concrete_function()
