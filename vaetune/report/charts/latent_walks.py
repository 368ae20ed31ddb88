"""Computes walks through latent space: between images, and along single dimensions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.study import count_active_units, variance_per_dimension

STEPS = 11
"""Number of latent vectors in a walk."""

TRAVERSAL_LIMIT = 2.5
"""Largest coordinate of a traversal: 99% of the prior lies between minus and plus this value."""

MAX_DIMENSIONS = 32
"""Largest number of dimensions in the figure of traversals."""

Walks = NDArray[np.float32]
"""Latent vectors of shape (walks, steps, latent_dim)."""


@dataclass(frozen=True)
class Activity:
    """The activity of a latent dimension, which shows how much it distinguishes images.

    Attributes:
        dimension: Index of the dimension.
        variance: Variance of its z_mean over images.
    """

    dimension: int
    variance: float


def find_active(z_mean: NDArray[np.floating[Any]]) -> tuple[Activity, ...]:
    """Finds the active dimensions and sorts them by descending variance.

    Args:
        z_mean: Latent means (n, latent_dim) of images. Rows that are not finite are left out.

    References:
        Burda et al. 2016, section 5.2.
    """
    finite = z_mean[np.isfinite(z_mean).all(axis=1)]
    if len(finite) == 0:
        return ()
    variances = variance_per_dimension(finite)
    order = sorted(range(len(variances)), key=lambda i: -variances[i])
    return tuple(Activity(i, variances[i]) for i in order[: count_active_units(variances)])


def interpolate(z_mean: NDArray[np.floating[Any]], steps: int = STEPS) -> Walks:
    """Computes straight lines between pairs of latent vectors, ends included.

    Args:
        z_mean: Latent vectors (2 * walks, latent_dim); neighbours form a pair.
        steps: Number of latent vectors in each walk.
    """
    pairs = z_mean.reshape(-1, 2, 1, z_mean.shape[1])
    shares = np.linspace(0.0, 1.0, steps)[:, None]
    return ((1.0 - shares) * pairs[:, 0] + shares * pairs[:, 1]).astype(np.float32)


def traverse(dimensions: tuple[Activity, ...], latent_dim: int, values: NDArray[Any]) -> Walks:
    """Computes a walk along each dimension with all other dimensions at 0.

    Args:
        dimensions: Dimensions to walk along.
        latent_dim: Number of latent dimensions.
        values: Values (steps,) of the dimension along the walk.
    """
    z = np.zeros((len(dimensions), len(values), latent_dim), np.float32)
    for row, each in enumerate(dimensions):
        z[row, :, each.dimension] = values
    return z


def traversal_values(steps: int = STEPS) -> NDArray[np.float64]:
    """Equally spaced values of a traversal.

    Args:
        steps: Number of values.
    """
    return np.linspace(-TRAVERSAL_LIMIT, TRAVERSAL_LIMIT, steps)
