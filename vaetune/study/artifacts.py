"""Images and latent points of a trained VAE, stored as raw arrays in the study's folder.

A search does not draw anything. A report draws these arrays when it is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vaetune.files import Arrays, DamagedArchiveError, read_arrays, write_arrays

PICTURES_NAME = "pictures.npz"
"""File name of the probe images of a study, and of the artifacts of a trial."""

WORST_NAME = "worst.npz"
"""File name of the images that a finalist reconstructs worst."""

RECONSTRUCTIONS = 10
"""Validation images that each model reconstructs."""

PRIOR_SAMPLES = 50
"""Images that each model decodes from samples of the prior."""

EXAMPLES = 40
"""Images that show a person what was read."""

_EXAMPLE_SIDE = 32

_EXAMPLE_VALUES = EXAMPLES * _EXAMPLE_SIDE**2 * 3
"""Largest number of pixel values of all examples together, which keeps their file small."""

LATENT_POINTS = 500
"""Validation images that each model encodes."""

_THUMBNAIL_SIDE = 32

_THUMBNAIL_VALUES = LATENT_POINTS * 28**2
"""Largest number of pixel values of all thumbnails together, which keeps their file small."""

MANIFOLD_SIDE = 15
"""Rows and columns of the decoded grid of a model with two latent dimensions."""

Pixels = NDArray[np.uint8]
"""Images of shape (n, height, width, channels), values 0 to 255."""


@dataclass(frozen=True, eq=False)
class ProbeImages:
    """The validation images on which all models of a search are compared.

    Attributes:
        originals: Images to reconstruct, spread over the classes, (n, height, width, channels).
        labels: Class indices of the first `LATENT_POINTS` validation images; None without labels.
        examples: More validation images, reduced; None in searches of earlier versions.
        thumbnails: The first validation images, reduced, at most `LATENT_POINTS`; None in searches
            of earlier versions.
    """

    originals: Pixels
    labels: NDArray[np.int64] | None
    examples: Pixels | None = None
    thumbnails: Pixels | None = None

    def save(self, folder: Path) -> None:
        """Writes the arrays to the folder of a study.

        Raises:
            ResultsError: The file cannot be written.
        """
        _save(folder / PICTURES_NAME, vars(self))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Reads the arrays of a study. Returns None if the file is missing or damaged."""
        arrays = _load(folder / PICTURES_NAME)
        if arrays is None or "originals" not in arrays:
            return None
        others = (arrays.get(name) for name in ("labels", "examples", "thumbnails"))
        return cls(arrays["originals"], *others)


def reduce_images(images: Pixels, longest_side: int) -> Pixels:
    """Reduces images to a longest side, by averaging blocks of pixels.

    Args:
        images: Images, (n, height, width, channels).
        longest_side: Largest height and width, in pixels.
    """
    count, height, width, channels = images.shape
    block = -(-max(height, width) // longest_side)
    if block == 1:
        return images
    rows, columns = max(1, height // block), max(1, width // block)
    cut = images[:, : rows * block, : columns * block]
    blocks = cut.reshape(count, rows, -1, columns, cut.shape[2] // columns, channels)
    averaged: Pixels = blocks.mean(axis=(2, 4)).astype(np.uint8)
    return averaged


def reduce_examples(images: Pixels) -> Pixels:
    """Reduces images to a small size, and their number if they have many channels.

    Args:
        images: Images, (n, height, width, channels).
    """
    small = reduce_images(images[:EXAMPLES], _EXAMPLE_SIDE)
    return small[: max(1, _EXAMPLE_VALUES // max(1, small[:1].size))]


def prior_samples(latent_dim: int, count: int = PRIOR_SAMPLES) -> NDArray[np.float64]:
    """Returns samples of N(0, 1), shape (count, latent_dim), the same on every call."""
    return np.random.default_rng(0).standard_normal((count, latent_dim))


def count_thumbnails(image_shape: tuple[int, ...]) -> int:
    """Returns the number of validation images of which thumbnails are kept, at most.

    Args:
        image_shape: Height, width and channels of an image.
    """
    height, width, channels = image_shape
    block = -(-max(height, width) // _THUMBNAIL_SIDE)
    values = max(1, height // block) * max(1, width // block) * channels
    return min(LATENT_POINTS, max(1, _THUMBNAIL_VALUES // values))


def reduce_thumbnails(images: Pixels) -> Pixels:
    """Reduces images to the size of thumbnails.

    Args:
        images: Images, (n, height, width, channels).
    """
    return reduce_images(images, _THUMBNAIL_SIDE)


@dataclass(frozen=True, eq=False)
class Artifacts:
    """Reconstructions, samples and latent points of one model.

    Attributes:
        reconstructions: Reconstructions of `ProbeImages.originals`, decoded from z_mean, of the
            same shape.
        prior_samples: Decoded samples of N(0, 1), (n, height, width, channels).
        z_mean: Latent means of the first validation images, (points, latent_dim) float32.
        manifold: For latent_dim 2, the decoded grid of the quantiles of the prior,
            (rows, columns, height, width, channels); the second dimension increases upwards.
            Otherwise None.
    """

    reconstructions: Pixels
    prior_samples: Pixels
    z_mean: NDArray[np.float32]
    manifold: Pixels | None

    def save(self, folder: Path) -> None:
        """Writes the arrays to the folder of a trial.

        Raises:
            ResultsError: The file cannot be written.
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
        """Reads the arrays of a trial. Returns None if the file is missing or damaged."""
        arrays = _load(folder / PICTURES_NAME)
        if arrays is None or not {"reconstructions", "prior_samples", "z_mean"} <= set(arrays):
            return None
        return cls(
            arrays["reconstructions"],
            arrays["prior_samples"],
            arrays["z_mean"].astype(np.float32),
            arrays.get("manifold"),
        )


@dataclass(frozen=True, eq=False)
class WorstImages:
    """The validation images that a model reconstructs worst, the worst first.

    Attributes:
        originals: The images, (n, height, width, channels), n at least 1.
        reconstructions: Their reconstructions through the posterior means, of the same shape.
        losses: Reconstruction loss of each image, nats; for the Bernoulli likelihood, above the
            entropy of its pixels, which no model can avoid.
    """

    originals: Pixels
    reconstructions: Pixels
    losses: NDArray[np.float64]

    def save(self, folder: Path) -> None:
        """Writes the arrays to the folder of a trial.

        Raises:
            ResultsError: The file cannot be written.
        """
        _save(folder / WORST_NAME, vars(self))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Reads the arrays of a trial. Returns None if the file is missing or damaged."""
        arrays = _load(folder / WORST_NAME) or {}
        originals, losses = arrays.get("originals"), arrays.get("losses")
        reconstructions = arrays.get("reconstructions")
        if originals is None or losses is None or reconstructions is None:
            return None
        is_whole = originals.ndim == 4 and len(originals) == len(losses) > 0
        if not is_whole or originals.shape != reconstructions.shape:
            return None
        return cls(originals, reconstructions, losses)


def prior_grid(side: int) -> NDArray[np.float32]:
    """Returns a square grid of quantiles of N(0, 1), spaced evenly in probability.

    Args:
        side: Number of rows and columns.

    Returns:
        Latent vectors, (side, side, 2). The first dimension increases to the right, the second
        upwards.
    """
    quantiles = [NormalDist().inv_cdf((i + 0.5) / side) for i in range(side)]
    horizontal, vertical = np.meshgrid(quantiles, quantiles[::-1])
    return np.stack([horizontal, vertical], axis=-1).astype(np.float32)


def _save(path: Path, arrays: Mapping[str, NDArray[Any] | None]) -> None:
    present = {name: array for name, array in arrays.items() if array is not None}
    write_arrays(path, present, compress=True)


def _load(path: Path) -> Arrays | None:
    """Reads a file. Returns None on failure, so that a report loses its images only."""
    try:
        return read_arrays(path)
    except (OSError, DamagedArchiveError):
        return None
