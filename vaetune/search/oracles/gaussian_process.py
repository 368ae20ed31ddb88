"""A Gaussian process over configurations and epochs: the losses of all learning curves.

The covariance of two losses is the sum of a part that all configurations share, two parts that
depend on the distance of the configurations, a part of the run itself, and noise. All but the
noise fade with the distance of the epochs on a logarithmic scale. There are two such covariances
with fixed constants. The one under which the observed losses are more likely is used.

References:
    Swersky, Snoek and Adams, "Freeze-Thaw Bayesian Optimization", 2014.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

Array = NDArray[np.float64]

_JITTER = 1e-6

_PRIOR_WEIGHT = 10
"""Number of losses that the variances above count for, next to the observed ones."""

_LEAST, _MOST = 0.3, 3.0
"""Bounds of the factor by which the observed losses change the predicted variance."""


@dataclass(frozen=True)
class Kernel:
    """The constants of a covariance. A part has a variance and a length scale in time.

    Attributes:
        shared: Part that all configurations share.
        parts: Parts that depend on the configuration.
        run: Part of a run itself.
        noise: Variance of a single loss.
    """

    shared: tuple[float, float]
    parts: tuple[tuple[float, float], tuple[float, float]]
    run: tuple[float, float]
    noise: float

    @property
    def variance(self) -> float:
        """Variance of a loss without its noise."""
        return self.shared[0] + sum(variance for variance, _ in self.parts) + self.run[0]


ROUGH = Kernel((0.216, 1.66), ((0.051, 1.19), (0.032, 0.78)), (0.0015, 0.46), 0.0002)
"""Losses that differ much between similar configurations, as in the space of vaetune 0.1."""

SMOOTH = Kernel((0.257, 2.82), ((0.0028, 1.07), (0.18, 1.55)), (0.0005, 0.83), 0.0005)
"""Losses that change evenly with the configuration, as in the default space."""

KERNELS = (ROUGH, SMOOTH)

PRIOR_ODDS = (0.0, 3.0)
"""Logarithms of how likely each kernel is before any loss is observed."""


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
    """A Gaussian process with one of the kernels, given observed losses.

    Args:
        points: Places at which the losses were observed; at least one.
        losses: Losses on the scale of the process, (n,).
        lengths: Length scales of the coordinates for both parts of each kernel,
            (kernels, 2, coordinates).
        number: Number of the kernel among `KERNELS`.

    Attributes:
        number: Number of the kernel.
        evidence: Logarithm of the likelihood of the losses, up to a constant.
    """

    def __init__(self, points: Points, losses: Array, lengths: Array, number: int) -> None:
        self.number, self._kernel = number, KERNELS[number]
        self._points, self._lengths = points, lengths
        self._mean = float(losses.mean())
        covariance = self._covariance(points, points)
        covariance[np.diag_indices_from(covariance)] += self._kernel.noise + _JITTER
        # These matrices are small. The threads of a matrix product or of a triangular solver would
        # take longer to meet than one thread takes to finish, so sums are written out.
        self._whitening, _ = dtrtri(np.linalg.cholesky(covariance), lower=1)
        whitened = self._whitening @ (losses - self._mean)
        self._weights = self._whitening.T @ whitened
        spread = (whitened @ whitened + _PRIOR_WEIGHT) / (len(losses) + _PRIOR_WEIGHT)
        self._spread = min(max(float(spread), _LEAST), _MOST)
        # Student's t: the scale of the covariance is unknown, with `_PRIOR_WEIGHT` losses for 1.
        size = len(losses) + _PRIOR_WEIGHT
        determinant = float(np.log(np.diag(self._whitening)).sum())
        self.evidence = determinant - 0.5 * size * float(np.log(spread))

    @classmethod
    def fit(cls, points: Points, losses: Array, lengths: Array) -> "CurveProcess":
        """Returns the process with the kernel under which the losses are most likely."""
        fitted = [cls(points, losses, lengths, number) for number in range(len(KERNELS))]
        return max(fitted, key=lambda one: one.evidence + PRIOR_ODDS[one.number])

    def predict(self, points: Points) -> tuple[Array, Array]:
        """Returns means and standard deviations of losses, each (n,)."""
        across = self._covariance(self._points, points)
        mean = self._mean + across.T @ self._weights
        explained = np.einsum("ij,jk->ik", self._whitening, across)
        variance = np.maximum(self._kernel.variance - (explained**2).sum(axis=0), 1e-8)
        return mean, np.sqrt(variance * self._spread)

    def _covariance(self, a: Points, b: Points) -> Array:
        apart = (a.times[:, None] - b.times[None]) ** 2
        kernel = self._kernel
        total = kernel.shared[0] * _fade(apart, kernel.shared[1])
        for (variance, time), lengths in zip(kernel.parts, self._lengths[self.number], strict=True):
            distances = _distances(a.configurations / lengths, b.configurations / lengths)
            total += variance * _matern(distances) * _fade(apart, time)
        same = a.runs[:, None] == b.runs[None]
        total += np.where(same, kernel.run[0], 0.0) * _fade(apart, kernel.run[1])
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
