"""The scale on which losses are compared: that of a Gaussian process with fixed variances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaetune.search.oracles.gaussian_process import Array

_CLIPPED = 0.95
"""Quantile above which losses are all alike: training that exploded, or never began to work."""

_SPREAD = 0.2
"""Smallest standard deviation of the losses of a search on the scale."""

_PRIOR_WEIGHT = 2
"""Number of losses with this deviation that count besides the observed ones."""

_SPREAD_WITHOUT_FLOOR = 0.4
"""Standard deviation of losses without a lower bound on the scale."""

_LEAST_ABOVE_FLOOR = 1e-3
"""Smallest excess over the floor, nats per image. Its logarithm must exist."""


@dataclass(frozen=True)
class Scale:
    """A monotonic map of losses, or of other costs; see `Objective.cost`.

    With a floor, the map is the logarithm of what is above it. Without one, losses may be
    negative, so the map is linear.

    Attributes:
        floor: Lower bound of all losses, nats per image; None if there is none.
        middle: Loss, or its logarithm above the floor, that is mapped to zero.
        factor: Factor of the difference to the middle.
        highest: Largest value on the scale.
    """

    floor: float | None
    middle: float
    factor: float
    highest: float

    @classmethod
    def of(cls, losses: Sequence[float], floor: float | None) -> "Scale":
        """Returns the scale of a search.

        Args:
            losses: All losses so far, nats per image; at least one.
            floor: Lower bound of all losses, nats per image; None if there is none.
        """
        numbers = _logarithms(losses, floor)
        middle = float(np.median(numbers))
        highest = float(np.quantile(numbers, _CLIPPED, method="lower"))
        low, high = np.quantile(numbers, (0.25, 0.75))
        width = float(high - low) / 1.349  # The quartiles of a normal distribution.
        if floor is None:
            factor = _SPREAD_WITHOUT_FLOOR / (width or float(numbers.std()) or 1.0)
        else:
            squares = len(numbers) * width**2 + _PRIOR_WEIGHT * _SPREAD**2
            factor = max(1.0, _SPREAD / float(np.sqrt(squares / (len(numbers) + _PRIOR_WEIGHT))))
        return cls(floor, middle, factor, (highest - middle) * factor)

    def onto(self, losses: Sequence[float]) -> Array:
        """Returns losses on the scale; the largest ones are all alike."""
        numbers = (_logarithms(losses, self.floor) - self.middle) * self.factor
        return np.minimum(numbers, self.highest)

    def loss(self, number: float) -> float:
        """Returns the loss of a number on the scale, nats per image."""
        unscaled = number / self.factor + self.middle
        return unscaled if self.floor is None else self.floor + float(np.exp(unscaled))


def _logarithms(losses: Sequence[float], floor: float | None) -> Array:
    numbers = np.asarray(losses, dtype=float)
    return numbers if floor is None else np.log(np.maximum(numbers - floor, _LEAST_ABOVE_FLOOR))
