"""Posterior samples and use of the lower levels of latent variables.

A lower level draws maps u whose prior is N(0, 1) and whose posterior depends on the image and on
the sample of the levels above it. So the levels of a sample are drawn one after the other.

References:
    Sønderby et al., "Ladder Variational Autoencoders", 2016.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import Images
from vaetune.evaluation.likelihood import (
    Batches,
    Draw,
    Latent,
    Sampler,
    compile_once,
    draw_top_level,
    image_likelihood,
    image_spec,
    latent_spec,
    top_level_sampler,
)
from vaetune.models import VAE, kl_per_dimension, reparameterise
from vaetune.study import LevelUse
from vaetune.training import to_unit_tensor

CHUNK_IMAGES = 1000
"""Images whose noise and encoder maps are in memory at the same time. The noise depends on it."""

OnDecoded = Callable[[int], None]


def posterior_sampler(
    vae: VAE,
    images: Images,
    posterior: tuple[Latent, Latent],
    batches: Batches,
    on_decoded: OnDecoded = lambda images: None,
) -> Sampler:
    """Returns a sampler of the latent variables of all levels.

    Args:
        vae: The trained model.
        images: Images, (n, height, width, channels), uint8 or floats in [0, 1].
        posterior: z_mean and z_log_var of the images, each (n, latent_dim).
        batches: Batches in which to run the model.
        on_decoded: Function called after each batch with its number of images.
    """
    if vae.level_shapes:
        return LadderSampler(vae, images, posterior, batches, on_decoded)
    return top_level_sampler(image_likelihood(vae, images, batches, on_decoded), *posterior)


class LadderSampler:
    """Draws samples of a model with several levels.

    Args:
        vae: The trained model.
        images: Images, (n, height, width, channels), uint8 or floats in [0, 1].
        posterior: z_mean and z_log_var of the images, each (n, latent_dim).
        batches: Batches in which to run the model.
        on_decoded: Function called after each batch with its number of images.
    """

    def __init__(
        self,
        vae: VAE,
        images: Images,
        posterior: tuple[Latent, Latent],
        batches: Batches,
        on_decoded: OnDecoded,
    ) -> None:
        self._images = images
        self._posterior = posterior
        self._batches = batches
        self._on_decoded = on_decoded
        self._shapes = vae.level_shapes
        self._measure = _compile_measure(vae, images)
        self._encode = _compile_maps(vae, images)
        self._encoded: tuple[int, Sequence[NDArray[np.float32]]] = (-1, ())

    def __call__(self, seed: tuple[int, ...]) -> Draw:
        z, ratio = draw_top_level(*self._posterior, seed)
        starts = range(0, len(z), CHUNK_IMAGES)
        chunks = [self._run_chunk(start, z[start : start + CHUNK_IMAGES], seed) for start in starts]
        likelihood, lower_ratio, *kl = (np.concatenate(each) for each in zip(*chunks, strict=True))
        return Draw(likelihood, ratio + lower_ratio, tuple(kl))

    def _run_chunk(
        self, start: int, z: Latent, seed: tuple[int, ...]
    ) -> Sequence[NDArray[np.float64]]:
        """Returns log p(x | z), log p(u) - log q(u | x), and the KL of each level of a chunk."""
        maps = self._maps(start, len(z))
        epsilons = [
            np.random.default_rng((*seed, level, start)).standard_normal(
                (len(z), *shape), dtype=np.float32
            )
            for level, shape in enumerate(self._shapes, start=1)
        ]

        def step(batch: slice) -> tuple[Any, ...]:
            images = self._images[start + batch.start : start + batch.stop]
            inputs = (each[batch] for each in (z, *maps, *epsilons))
            measured = self._measure(tf.constant(images), *map(tf.constant, inputs))
            results = tuple(each.numpy() for each in measured)
            self._on_decoded(len(results[0]))
            return results

        return self._batches.run(step, len(z))

    def _maps(self, start: int, count: int) -> Sequence[NDArray[np.float32]]:
        """Returns the encoder's maps of a chunk. Those of one chunk are kept."""
        if self._encoded[0] != start:

            def step(batch: slice) -> tuple[Any, ...]:
                images = self._images[start + batch.start : start + batch.stop]
                return tuple(self._encode(tf.constant(images)))

            self._encoded = (start, self._batches.run(step, count))
        return self._encoded[1]


def _compile_maps(vae: VAE, images: Images) -> Callable[..., Any]:
    def encode_maps(x: tf.Tensor) -> Any:
        return vae.bottom_up(to_unit_tensor(x), training=False)[2:]

    return compile_once(vae, "maps", encode_maps, image_spec(vae, images))


def _compile_measure(vae: VAE, images: Images) -> Callable[..., Any]:
    lower = len(vae.level_shapes)

    def measure(x: tf.Tensor, z: tf.Tensor, *inputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        logits, *posteriors = vae.top_down([z, *inputs], training=False)
        exact = (tf.cast(each, tf.float64) for each in (to_unit_tensor(x), logits))
        ratio, kls = tf.zeros(tf.shape(z)[:1], tf.float64), []
        columns = zip(posteriors[::2], posteriors[1::2], inputs[lower:], strict=True)
        for mean, log_var, epsilon in columns:
            u = reparameterise(mean, log_var, epsilon)
            u, epsilon, mean, log_var = (
                tf.cast(each, tf.float64) for each in (u, epsilon, mean, log_var)
            )
            terms = tf.square(epsilon) + log_var - tf.square(u)
            ratio += 0.5 * tf.reduce_sum(terms, axis=(1, 2, 3))
            kls.append(tf.reduce_sum(kl_per_dimension(mean, log_var), axis=(1, 2)))
        return (-vae.reconstruction_loss(*exact), ratio, *kls)

    specs = [tf.TensorSpec(each.shape, tf.float32) for each in vae.top_down.inputs]
    specs[0] = latent_spec(vae)
    return compile_once(vae, "levels", measure, image_spec(vae, images), *specs)


def lower_variances(vae: VAE, images: Images, batches: Batches) -> tuple[tuple[float, ...], ...]:
    """Returns the variance over images of u_mean of each lower level and channel.

    It is summed over the positions of the maps. Each u_mean is that of the posterior means of the
    levels above.

    Args:
        vae: The trained model.
        images: Images, (n, height, width, channels), uint8 or floats in [0, 1].
        batches: Batches in which to run the model.
    """
    sums: list[Any] = [np.zeros((2, *shape)) for shape in vae.level_shapes]

    def infer(x: tf.Tensor) -> Sequence[tf.Tensor]:
        _, *lower = vae.encode_levels(to_unit_tensor(x)).values()
        exact = [tf.cast(mean, tf.float64) for mean, _ in lower]
        return [tf.reduce_sum(tf.stack([each, each**2]), axis=1) for each in exact]

    compiled = compile_once(vae, "sums of means", infer, image_spec(vae, images))

    def step(batch: slice) -> tuple[Any, ...]:
        found = compiled(tf.constant(images[batch]))
        for total, part in zip(sums, found, strict=True):
            total += part.numpy()
        return (np.zeros(batch.stop - batch.start),)

    batches.run(step, len(images))
    means = (total / len(images) for total in sums)
    variances = (np.maximum(square - mean**2, 0.0) for mean, square in means)
    return tuple(tuple(each.sum(axis=(0, 1)).tolist()) for each in variances)


def describe_levels(
    vae: VAE,
    images: Images,
    lower_kl: Sequence[NDArray[np.float64]],
    batches: Batches,
) -> tuple[LevelUse, ...]:
    """Returns how each lower level is used.

    Args:
        vae: The trained model.
        images: Images, (n, height, width, channels), uint8 or floats in [0, 1].
        lower_kl: KL divergence of each lower level, each (n, channels) in nats.
        batches: Batches in which to run the model.
    """
    if not vae.level_shapes:
        return ()
    columns = zip(vae.level_shapes, lower_kl, lower_variances(vae, images, batches), strict=True)
    return tuple(
        LevelUse((height, width), tuple(kl.mean(axis=0).tolist()), variances)
        for (height, width, _), kl, variances in columns
    )
