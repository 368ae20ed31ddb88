"""A Gaussian process over configurations and epochs: the losses of all learning curves.

The covariance of two losses is the sum of a part that all configurations share, two parts that
depend on the distance of the configurations, a part of the run itself, and noise. All but the
noise fade with the distance of the epochs on a logarithmic scale.

References:
    Swersky, Snoek and Adams, "Freeze-Thaw Bayesian Optimization", 2014.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

Array = NDArray[np.float64]

SHARED_VARIANCE, SHARED_TIME = 0.216, 1.66
"""Variance and length scale in time of the part that all configurations share."""

PARTS = ((0.051, 1.19), (0.032, 0.78))
"""Variance and length scale in time of the parts that depend on the configuration."""

RUN_VARIANCE, RUN_TIME = 0.0015, 0.46
"""Variance and length scale in time of the part of a run itself."""

NOISE = 0.0002
"""Variance of a single loss."""

_JITTER = 1e-6

_PRIOR_WEIGHT = 10
"""Number of losses that the variances above count for, next to the observed ones."""

_LEAST, _MOST = 0.3, 3.0
"""Bounds of the factor by which the observed losses change the predicted variance."""


@dataclass(frozen=True)
class Points:
    """Losses to observe or to predict.

    Attributes:
        configurations: Points of the configurations, (n, coordinates).
        times: Logarithms of the epochs, (n,).
        runs: Numbers of the runs, (n,). Each run draws initial weights of its own.
    """

    configurations: Array
    times: Array
    runs: NDArray[np.int64]

    def followed_by(self, other: "Points") -> "Points":
        """Returns these points and others."""
        return Points(
            np.concatenate([self.configurations, other.configurations]),
            np.concatenate([self.times, other.times]),
            np.concatenate([self.runs, other.runs]),
        )


class CurveProcess:
    """The Gaussian process, fitted to observed losses.

    Args:
        points: Places at which the losses were observed; at least one.
        losses: Losses on the scale of the process, (n,).
        lengths: Length scales of the coordinates, (2, coordinates).
    """

    def __init__(self, points: Points, losses: Array, lengths: Array) -> None:
        self._points, self._lengths = points, lengths
        self._mean = float(losses.mean())
        covariance = self._covariance(points, points)
        covariance[np.diag_indices_from(covariance)] += NOISE + _JITTER
        # These matrices are small. The threads of a matrix product or of a triangular solver would
        # take longer to meet than one thread takes to finish, so sums are written out.
        self._whitening, _ = dtrtri(np.linalg.cholesky(covariance), lower=1)
        whitened = self._whitening @ (losses - self._mean)
        self._weights = self._whitening.T @ whitened
        spread = (whitened @ whitened + _PRIOR_WEIGHT) / (len(losses) + _PRIOR_WEIGHT)
        self._spread = min(max(float(spread), _LEAST), _MOST)

    def predict(self, points: Points) -> tuple[Array, Array]:
        """Returns means and standard deviations of losses, each (n,)."""
        across = self._covariance(self._points, points)
        mean = self._mean + across.T @ self._weights
        explained = np.einsum("ij,jk->ik", self._whitening, across)
        prior = SHARED_VARIANCE + sum(variance for variance, _ in PARTS) + RUN_VARIANCE
        variance = np.maximum(prior - (explained**2).sum(axis=0), 1e-8)
        return mean, np.sqrt(variance * self._spread)

    def _covariance(self, a: Points, b: Points) -> Array:
        apart = (a.times[:, None] - b.times[None]) ** 2
        total = SHARED_VARIANCE * _fade(apart, SHARED_TIME)
        for (variance, time), lengths in zip(PARTS, self._lengths, strict=True):
            distances = _distances(a.configurations / lengths, b.configurations / lengths)
            total += variance * _matern(distances) * _fade(apart, time)
        same = a.runs[:, None] == b.runs[None]
        total += np.where(same, RUN_VARIANCE, 0.0) * _fade(apart, RUN_TIME)
        return total


def _fade(squares: Array, length: float) -> Array:
    faded: Array = np.exp(-0.5 / length**2 * squares)
    return faded


def _distances(a: Array, b: Array) -> Array:
    products = np.einsum("ij,kj->ik", a, b)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * products
    distances: Array = np.sqrt(np.maximum(squares, 0.0))
    return distances


def _matern(distances: Array) -> Array:
    """Matern covariance with smoothness 5/2."""
    scaled = np.sqrt(5.0) * distances
    covariance: Array = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return covariance
