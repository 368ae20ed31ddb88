"""Losses of images one by one, for scores of anomalies, and losses of their pixels.

The samples of the posterior are drawn with the same noise for all images. So the losses depend on
the image and the model alone: neither on the other images nor on the batch.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import ImageRows, compressed_sizes, to_pixels, to_unit_interval
from vaetune.evaluation.encoding import Compute, run_rows
from vaetune.evaluation.likelihood import Batches, PerImage, compile_once, image_spec
from vaetune.evaluation.scores import LOSSES
from vaetune.models import VAE, kl_per_dimension, perfect_logits, reparameterise, total_kl
from vaetune.study import POSTERIOR_SAMPLES
from vaetune.training import OnProgress, to_unit_tensor

_SEED = 0


def score_rows(
    vae: VAE,
    rows: ImageRows,
    samples: int = POSTERIOR_SAMPLES,
    on_progress: OnProgress | None = None,
    batches: Batches | None = None,
) -> dict[str, PerImage]:
    """Returns the losses of images, each (n,). At most two batches of images are in memory.

    They are, by the names of `LOSSES`: the reconstruction loss, a mean over samples of the
    posterior, in nats; the KL divergence in nats; the mean squared error of the reconstruction
    through the posterior means; the lowest reconstruction loss that any reconstruction of the image
    could have, in nats; and the size of the compressed image in nats.

    Args:
        vae: The trained model.
        rows: Images.
        samples: Number of samples per image.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.
        batches: Batches in which to run the model.

    Raises:
        ResultsError: The model takes images of another shape.
        DataError: An image cannot be read.
        DeviceError: There is not enough memory for a single image.
    """

    def make(images: NDArray[Any]) -> Compute:
        return _compile(vae, images, samples)

    parts = run_rows(vae, rows, make, on_progress, batches)
    joined = (np.concatenate(each) for each in zip(*parts, strict=True))
    return dict(zip(LOSSES, joined, strict=True))


def map_losses(
    vae: VAE, images: NDArray[Any], batches: Batches | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Returns reconstructions, and what each pixel adds to the loss.

    Args:
        vae: The trained model.
        images: Images, (n, height, width, channels), uint8 or floats in [0, 1].
        batches: Batches in which to run the model.

    Returns:
        Reconstructions through the posterior means, of the shape of the images, in [0, 1]; and the
        reconstruction loss of each pixel above the lowest possible one, summed over channels,
        (n, height, width) in nats.
    """

    def compare(x: tf.Tensor, best: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        unit = to_unit_tensor(x)
        logits = _mean_logits(vae, unit, vae.bottom_up(unit, training=False))
        targets, found = (_by_pixel(each) for each in (unit, logits))
        above = vae.reconstruction_loss(targets, found) - vae.reconstruction_loss(
            targets, _by_pixel(best)
        )
        return tf.sigmoid(logits), tf.reshape(above, tf.shape(unit)[:3])

    specs = image_spec(vae, images), _logit_spec(vae)
    compiled = compile_once(vae, "losses of pixels", compare, *specs)

    def step(batch: slice) -> Any:
        x = images[batch]
        return compiled(tf.constant(x), _best_logits(vae, x))

    pixels, losses = (batches or Batches()).run(step, len(images))
    return pixels, losses


def _by_pixel(images: tf.Tensor) -> tf.Tensor:
    """Returns each pixel as an image, in double precision: (pixels, 1, 1, channels)."""
    return tf.cast(tf.reshape(images, (-1, 1, 1, images.shape[-1])), tf.float64)


def _compile(vae: VAE, images: NDArray[Any], samples: int) -> Compute:
    """Returns a function from images to the arrays of `LOSSES`."""
    infer, sample = _compile_infer(vae, images), _compile_sample(vae, images)
    noise = list(_draw_noise(vae, samples))

    def measure(images: NDArray[Any]) -> tuple[PerImage, ...]:
        x = tf.constant(images)
        kl, error, lowest, *encoded = infer(x, _best_logits(vae, images))
        drawn = [sample(x, *encoded, *epsilons) for epsilons in noise]
        losses, lower = (
            sum(each.numpy() for each in one) / samples for one in zip(*drawn, strict=True)
        )
        measured = losses, kl.numpy() + lower, error.numpy(), lowest.numpy()
        return *measured, compressed_sizes(to_pixels(images))

    return measure


def _draw_noise(vae: VAE, samples: int) -> Iterator[list[tf.Tensor]]:
    """Yields the noise of each sample: of z, (latent_dim,), and of each map of lower levels."""
    shapes = ((vae.latent_dim,), *vae.level_shapes)
    for number in range(samples):
        generator = np.random.default_rng((_SEED, number))
        drawn = (generator.standard_normal(shape, dtype=np.float32) for shape in shapes)
        yield [tf.constant(each) for each in drawn]


def _compile_infer(vae: VAE, images: NDArray[Any]) -> Callable[..., Any]:
    """Returns what needs no samples: KL, error, lowest loss, and the outputs of the encoder."""

    def infer(x: tf.Tensor, best: tf.Tensor) -> list[tf.Tensor]:
        unit = to_unit_tensor(x)
        encoded = vae.bottom_up(unit, training=False)
        exact = [tf.cast(each, tf.float64) for each in encoded[:2]]
        pixels = tf.sigmoid(_mean_logits(vae, unit, encoded))
        error = tf.reduce_mean(tf.square(tf.cast(unit - pixels, tf.float64)), axis=(1, 2, 3))
        lowest = vae.reconstruction_loss(tf.cast(unit, tf.float64), best)
        return [total_kl(exact), error, lowest, *encoded]

    return compile_once(vae, "losses", infer, image_spec(vae, images), _logit_spec(vae))


def _mean_logits(vae: VAE, images: tf.Tensor, encoded: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the logits of the reconstruction through the posterior means of all levels."""
    z_mean, _, *maps = encoded
    count = tf.shape(images)[0]
    logits, *_ = _decode(vae, z_mean, maps, [tf.zeros((count, *s)) for s in vae.level_shapes])
    return logits


def _decode(
    vae: VAE, z: tf.Tensor, maps: Sequence[tf.Tensor], noise: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Returns logits, and the parameters of the posteriors of lower levels."""
    found = vae.top_down([z, *maps, *noise] if maps else z, training=False)
    return list(found) if maps else [found]


def _compile_sample(vae: VAE, images: NDArray[Any]) -> Callable[..., Any]:
    """Returns the reconstruction loss of a sample, and the KL divergence of its lower levels."""
    lower = len(vae.level_shapes)

    def sample(x: tf.Tensor, z_mean: tf.Tensor, z_log_var: tf.Tensor, *rest: tf.Tensor) -> Any:
        maps, (first, *noise) = rest[:lower], rest[lower:]
        count = tf.shape(z_mean)[0]
        every = [tf.repeat(each[tf.newaxis], count, axis=0) for each in (first, *noise)]
        z = reparameterise(z_mean, z_log_var, every[0])
        logits, *posteriors = _decode(vae, z, maps, every[1:])
        targets, logits, *posteriors = (
            tf.cast(each, tf.float64) for each in (to_unit_tensor(x), logits, *posteriors)
        )
        pairs = zip(posteriors[::2], posteriors[1::2], strict=True)
        kls = (tf.reduce_sum(kl_per_dimension(*pair), axis=(1, 2, 3)) for pair in pairs)
        none = tf.zeros(tf.shape(z_mean)[:1], tf.float64)
        return vae.reconstruction_loss(targets, logits), sum(kls, start=none)

    specs = [tf.TensorSpec(each.shape, each.dtype) for each in vae.bottom_up.outputs]
    shapes = ((vae.latent_dim,), *vae.level_shapes)
    noise = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return compile_once(vae, "losses of a sample", sample, image_spec(vae, images), *specs, *noise)


def _best_logits(vae: VAE, images: NDArray[Any]) -> tf.Tensor:
    """Returns the logits of each pixel with the smallest loss, in double precision."""
    is_bytes = images.dtype == np.uint8
    values = np.arange(256, dtype=np.uint8) if is_bytes else images
    logits = perfect_logits(vae.likelihood, to_unit_interval(values))
    return tf.constant(logits[images] if is_bytes else logits)


def _logit_spec(vae: VAE) -> tf.TensorSpec:
    return tf.TensorSpec((None, *vae.image_shape), tf.float64)
