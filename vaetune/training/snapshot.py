"""Pictures of a trained model: reconstructions, samples, latent means and manifold."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vaetune.data import Images, spread_over_classes, to_pixels, to_unit_interval
from vaetune.study import (
    EXAMPLES,
    LATENT_POINTS,
    MANIFOLD_SIDE,
    RECONSTRUCTIONS,
    Artifacts,
    Pixels,
    ProbeImages,
    count_thumbnails,
    prior_grid,
    prior_samples,
    reduce_examples,
    reduce_thumbnails,
)

_DECODE_BATCH_SIZE = 128
"""Latent vectors per batch. For images of 128 x 128 pixels, a batch takes about a gigabyte."""


_PRIOR_SEED = 0
"""Seed of the lower levels of samples. Those of the top level are `prior_samples`."""


class Autoencoder(Protocol):
    """A model that encodes and decodes batches of images."""

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns latent means (n, latent_dim) of images (n, height, width, channels) in [0, 1]."""

    def decode(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns pixel probabilities (n, height, width, channels) of z (n, latent_dim)."""

    def reconstruct(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reconstructs images (n, height, width, channels) through the means of all levels."""

    def generate(self, z: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        """Returns pixel probabilities of z (n, latent_dim) and drawn lower levels."""


def choose_probe_images(images: Images, labels: NDArray[np.int64] | None) -> ProbeImages:
    """Chooses the images that the pictures show, the same number from each class if possible.

    Neighbouring images have different classes, as long as several classes have images left.

    Args:
        images: Validation images, (n, height, width, channels), uint8 or float in [0, 1].
        labels: Class indices, (n,), or None.
    """
    chosen = np.arange(len(images)) if labels is None else spread_over_classes(labels)
    shown = to_pixels(images[chosen[: max(RECONSTRUCTIONS, EXAMPLES)]])
    points = None if labels is None else labels[:LATENT_POINTS]
    first = to_pixels(images[: count_thumbnails(images.shape[1:])])
    thumbnails = reduce_thumbnails(first)
    return ProbeImages(shown[:RECONSTRUCTIONS], points, reduce_examples(shown), thumbnails)


def take_snapshot(model: Autoencoder, probe_images: ProbeImages, images: Images) -> Artifacts:
    """Computes the pictures of a trained model, in a few batched calls.

    Args:
        model: The trained model.
        probe_images: Images to reconstruct, the same for all models of a search.
        images: Validation images, (n, height, width, channels), uint8 or float in [0, 1].
    """
    reconstructions = to_pixels(model.reconstruct(to_unit_interval(probe_images.originals)))
    points = model.encode(to_unit_interval(images[:LATENT_POINTS]))
    latent_dim = points.shape[1]
    prior_z = prior_samples(latent_dim).astype(np.float32)
    manifold = None
    if latent_dim == 2:
        flat = to_pixels(model.decode(prior_grid(MANIFOLD_SIDE).reshape(-1, 2)))
        manifold = flat.reshape(MANIFOLD_SIDE, MANIFOLD_SIDE, *flat.shape[1:])
    samples = to_pixels(model.generate(prior_z, _PRIOR_SEED))
    return Artifacts(reconstructions, samples, points, manifold)


def encode(vae: Any, images: Pixels) -> NDArray[np.float32]:
    """Returns latent means (n, latent_dim) of images (n, height, width, channels)."""
    z_mean, _ = vae.posterior(to_unit_interval(images))
    return np.asarray(z_mean)


def decode(vae: Any, z: NDArray[Any]) -> Pixels:
    """Returns images (n, height, width, channels) of latent vectors (n, latent_dim)."""
    return _in_batches(lambda batch: vae.decoder(batch, training=False), z.astype(np.float32))


def reconstruct(vae: Any, images: Pixels, z_mean: NDArray[np.float32]) -> Pixels:
    """Reconstructs images (n, height, width, channels) through the means of all levels.

    Args:
        vae: The trained model.
        images: The images.
        z_mean: Their latent means of the top level, (n, latent_dim).
    """
    if not vae.level_shapes:
        return decode(vae, z_mean)
    return _in_batches(vae.reconstruct, to_unit_interval(images))


def generate(vae: Any, z: NDArray[Any]) -> Pixels:
    """Returns images (n, height, width, channels) of z (n, latent_dim) and drawn lower levels."""
    if not vae.level_shapes:
        return decode(vae, z)
    latents = [z.astype(np.float32), *map(np.asarray, vae.draw_prior(len(z), _PRIOR_SEED)[1:])]
    return _in_batches(lambda z, *maps: vae.decode_levels(z, maps), *latents)


def _in_batches(call: Callable[..., Any], *inputs: NDArray[np.float32]) -> Pixels:
    """Calls a function with a few rows of its inputs at a time, and joins the images."""
    starts = range(0, len(inputs[0]), _DECODE_BATCH_SIZE)
    parts = ([each[i : i + _DECODE_BATCH_SIZE] for each in inputs] for i in starts)
    return np.concatenate([to_pixels(np.asarray(call(*part))) for part in parts])
