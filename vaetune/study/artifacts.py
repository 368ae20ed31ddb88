"""Pictures of a trained VAE, kept as raw arrays next to the journal.

Nothing is drawn during a search: a report draws these arrays when it is written.
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

RECONSTRUCTIONS = 10

PRIOR_SAMPLES = 50

LATENT_POINTS = 500

MANIFOLD_SIDE = 15

Pixels = NDArray[np.uint8]
"""Images of shape (n, height, width, channels), 0..255."""


@dataclass(frozen=True, eq=False)
class ProbeImages:
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


def prior_samples(latent_dim: int, count: int = PRIOR_SAMPLES) -> NDArray[np.float64]:
    """Latent vectors (count, latent_dim) of N(0, 1), the same each time."""
    return np.random.default_rng(0).standard_normal((count, latent_dim))


@dataclass(frozen=True, eq=False)
class Artifacts:
    """What one model makes of the gallery and of its prior.

    Attributes:
        reconstructions: Reconstructions of the probe images through z_mean; same shape.
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


def prior_grid(side: int) -> NDArray[np.float32]:
    """A square grid of the standard normal's quantiles: equal steps of probability.

    Returns:
        Latent vectors, (side, side, 2); the first dimension rises to the right, the second
        upwards.
    """
    quantiles = [NormalDist().inv_cdf((i + 0.5) / side) for i in range(side)]
    across, up = np.meshgrid(quantiles, quantiles[::-1])
    return np.stack([across, up], axis=-1).astype(np.float32)


def _save(path: Path, arrays: Mapping[str, NDArray[Any] | None]) -> None:
    write_arrays(path, {n: a for n, a in arrays.items() if a is not None}, compress=True)


def _load(path: Path) -> Arrays | None:
    """A missing or damaged picture costs the picture, never the report."""
    try:
        return read_arrays(path)
    except (OSError, DamagedArchiveError):
        return None
