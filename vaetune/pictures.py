"""What a trained VAE shows of itself, kept as raw arrays beside the journal.

Nothing is drawn during a search: a report draws these arrays when it is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vaetune.archive import Arrays, DamagedArchiveError, read_arrays, write_arrays

PICTURES_NAME = "pictures.npz"

RECONSTRUCTIONS = 10
PRIOR_SAMPLES = 50
LATENT_POINTS = 500
MANIFOLD_SIDE = 15

_DECODED_AT_ONCE = 128
"""Latent vectors: for images of 128 x 128 that takes about a gigabyte."""

Pixels = NDArray[np.uint8]
"""Images of shape (n, height, width, channels), 0..255."""


class Autoencoder(Protocol):
    """What pictures are taken of."""

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latent means (n, latent_dim) of images (n, height, width, channels) in [0, 1]."""

    def decode(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixel probabilities (n, height, width, channels) of latent vectors (n, latent_dim)."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """The validation images that every model of a search is shown.

    Attributes:
        originals: Images to reconstruct, spread over the classes, (n, height, width, channels).
        labels: Class indices of the first `LATENT_POINTS` validation images, or None.
    """

    originals: Pixels
    labels: NDArray[np.int64] | None

    def save(self, folder: Path) -> None:
        """Writes the arrays into a study's folder.

        Raises:
            ResultsError: They cannot be written.
        """
        _save(folder / PICTURES_NAME, {"originals": self.originals, "labels": self.labels})

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Reads the arrays from a study's folder; None if they are not there or damaged."""
        arrays = _load(folder / PICTURES_NAME)
        if arrays is None or "originals" not in arrays:
            return None
        return cls(arrays["originals"], arrays.get("labels"))


@dataclass(frozen=True, eq=False)
class Pictures:
    """What one model makes of the gallery and of its prior.

    Attributes:
        reconstructions: Of the gallery's originals, through z_mean; same shape.
        prior_samples: Decoded samples of N(0, 1), (n, height, width, channels).
        z_mean: Latent means of the first validation images, (points, latent_dim) float32.
        manifold: For latent_dim 2 the decoded grid of the prior's quantiles,
            (rows, columns, height, width, channels), the second dimension rising upwards.
    """

    reconstructions: Pixels
    prior_samples: Pixels
    z_mean: NDArray[np.float32]
    manifold: Pixels | None

    def save(self, folder: Path) -> None:
        """Writes the arrays into a trial's folder.

        Raises:
            ResultsError: They cannot be written.
        """
        _save(
            folder / PICTURES_NAME,
            {
                "reconstructions": self.reconstructions,
                "prior_samples": self.prior_samples,
                "z_mean": self.z_mean.astype(np.float16),
                "manifold": self.manifold,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Reads the arrays from a trial's folder; None if they are not there or damaged."""
        arrays = _load(folder / PICTURES_NAME)
        if arrays is None or not {"reconstructions", "prior_samples", "z_mean"} <= set(arrays):
            return None
        return cls(
            arrays["reconstructions"],
            arrays["prior_samples"],
            arrays["z_mean"].astype(np.float32),
            arrays.get("manifold"),
        )


def make_gallery(images: NDArray[Any], labels: NDArray[np.int64] | None) -> Gallery:
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
    return Gallery(_to_pixels(originals), None if labels is None else labels[:LATENT_POINTS])


def take_pictures(model: Autoencoder, gallery: Gallery, images: NDArray[Any]) -> Pictures:
    """Shows a trained model the gallery: a few batched calls, no drawing.

    Args:
        model: The model.
        gallery: Of the search.
        images: Validation images (n, height, width, channels), uint8 or float in [0, 1].
    """
    means = model.encode(_to_unit(gallery.originals))
    points = model.encode(_to_unit(images[:LATENT_POINTS]))
    latent_dim = means.shape[1]
    drawn = prior_samples(latent_dim).astype(np.float32)
    manifold = None
    if latent_dim == 2:
        flat = _to_pixels(model.decode(prior_grid(MANIFOLD_SIDE).reshape(-1, 2)))
        manifold = flat.reshape(MANIFOLD_SIDE, MANIFOLD_SIDE, *flat.shape[1:])
    reconstructions, samples = (_to_pixels(model.decode(z)) for z in (means, drawn))
    return Pictures(reconstructions, samples, points, manifold)


def encode(vae: Any, images: Pixels) -> NDArray[np.float32]:
    """Latent means (n, latent_dim) of images (n, height, width, channels)."""
    z_mean, _ = vae.posterior(_to_unit(images))
    return np.asarray(z_mean)


def decode(vae: Any, z: NDArray[Any]) -> Pixels:
    """Images (n, height, width, channels) of latent vectors (n, latent_dim)."""
    batches = (z[i : i + _DECODED_AT_ONCE] for i in range(0, len(z), _DECODED_AT_ONCE))
    decoded = [vae.decoder(batch.astype(np.float32), training=False) for batch in batches]
    return np.concatenate([_to_pixels(np.asarray(images)) for images in decoded])


def prior_samples(latent_dim: int, count: int = PRIOR_SAMPLES) -> NDArray[np.float64]:
    """Latent vectors (count, latent_dim) of N(0, 1), the same each time."""
    return np.random.default_rng(0).standard_normal((count, latent_dim))


def prior_grid(side: int) -> NDArray[np.float32]:
    """A square grid of the standard normal's quantiles: equal steps of probability.

    Returns:
        Latent vectors, (side, side, 2); the first dimension rises to the right, the second
        upwards.
    """
    quantiles = [NormalDist().inv_cdf((i + 0.5) / side) for i in range(side)]
    across, up = np.meshgrid(quantiles, quantiles[::-1])
    return np.stack([across, up], axis=-1).astype(np.float32)


def _to_pixels(images: NDArray[Any]) -> Pixels:
    if images.dtype != np.uint8:
        images = np.rint(np.clip(images, 0.0, 1.0) * 255.0)
    return images.astype(np.uint8, copy=False)


def _to_unit(images: NDArray[Any]) -> NDArray[np.float32]:
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255.0)
    return images.astype(np.float32)


def _save(path: Path, arrays: Mapping[str, NDArray[Any] | None]) -> None:
    write_arrays(path, {n: a for n, a in arrays.items() if a is not None}, compress=True)


def _load(path: Path) -> Arrays | None:
    """A missing or damaged picture costs the picture, never the report."""
    try:
        return read_arrays(path)
    except (OSError, DamagedArchiveError):
        return None
