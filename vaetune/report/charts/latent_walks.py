"""Walks through latent space: between images, and along one dimension after the other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.study import ACTIVE_VARIANCE

STEPS = 11

REACH = 2.5
"""Standard deviations of the prior that a traversal covers on either side, 99% of the prior."""

MAX_DIMENSIONS = 32

Walks = NDArray[np.float32]
"""Latent vectors of shape (walks, steps, latent_dim)."""


@dataclass(frozen=True)
class Activity:
    """How much a latent dimension tells images apart.

    Attributes:
        dimension: Its index.
        variance: Variance of its z_mean over images.
    """

    dimension: int
    variance: float


def find_active(z_mean: NDArray[np.floating[Any]]) -> tuple[Activity, ...]:
    """The active dimensions, the most active first.

    Args:
        z_mean: Latent means of images, (n, latent_dim). Rows that are not finite are left out.

    References:
        Burda et al. 2016, section 5.2.
    """
    finite = z_mean[np.isfinite(z_mean).all(axis=1)]
    if len(finite) == 0:
        return ()
    variances = np.var(finite, axis=0, dtype=np.float64)
    order = np.argsort(-variances, kind="stable")
    return tuple(
        Activity(int(i), float(variances[i])) for i in order if variances[i] > ACTIVE_VARIANCE
    )


def interpolate(z_mean: NDArray[np.floating[Any]], steps: int = STEPS) -> Walks:
    """Straight lines from the first of each two latent vectors to the second, ends included.

    Args:
        z_mean: (2 * walks, latent_dim), neighbours making a pair.
        steps: Number of steps per walk.
    """
    pairs = z_mean.reshape(-1, 2, 1, z_mean.shape[1])
    shares = np.linspace(0.0, 1.0, steps)[:, None]
    return ((1.0 - shares) * pairs[:, 0] + shares * pairs[:, 1]).astype(np.float32)


def traverse(dimensions: tuple[Activity, ...], latent_dim: int, values: NDArray[Any]) -> Walks:
    """A walk along each dimension, while all others are 0.

    Args:
        dimensions: To walk along.
        latent_dim: Number of latent dimensions.
        values: (steps,), of the dimension that is walked along.
    """
    z = np.zeros((len(dimensions), len(values), latent_dim), np.float32)
    for row, each in enumerate(dimensions):
        z[row, :, each.dimension] = values
    return z


def traversal_values(steps: int = STEPS) -> NDArray[np.float64]:
    """Equal steps over the range of a traversal."""
    return np.linspace(-REACH, REACH, steps)
