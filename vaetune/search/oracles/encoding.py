"""Turns configurations into points for a Gaussian process, and draws configurations of a space.

A coordinate in [0, 1] stands for each ordered hyperparameter: its rank among the choices, or its
place in the range on the range's own scale. Each category of a text has a coordinate of its own.
A hyperparameter that a configuration does not use is in the middle, equally far from all values.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from vaetune.config import FAMILY, Choice, Pinned, Range, Space, Value, holds

Configuration = Mapping[str, Value]

Key = tuple[tuple[str, Value], ...]
"""The values of a configuration, ranges to `DIGITS` digits. Equal keys mean duplicates."""

DIGITS = 3
"""Significant digits to which two numbers of a range must differ."""

_WRITTEN_DIGITS = 6
"""Significant digits of a real number that is drawn from a range."""

ENUMERATED = 1000
"""Number of configurations up to which a space is listed instead of sampled."""

Lengths = tuple[tuple[float, float], tuple[float, float]]
"""Length scales of both parts of each kernel of `gaussian_process.KERNELS`."""

_LENGTHS: Mapping[str, Lengths] = {
    "filters_1": ((5.6, 5.6), (10.1, 23.8)),
    "filters_2": ((5.8, 2.5), (3.5, 18.6)),
    "dense_units": ((6.0, 8.4), (14.2, 48.0)),
    "latent_dim": ((4.3, 5.7), (1.4, 37.0)),
    "learning_rate": ((2.9, 1.5), (15.0, 6.2)),
}
"""Length scales in doublings of the value."""

_OTHER_LENGTHS: Lengths = ((1.0, 1.0), (0.5, 4.0))
"""Length scales of the other hyperparameters, relative to their whole range."""

_SHORTEST, _LONGEST = 0.2, 50.0
"""Bounds of a length scale, relative to the whole range."""

STEP_OF_CHOICES, STEP_OF_RANGES = 0.3, 0.06
"""Standard deviation of a small change, relative to the whole range."""

_STEP_IN_RANKS = 0.75
"""Standard deviation of a small change of a choice, at least, in ranks."""


class _Coordinate:
    """A hyperparameter with more than one value.

    Args:
        name: Name of the hyperparameter.
        dimension: Its values.

    Attributes:
        columns: Number of coordinates of a point.
        lengths: Length scales of both parts of each kernel.
    """

    def __init__(self, name: str, dimension: Choice | Range | Pinned) -> None:
        kind = FAMILY[name].kind
        self.name = name
        self.is_text = kind == "text"
        self._is_whole = kind == "whole"
        self._range = dimension if isinstance(dimension, Range) else None
        listed = list(dimension.listed())
        values = listed if self.is_text else sorted(map(float, listed))
        self._values: list[Value] = [int(v) if self._is_whole else v for v in values]
        ranks = max(STEP_OF_CHOICES, _STEP_IN_RANKS / (len(values) - 1))
        self._step = STEP_OF_RANGES if self._range else ranks
        self.columns = len(values) if self.is_text else 1
        self.lengths = self._scaled_lengths()

    def _scaled_lengths(self) -> NDArray[np.float64]:
        low, high = self._values[0], self._values[-1]
        if self.name not in _LENGTHS or self.is_text or float(low) <= 0:
            return np.array(_OTHER_LENGTHS)
        doublings = math.log2(float(high) / float(low))
        return np.clip(np.array(_LENGTHS[self.name]) / doublings, _SHORTEST, _LONGEST)

    def draw(self, number: float) -> Value:
        """Returns the value of a uniform random number in [0, 1)."""
        if self._range:
            return self._in_range(number)
        return self._values[min(int(number * len(self._values)), len(self._values) - 1)]

    def change(self, value: Value | None, step: float, number: float) -> Value:
        """Returns a value near another one.

        Args:
            value: The other value; None if its configuration does not use the hyperparameter.
            step: Standard normal random number.
            number: Uniform random number in [0, 1).
        """
        if value is None or self.is_text:
            return self.draw(number)
        place = min(max(self.place(value) + self._step * step, 0.0), 1.0)
        if self._range:
            return self._in_range(place)
        return self._values[round(place * (len(self._values) - 1))]

    def listed(self) -> Sequence[Value] | None:
        """Returns all values; None for a range of real numbers."""
        if self._range is None:
            return self._values
        low, high = (int(bound) for bound in self._values)
        return range(low, high + 1) if self._is_whole else None

    def place(self, value: Value) -> float:
        """Returns the place of an ordered value in [0, 1]."""
        if self._range is None:
            return self._values.index(value) / (len(self._values) - 1)
        low, high = (self._onto_scale(float(bound)) for bound in self._values)
        return (self._onto_scale(float(value)) - low) / (high - low)

    def point(self, value: Value | None) -> list[float]:
        """Returns the coordinates of a value; None stands for a hyperparameter without use."""
        if not self.is_text:
            return [0.5 if value is None else self.place(value)]
        share = math.sqrt(0.5)  # Two different categories have the distance 1.
        if value is None:
            return [share / self.columns] * self.columns
        return [share * (value == one) for one in self._values]

    def key(self, value: Value) -> Value:
        """Returns a value that duplicates share."""
        is_real = self._range is not None and not self._is_whole
        return float(f"{float(value):.{DIGITS}g}") if is_real else value

    def _onto_scale(self, number: float) -> float:
        is_log = self._range is not None and self._range.scale == "log"
        return math.log(number) if is_log else number

    def _in_range(self, place: float) -> Value:
        low, high = (self._onto_scale(float(bound)) for bound in self._values)
        number = low + place * (high - low)
        if self._range and self._range.scale == "log":
            number = math.exp(number)
        bottom, top = map(float, self._values)
        if self._is_whole:
            return int(min(max(round(number), bottom), top))
        return min(max(float(f"{number:.{_WRITTEN_DIGITS}g}"), bottom), top)


class Encoder:
    """The configurations of a space as points, and points as configurations.

    Args:
        space: Search space.

    Attributes:
        dimensions: Number of hyperparameters with more than one value.
        lengths: Length scales of the coordinates, (kernels, 2, coordinates): a row for each of
            the two parts of each kernel.
    """

    def __init__(self, space: Space) -> None:
        self._names = [name for name, _ in space.dimensions()]
        self._order = space.evaluation_order()
        self._conditions = space.conditions()
        found = dict(space.dimensions())
        searched = set(space.searched())
        self._coordinates = {
            name: _Coordinate(name, found[name]) for name in self._names if name in searched
        }
        self._fixed = {n: d.listed()[0] for n, d in found.items() if n not in searched}
        self.dimensions = len(self._coordinates)
        columns = [one.lengths for one in self._coordinates.values() for _ in range(one.columns)]
        self.lengths = np.moveaxis(np.array(columns).reshape(-1, 2, 2), 0, -1)
        self._listed = space.size() <= ENUMERATED
        # Each decision asks for the keys of all configurations that have begun.
        self._key = lru_cache(maxsize=8192)(self._make_key)

    def draw(self, numbers: Sequence[float]) -> dict[str, Value]:
        """Returns a configuration.

        Args:
            numbers: Uniform random numbers in [0, 1), one for each searched hyperparameter.
        """
        drawn = zip(self._coordinates.values(), numbers, strict=True)
        return self._used({one.name: one.draw(number) for one, number in drawn})

    def vary(
        self, values: Configuration, rng: np.random.Generator, share: float
    ) -> dict[str, Value]:
        """Returns a configuration near another one.

        Args:
            values: The other configuration.
            rng: Source of random numbers.
            share: Probability with which each hyperparameter changes.
        """
        picked, numbers = rng.random((2, self.dimensions))
        steps = rng.normal(size=self.dimensions)
        found: dict[str, Value] = {}
        for column, (name, one) in enumerate(self._coordinates.items()):
            known = values.get(name)
            is_kept = known is not None and picked[column] >= share
            found[name] = (
                known
                if is_kept and known is not None
                else one.change(known, float(steps[column]), float(numbers[column]))
            )
        return self._used(found)

    def points(self, configurations: Sequence[Configuration]) -> NDArray[np.float64]:
        """Returns the points of configurations, (configurations, coordinates)."""
        rows = [
            [number for name, one in self._coordinates.items() for number in one.point(c.get(name))]
            for c in configurations
        ]
        return np.array(rows, dtype=float).reshape(len(rows), self.lengths.shape[-1])

    def key(self, values: Configuration) -> Key:
        """Returns a key that equals that of another configuration if one of them is a duplicate."""
        return self._key(tuple(values.items()))

    def _make_key(self, pairs: Key) -> Key:
        values = dict(pairs)
        return tuple(
            (name, one.key(values[name]))
            for name, one in self._coordinates.items()
            if name in values
        )

    @cached_property
    def everything(self) -> list[dict[str, Value]] | None:
        """All configurations, each once; None if there are more than `ENUMERATED`."""
        return list(self._extend({}, 0)) if self._listed else None

    def _extend(self, begun: dict[str, Value], place: int) -> Iterator[dict[str, Value]]:
        """Yields the configurations that begin with some values."""
        if place == len(self._order):
            yield {name: begun[name] for name in self._names if name in begun}
            return
        name = self._order[place]
        values: Sequence[Value] = ()
        if holds(self._conditions.get(name, ()), begun):
            one = self._coordinates.get(name)
            values = (one.listed() or ()) if one else (self._fixed[name],)
        if not values:
            yield from self._extend(begun, place + 1)
        for value in values:
            yield from self._extend({**begun, name: value}, place + 1)

    def _used(self, values: Configuration) -> dict[str, Value]:
        """Returns the values that a configuration has, in the order of the space."""
        known, found = {**self._fixed, **values}, dict[str, Value]()
        for name in self._order:
            if name not in self._conditions or holds(self._conditions[name], found):
                found[name] = known[name]
        return {name: found[name] for name in self._names if name in found}
