"""Worlds in which searches run without training: smooth surrogates of recorded learning curves.

Gaussian processes over the configurations predict the principal components of learning curves. The
curves are logarithms of the loss minus the entropy floor. A world is one function drawn from these
processes, which are fitted to one half of a table. A training in a world also has run noise: the
difference of two recorded trainings of a random configuration, scaled to a single training. Another
Gaussian process predicts the seconds of an epoch.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from curves import Curve, Table
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from vaetune.config import Space
from vaetune.search.oracles.encoding import Encoder

Array = NDArray[np.float64]
Values = Mapping[str, Any]

COMPONENTS = 4
"""Number of principal components of the curves."""

FEATURES = 512
"""Number of random Fourier features of a function drawn from a Gaussian process."""

CANDIDATES = 4000
"""Number of configurations that are searched for the lowest loss of a world."""

HALVES = {"choosing": 0, "judging": 1}
"""Halves of a table: the configurations with an even and with an odd number. Constants of an
algorithm are chosen on the first, and algorithms are compared on the second."""

LETTERS = "letters"
"""Table of other images, which were not used to choose anything. Its worlds have the seconds of an
epoch and the run noise of the digits, since models, sizes and numbers of images are the same."""


class Process:
    """A Gaussian process for one number, with a Matern 5/2 covariance and noise.

    Args:
        points: Encoded configurations, (n, coordinates).
        numbers: Observed numbers, (n,).
    """

    def __init__(self, points: Array, numbers: Array) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        lengths = Matern([1.0] * points.shape[1], (0.2, 30.0), nu=2.5)
        kernel = ConstantKernel(1.0, (0.05, 100.0)) * lengths + WhiteKernel(0.1, (1e-4, 1.0))
        self._points, self._middle = points, numbers.mean()
        self._scale = numbers.std() or 1.0
        self._observed = (numbers - self._middle) / self._scale
        with warnings.catch_warnings():
            # The length scale of a coordinate without effect ends at its bound.
            warnings.simplefilter("ignore")
            fitted = GaussianProcessRegressor(kernel, random_state=0).fit(points, self._observed)
        self._kernel, self._noise = fitted.kernel_.k1, fitted.kernel_.k2.noise_level
        covariance = self._kernel(points) + self._noise * np.eye(len(points))
        self._factor = cho_factor(covariance, lower=True)
        self._expected = self._corrected(_zeros, self._observed)

    def expect(self, points: Array) -> Array:
        """Returns the expected numbers, (n,)."""
        return self._expected(points)

    def draw(self, rng: np.random.Generator) -> Callable[[Array], Array]:
        """Returns a function drawn from the process, given the observations."""
        variance, lengths = self._kernel.k1.constant_value, self._kernel.k2.length_scale
        # A Matern 5/2 covariance has the frequencies of Student's t with 5 degrees of freedom.
        tails = np.sqrt(5 / rng.chisquare(5, size=(FEATURES, 1)))
        frequencies = rng.normal(size=(FEATURES, len(lengths))) / lengths * tails
        phases = rng.uniform(0, 2 * np.pi, FEATURES)
        weights = rng.normal(size=FEATURES) * np.sqrt(2 * variance / FEATURES)

        def prior(points: Array) -> Array:
            return np.cos(points @ frequencies.T + phases) @ weights

        noise = rng.normal(size=len(self._points)) * np.sqrt(self._noise)
        gaps = self._observed - prior(self._points) - noise
        return self._corrected(prior, gaps)

    def _corrected(self, prior: Callable[[Array], Array], gaps: Array) -> Callable[[Array], Array]:
        """Returns a function plus a smooth correction that closes its gaps to the observations.

        Args:
            prior: The function.
            gaps: Observations minus values of the function, (n,).
        """
        weights = cho_solve(self._factor, gaps)

        def corrected(points: Array) -> Array:
            total = prior(points) + self._kernel(points, self._points) @ weights
            return self._middle + self._scale * total

        return corrected


class Surrogate:
    """Learning curves of all configurations of a space, predicted from recorded ones.

    Args:
        curves: Recorded curves.
        space: Search space.

    Attributes:
        encoder: Encoder of the search space.
        floor: Lower bound of all losses, in nats per image.
    """

    def __init__(self, curves: Sequence[Curve], space: Space) -> None:
        self.encoder, self.floor = Encoder(space), curves[0].entropy_floor
        logs = logarithms(curves)
        self._middle = logs.mean(axis=0)
        _, _, rows = np.linalg.svd(logs - self._middle, full_matrices=False)
        self._directions = rows[:COMPONENTS]
        points = self.encoder.points([curve.values for curve in curves])
        columns = (logs - self._middle) @ self._directions.T
        self._processes = [Process(points, column) for column in columns.T]

    @cached_property
    def candidates(self) -> list[dict[str, Any]]:
        """Configurations spread over the whole space."""
        rows = np.random.default_rng(0).random((CANDIDATES, self.encoder.dimensions))
        return [self.encoder.draw(row) for row in rows.tolist()]

    def expect(self, configurations: Sequence[Values]) -> Array:
        """Returns the expected losses of configurations, (n, epochs)."""
        points = self.encoder.points(configurations)
        return self.losses(np.array([one.expect(points) for one in self._processes]).T)

    def draw(self, rng: np.random.Generator) -> Callable[[Sequence[Values]], Array]:
        """Returns a function from configurations to losses, (n, epochs)."""
        functions = [one.draw(rng) for one in self._processes]

        def drawn(configurations: Sequence[Values]) -> Array:
            points = self.encoder.points(configurations)
            return self.losses(np.array([function(points) for function in functions]).T)

        return drawn

    def losses(self, components: Array) -> Array:
        """Returns losses from principal components."""
        return self.floor + np.exp(self._middle + components @ self._directions)


class EpochSeconds:
    """The seconds of an epoch: a Gaussian process of their logarithm.

    Args:
        configurations: Configurations.
        seconds: Seconds of an epoch of each, (n,).
        space: Search space.
    """

    def __init__(self, configurations: Sequence[Values], seconds: Array, space: Space) -> None:
        self._encoder = Encoder(space)
        self._process = Process(self._points(configurations), np.log(seconds))

    def predict(self, configurations: Sequence[Values]) -> Array:
        """Returns the seconds of an epoch of configurations, (n,)."""
        return np.exp(self._process.expect(self._points(configurations)))

    def _points(self, configurations: Sequence[Values]) -> Array:
        # The seconds do not depend on the learning rate. Without it, its coordinate is the middle.
        others = [{k: v for k, v in c.items() if k != "learning_rate"} for c in configurations]
        return self._encoder.points(others)


@dataclass(frozen=True, eq=False)
class Half:
    """The surrogates and the noise of worlds, from one half of a table or from the letters.

    Attributes:
        space: Search space.
        surrogate: Learning curves.
        seconds: Seconds of an epoch.
        noise: Deviations of single trainings from their mean, in logarithms, (n, epochs).
    """

    space: Space
    surrogate: Surrogate
    seconds: EpochSeconds
    noise: Array

    @classmethod
    def of(cls, table: Table, name: str) -> "Half":
        """Returns one half of a table, or the letters.

        Args:
            table: Recorded curves, all three files.
            name: Name of the half, see `HALVES`; or `LETTERS`.
        """
        return cls(table.space, surrogate_of(table, name), fit_seconds(table), run_noise(table))


class World:
    """A function drawn from a surrogate, which replaces training.

    Args:
        half: Surrogates and noise from which the world is drawn.
        seed: Random seed of the function and of the noise.

    Attributes:
        space: Search space.
        encoder: Encoder of the search space.
        floor: Lower bound of all losses, in nats per image.
        lowest: Lowest loss of all candidates, without noise, in nats per image.
    """

    def __init__(self, half: Half, seed: int) -> None:
        self.space, self.encoder = half.space, half.surrogate.encoder
        self.floor = half.surrogate.floor
        self._half, self._seed = half, seed
        self._losses = half.surrogate.draw(np.random.default_rng([seed, 0]))
        self.lowest = float(self._losses(half.surrogate.candidates).min())

    def train(self, values: Values, run: int) -> Array:
        """Returns the losses of a training after each epoch, (epochs,).

        Args:
            values: The configuration.
            run: Number of the training, for the random numbers of its noise.
        """
        rng = np.random.default_rng([self._seed, 1, run])
        noise = rng.choice(self._half.noise) * rng.choice([-1.0, 1.0])
        (expected,) = self._losses([values])
        return self.floor + (expected - self.floor) * np.exp(noise)

    def epoch_s(self, values: Values) -> float:
        """Returns the seconds of an epoch of a configuration."""
        return float(self._half.seconds.predict([values])[0])


def of_letters(table: Table) -> Table:
    """Returns the table of the letters, in the folder of another table."""
    return replace(table, name=LETTERS)


def curves_of(table: Table, name: str) -> list[Curve]:
    """Returns the recorded curves of one half of a table, or of the letters."""
    if name == LETTERS:
        return of_letters(table).curves()
    return [curve for curve in table.curves() if curve.number % 2 == HALVES[name]]


@cache
def surrogate_of(table: Table, name: str) -> Surrogate:
    """Returns the learning curves of a half or of the letters, fitted once in each process."""
    return Surrogate(curves_of(table, name), table.space)


def logarithms(curves: Sequence[Curve]) -> Array:
    """Returns the logarithms of the losses above the entropy floor, (n, epochs)."""
    losses = np.array([curve.val_loss for curve in curves])
    return np.log(losses - curves[0].entropy_floor)


def run_noise(table: Table) -> Array:
    """Returns deviations of single trainings from their mean, in logarithms, (n, epochs)."""
    again = table.again()
    first = {curve.number: curve for curve in table.curves()}
    before = logarithms([first[curve.number] for curve in again])
    # The difference of two trainings has twice the variance of one.
    return (logarithms(again) - before) / np.sqrt(2)


@cache
def fit_seconds(table: Table) -> EpochSeconds:
    """Returns the process that predicts the seconds of an epoch, fitted once in each process."""
    values = {curve.number: curve.values for curve in table.curves()}
    rows = [row for row in table.seconds() if row.number in values]
    seconds = np.array([row.train_s + row.validation_s for row in rows])
    return EpochSeconds([values[row.number] for row in rows], seconds, table.space)


def held_out_errors(table: Table) -> dict[str, list[float]]:
    """Returns the errors of each half of a table on the other half, by epoch, in nats per image.

    The three lists are the root mean squared error, the median absolute error, and the standard
    deviation of the losses, which is the error of the mean.
    """
    errors = []
    for fitted, judged in (tuple(HALVES), tuple(HALVES)[::-1]):
        curves = curves_of(table, judged)
        predicted = surrogate_of(table, fitted).expect([curve.values for curve in curves])
        errors.append(predicted - [curve.val_loss for curve in curves])
    error = np.concatenate(errors)
    losses = np.array([curve.val_loss for curve in table.curves()])
    return {
        "root_mean_square": np.sqrt((error**2).mean(axis=0)).round(3).tolist(),
        "median": np.median(np.abs(error), axis=0).round(3).tolist(),
        "deviation": losses.std(axis=0).round(3).tolist(),
    }


def _zeros(points: Array) -> Array:
    return np.zeros(len(points))


@cache
def half_of(table: Table, name: str) -> Half:
    """Returns a half of a table, fitted once in each process."""
    return Half.of(table, name)
