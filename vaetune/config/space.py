"""The search space: one dimension for each hyperparameter."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    field_validator,
    model_validator,
)

from vaetune.errors import short_repr


def _must_be_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"must be a number, received {short_repr(value)}")
    return value


Number = Annotated[int | float, BeforeValidator(_must_be_number)]


class Table(BaseModel):
    """A table of a search file. It is immutable and rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(Table):
    """A hyperparameter that takes one of a list of values, each with equal probability."""

    values: Annotated[tuple[Number, ...], Field(min_length=1)]

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[Number, ...]) -> tuple[Number, ...]:
        if len(set(values)) < len(values):
            raise ValueError("must not repeat a value")
        return values

    def numbers(self) -> tuple[Number, ...]:
        return self.values

    def contains(self, number: Number) -> bool:
        return number in self.values


class Range(Table):
    """A hyperparameter between two bounds, both included, sampled on a linear or log scale."""

    min: Number
    max: Number
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.min < self.max:
            raise ValueError(
                f"min must be less than max, received min = {self.min} and max = {self.max}; "
                "to pin a hyperparameter write { value = ... }"
            )
        if self.scale == "log" and self.min <= 0:
            raise ValueError(f'scale = "log" needs a min above 0, received min = {self.min}')
        return self

    def numbers(self) -> tuple[Number, ...]:
        return (self.min, self.max)

    def contains(self, number: Number) -> bool:
        return self.min <= number <= self.max


class Pinned(Table):
    """A hyperparameter fixed at one value."""

    value: Number

    def numbers(self) -> tuple[Number, ...]:
        return (self.value,)

    def contains(self, number: Number) -> bool:
        return number == self.value


def _dimension_tag(raw: Any) -> str | None:
    if isinstance(raw, Table):
        return type(raw).__name__
    if not isinstance(raw, Mapping):
        return None
    kinds = {"values": "Choice", "value": "Pinned", "min": "Range", "max": "Range"}
    found = {kinds[key] for key in raw if key in kinds}
    return found.pop() if len(found) == 1 else None


Dimension = Annotated[
    Annotated[Choice, Tag("Choice")]
    | Annotated[Range, Tag("Range")]
    | Annotated[Pinned, Tag("Pinned")],
    Discriminator(
        _dimension_tag,
        custom_error_type="dimension",
        custom_error_message=(
            "must be one of { values = [...] }, "
            '{ min = ..., max = ..., scale = "linear" or "log" }, { value = ... }'
        ),
    ),
    # By its type. Pydantic would call the discriminator, and lose a Ctrl-C that arrives inside it.
    SerializeAsAny(),
]

DIMENSIONS: Mapping[str, type[Table]] = {"Choice": Choice, "Range": Range, "Pinned": Pinned}
"""The classes of dimensions by tag. Pydantic names the tag in the location of an error."""

REFERENCE: Mapping[str, Number] = {
    "filters_1": 32,
    "filters_2": 64,
    "dense_units": 16,
    "latent_dim": 2,
    "learning_rate": 1e-3,
}
"""Hyperparameters of the Keras example "Variational AutoEncoder"."""

REAL_VALUED = ("learning_rate", "beta")
"""Hyperparameters that are real numbers even if their bounds are integers."""

REFERENCE_BATCH_SIZE = 128

REFERENCE_BETA = 1.0

OPTIONAL: Mapping[str, Number] = {"batch_size": REFERENCE_BATCH_SIZE, "beta": REFERENCE_BETA}
"""Hyperparameters that a configuration has only if its space does, with the Keras example's values.
"""


class Space(Table):
    """The search space: one dimension for each hyperparameter.

    A dimension that is not given is pinned at the Keras example's value.

    Attributes:
        filters_1: Filters of the first convolution.
        filters_2: Filters of the second convolution.
        dense_units: Units of the encoder's dense layer.
        latent_dim: Number of latent dimensions.
        learning_rate: Learning rate of the Adam optimizer.
        batch_size: Images per training step. None: as given in `Training`.
        beta: Weight of the KL divergence in training; validation always uses 1. None: 1.
    """

    filters_1: Dimension = Pinned(value=REFERENCE["filters_1"])
    filters_2: Dimension = Pinned(value=REFERENCE["filters_2"])
    dense_units: Dimension = Pinned(value=REFERENCE["dense_units"])
    latent_dim: Dimension = Pinned(value=REFERENCE["latent_dim"])
    learning_rate: Dimension = Pinned(value=REFERENCE["learning_rate"])
    batch_size: Dimension | None = None
    beta: Dimension | None = None

    @field_validator("filters_1", "filters_2", "dense_units", "latent_dim", "batch_size")
    @classmethod
    def _whole(cls, dimension: Dimension | None) -> Dimension | None:
        for number in dimension.numbers() if dimension else ():
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"needs whole numbers of at least 1, received {number}")
        return dimension

    @field_validator("beta")
    @classmethod
    def _not_negative(cls, dimension: Dimension | None) -> Dimension | None:
        for number in dimension.numbers() if dimension else ():
            if not 0 <= number < math.inf:
                raise ValueError(f"needs finite numbers of at least 0, received {number}")
        return dimension

    @field_validator("learning_rate")
    @classmethod
    def _positive(cls, dimension: Dimension) -> Dimension:
        for number in dimension.numbers():
            if not 0 < number < math.inf:
                raise ValueError(f"needs finite numbers above 0, received {number}")
        return dimension

    @classmethod
    def pinned_at(cls, hyperparameters: Mapping[str, Number]) -> "Space":
        """Returns a space that contains one configuration."""
        return cls.model_validate({name: {"value": v} for name, v in hyperparameters.items()})

    def dimensions(self) -> Iterator[tuple[str, Choice | Range | Pinned]]:
        """Yields the name and dimension of each hyperparameter, in the order of the fields."""
        for name in type(self).model_fields:
            dimension = getattr(self, name)
            if dimension is not None:
                yield name, dimension

    def size(self) -> float:
        """Returns the number of configurations; infinite if the space has a real-valued range."""
        counts = (_count_values(name, dimension) for name, dimension in self.dimensions())
        return math.prod(counts)

    def default(self, name: str) -> Number:
        """Returns the Keras example's value if the space contains it, else the first number."""
        dimension: Choice | Range | Pinned = getattr(self, name)
        reference = {**REFERENCE, **OPTIONAL}[name]
        return reference if dimension.contains(reference) else dimension.numbers()[0]


def _count_values(name: str, dimension: Choice | Range | Pinned) -> float:
    if isinstance(dimension, Range):
        return math.inf if name in REAL_VALUED else dimension.max - dimension.min + 1
    return len(dimension.numbers())


DEFAULT_SPACE = Space(
    filters_1=Choice(values=(16, 32, 64)),
    filters_2=Choice(values=(32, 64, 128)),
    dense_units=Choice(values=(16, 32, 64, 128, 256)),
    latent_dim=Choice(values=(2, 4, 8, 16, 32)),
    learning_rate=Range(min=1e-4, max=1e-2, scale="log"),
)
"""The space of the built-in search "hyperband"."""


def short_hyperparameters(values: Mapping[str, Number]) -> str:
    """Returns a configuration as short text, such as "filters 32/64, dense 16, ..."."""
    words = (
        f"filters {values['filters_1']}/{values['filters_2']}, dense {values['dense_units']}, "
        f"latent {values['latent_dim']}, rate {values['learning_rate']:.2g}"
    )
    named = {"batch_size": "batch", "beta": "beta"}
    return words + "".join(f", {named[key]} {values[key]:.4g}" for key in named if key in values)
