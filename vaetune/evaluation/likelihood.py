"""Negative ELBO and importance-weighted bound of a trained VAE."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import Images
from vaetune.errors import DeviceError
from vaetune.evaluation.partial import PartialSums
from vaetune.models import VAE, kl_per_dimension
from vaetune.study import Estimate
from vaetune.training import compile_function, to_unit_tensor

BATCH_SIZE = 250
"""Initial number of images per batch."""

Latent = NDArray[np.float32]

PerImage = NDArray[np.float64]

LogLikelihood = Callable[[Latent], PerImage]
"""Function from z of each image, (n, latent_dim), to log p(x | z) in nats, (n,)."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One posterior sample of each image. The latent variables of all levels are called z.

    Attributes:
        log_likelihood: log p(x | z) in nats, (n,).
        log_prior_ratio: log p(z) - log q(z | x) in nats, (n,).
        lower_kl: KL divergence of each lower level, given the sample of the levels above it, summed
            over the positions of its maps, each (n, channels) in nats.
    """

    log_likelihood: PerImage
    log_prior_ratio: PerImage
    lower_kl: tuple[NDArray[np.float64], ...] = ()


Sampler = Callable[[tuple[int, ...]], Draw]
"""Function from the random seed of a sample to the sample."""


@dataclass(frozen=True, eq=False)
class Expectation:
    """Means over posterior samples.

    Attributes:
        log_likelihood: Estimate of E_q(z|x) log p(x | z) in nats, (n,).
        lower_kl: Mean KL divergence of each lower level, each (n, channels) in nats.
    """

    log_likelihood: PerImage
    lower_kl: tuple[NDArray[np.float64], ...]


class _Stream(IntEnum):
    """Numbers of random streams, so that the samples of two estimates are independent."""

    ELBO = 0
    IMPORTANCE = 1


class Batches:
    """Runs a model on batches of images, with smaller batches after memory has run out.

    Args:
        size: Initial number of images per batch.

    Attributes:
        size: Current number of images per batch.
    """

    def __init__(self, size: int = BATCH_SIZE) -> None:
        self.size = size

    def run(self, step: Callable[[slice], tuple[Any, ...]], count: int) -> list[NDArray[Any]]:
        """Calls a step with consecutive slices of the images.

        Args:
            step: Function from a slice of the images to a tuple of arrays, one row per image.
            count: Number of images.

        Returns:
            The arrays of all slices, joined over the images.

        Raises:
            DeviceError: There is not enough memory for a single image.
        """
        parts, start = [], 0
        while start < count:
            batch = slice(start, min(start + self.size, count))
            try:
                parts.append([np.asarray(each) for each in step(batch)])
            except tf.errors.ResourceExhaustedError as error:
                if batch.stop - start == 1:
                    raise DeviceError(
                        "There is not enough memory to run the model on a single image. "
                        "Close other programs, then try again."
                    ) from error
                self.size = (batch.stop - start) // 2
                continue
            start = batch.stop
        return [np.concatenate(each) for each in zip(*parts, strict=True)]


def encode(vae: VAE, images: Images, batches: Batches) -> tuple[Latent, Latent]:
    """Returns z_mean and z_log_var, each (n, latent_dim), of (n, height, width, channels)."""
    posterior = compile_once(
        vae, "posterior", lambda x: vae.posterior(to_unit_tensor(x)), image_spec(vae, images)
    )
    z_mean, z_log_var = batches.run(
        lambda batch: posterior(tf.constant(images[batch])), len(images)
    )
    return z_mean, z_log_var


def image_likelihood(
    vae: VAE,
    images: Images,
    batches: Batches,
    on_decoded: Callable[[int], None] | None = None,
) -> LogLikelihood:
    """Returns a function that computes log p(x | z) of images.

    It is the negative of the reconstruction loss that the model is trained on. Logits are
    computed in float32, as in training, and everything after them in float64.

    Args:
        vae: The trained model.
        images: Images, (n, height, width, channels), uint8 or floats in [0, 1].
        batches: Batches in which to decode.
        on_decoded: Function called after each batch with its number of images.
    """

    def negative_loss(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        logits = vae.to_logits(z, training=False)
        targets = to_unit_tensor(x)
        exact = (tf.cast(each, tf.float64) for each in (targets, logits))
        return -vae.reconstruction_loss(*exact)

    specs = image_spec(vae, images), latent_spec(vae)
    compiled = compile_once(vae, "log_likelihood", negative_loss, *specs)

    def log_likelihood(z: Latent) -> PerImage:
        def step(batch: slice) -> tuple[PerImage]:
            values = compiled(tf.constant(images[batch]), tf.constant(z[batch])).numpy()
            if on_decoded:
                on_decoded(len(values))
            return (values,)

        (values,) = batches.run(step, len(images))
        return values

    return log_likelihood


def top_level_sampler(log_likelihood: LogLikelihood, z_mean: Latent, z_log_var: Latent) -> Sampler:
    """Returns a sampler of a model with one level.

    Args:
        log_likelihood: Function that computes log p(x | z) of the images.
        z_mean: Means of the posteriors, (n, latent_dim).
        z_log_var: Logarithms of the variances, (n, latent_dim).
    """

    def draw(seed: tuple[int, ...]) -> Draw:
        z, log_prior_ratio = draw_top_level(z_mean, z_log_var, seed)
        return Draw(log_likelihood(z), log_prior_ratio)

    return draw


def draw_top_level(
    z_mean: Latent, z_log_var: Latent, seed: tuple[int, ...]
) -> tuple[Latent, PerImage]:
    """Draws z, (n, latent_dim), and returns it with log p(z) - log q(z | x), (n,)."""
    deviation = np.exp(np.float32(0.5) * z_log_var)
    epsilon = np.random.default_rng(seed).standard_normal(z_mean.shape, dtype=np.float32)
    z = z_mean + deviation * epsilon
    # The constants of the two normal densities cancel.
    terms = np.square(epsilon, dtype=np.float64) + z_log_var - np.square(z, dtype=np.float64)
    return z, 0.5 * terms.sum(axis=1)


def expectation(
    sampler: Sampler, samples: int, seed: int, partial: PartialSums | None = None
) -> Expectation:
    """Estimates the parts of the ELBO that need samples of the posterior.

    Args:
        sampler: Sampler of the images.
        samples: Number of samples per image, at least 1.
        seed: Random seed of the samples.
        partial: Sums of an earlier, interrupted estimate, to which samples are added.
    """
    partial = partial or PartialSums()
    done, sums = partial.get("elbo")
    for sample in range(done, samples):
        draw = sampler((seed, _Stream.ELBO, sample))
        new = [draw.log_likelihood, *draw.lower_kl]
        sums = [one + more for one, more in zip(sums, new, strict=True)] if sums else new
        partial.update("elbo", sample + 1, sums)
    likelihood, *lower = (one / samples for one in sums)
    return Expectation(likelihood, tuple(lower))


def importance_weighted_bound(
    sampler: Sampler, samples: int, seed: int, partial: PartialSums | None = None
) -> PerImage:
    """Returns L_k = log (1/k) sum_i p(x, z_i) / q(z_i | x), in expectation at most log p(x).

    With k = 1 it is the ELBO of one sample. It increases with k towards log p(x). The sum is
    computed as a logarithm, so it neither overflows nor vanishes.

    Args:
        sampler: Sampler of the images.
        samples: Number k of samples per image. A smaller k uses the first samples of a larger k.
        seed: Random seed of the samples.
        partial: Sums of an earlier, interrupted estimate, to which samples are added.

    Returns:
        Bounds in nats, (n,).

    References:
        Burda et al. 2016, equation 8.
    """
    partial = partial or PartialSums()
    done, sums = partial.get("bound")
    for sample in range(done, samples):
        draw = sampler((seed, _Stream.IMPORTANCE, sample))
        weight = draw.log_likelihood + draw.log_prior_ratio
        sums = [np.logaddexp(sums[0], weight) if sums else weight]
        partial.update("bound", sample + 1, sums)
    return sums[0] - math.log(samples)


def closed_form_kl(z_mean: Latent, z_log_var: Latent) -> NDArray[np.float64]:
    """Returns KL(q(z | x) || p(z)) of each image and latent dimension, (n, latent_dim) in nats."""
    parameters = (tf.constant(each, tf.float64) for each in (z_mean, z_log_var))
    return np.asarray(kl_per_dimension(*parameters))


def estimate(per_image: PerImage) -> Estimate:
    """Returns the mean over images and its standard error; no error for a single image."""
    count = len(per_image)
    error = float(per_image.std(ddof=1)) / math.sqrt(count) if count > 1 else None
    return Estimate(float(per_image.mean()), error)


def compile_once(
    vae: VAE, name: str, function: Callable[..., Any], *signature: tf.TensorSpec
) -> Callable[..., Any]:
    """Returns a function of a model that is compiled when it is first needed.

    Args:
        vae: The trained model, which keeps the function.
        name: Name of all that the function depends on besides the model and the signature.
        function: Function to compile.
        signature: Shape and type of each argument.
    """
    functions, key = vae.compiled_functions.by_key, (name, *signature)
    if key not in functions:
        functions[key] = compile_function(function, *signature)
    return functions[key]


def image_spec(vae: VAE, images: Images) -> tf.TensorSpec:
    """Returns the signature of a batch of images of any size."""
    return tf.TensorSpec((None, *vae.image_shape), images.dtype)


def latent_spec(vae: VAE) -> tf.TensorSpec:
    """Returns the signature of a batch of latent vectors of any size."""
    return tf.TensorSpec((None, vae.latent_dim), tf.float32)
