"""Pictures of what a model has learnt, taken after its training."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vaetune.study import (
    LATENT_POINTS,
    MANIFOLD_SIDE,
    RECONSTRUCTIONS,
    Artifacts,
    Pixels,
    ProbeImages,
    prior_grid,
    prior_samples,
)

_DECODED_AT_ONCE = 128
"""Latent vectors: for images of 128 x 128 that takes about a gigabyte."""


class Autoencoder(Protocol):
    """What pictures are taken of."""

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latent means (n, latent_dim) of images (n, height, width, channels) in [0, 1]."""

    def decode(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixel probabilities (n, height, width, channels) of latent vectors (n, latent_dim)."""


def choose_probe_images(images: NDArray[Any], labels: NDArray[np.int64] | None) -> ProbeImages:
    """Chooses the images to show, as many of each class as there is room for.

    Neighbours are of different classes, where there are several with enough images.

    Args:
        images: Validation images (n, height, width, channels), uint8 or float in [0, 1].
        labels: Class indices (n,), or None.
    """
    chosen = np.arange(len(images))
    if labels is not None:
        occurrence = np.zeros(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            occurrence[members] = np.arange(len(members))
        chosen = np.lexsort((labels, occurrence))  # the first of each class, then the second
    originals = images[chosen[:RECONSTRUCTIONS]]
    return ProbeImages(_to_pixels(originals), None if labels is None else labels[:LATENT_POINTS])


def take_snapshot(model: Autoencoder, probe_images: ProbeImages, images: NDArray[Any]) -> Artifacts:
    """Shows a trained model the gallery: a few batched calls, no drawing.

    Args:
        model: The model.
        probe_images: Probe images of the search.
        images: Validation images (n, height, width, channels), uint8 or float in [0, 1].
    """
    means = model.encode(_to_unit(probe_images.originals))
    points = model.encode(_to_unit(images[:LATENT_POINTS]))
    latent_dim = means.shape[1]
    drawn = prior_samples(latent_dim).astype(np.float32)
    manifold = None
    if latent_dim == 2:
        flat = _to_pixels(model.decode(prior_grid(MANIFOLD_SIDE).reshape(-1, 2)))
        manifold = flat.reshape(MANIFOLD_SIDE, MANIFOLD_SIDE, *flat.shape[1:])
    reconstructions, samples = (_to_pixels(model.decode(z)) for z in (means, drawn))
    return Artifacts(reconstructions, samples, points, manifold)


def encode(vae: Any, images: Pixels) -> NDArray[np.float32]:
    """Latent means (n, latent_dim) of images (n, height, width, channels)."""
    z_mean, _ = vae.posterior(_to_unit(images))
    return np.asarray(z_mean)


def decode(vae: Any, z: NDArray[Any]) -> Pixels:
    """Images (n, height, width, channels) of latent vectors (n, latent_dim)."""
    batches = (z[i : i + _DECODED_AT_ONCE] for i in range(0, len(z), _DECODED_AT_ONCE))
    decoded = [vae.decoder(batch.astype(np.float32), training=False) for batch in batches]
    return np.concatenate([_to_pixels(np.asarray(images)) for images in decoded])


def _to_pixels(images: NDArray[Any]) -> Pixels:
    if images.dtype != np.uint8:
        images = np.rint(np.clip(images, 0.0, 1.0) * 255.0)
    return images.astype(np.uint8, copy=False)


def _to_unit(images: NDArray[Any]) -> NDArray[np.float32]:
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255.0)
    return images.astype(np.float32)
