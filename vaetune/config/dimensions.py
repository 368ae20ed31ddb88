"""The dimensions of a search space: a list of values, a range or one value."""

from collections.abc import Mapping
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


def _must_be_value(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"must be a number or a text, received {short_repr(value)}")
    return value


Number = Annotated[int | float, BeforeValidator(_must_be_number)]

Value = Annotated[int | float | str, BeforeValidator(_must_be_value)]
"""Value of a hyperparameter: a number, or a text for a category."""


class Table(BaseModel):
    """A table of a search file. It is immutable and rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Values = Annotated[tuple[Value, ...], Field(min_length=1)]


When = Annotated[Mapping[str, Values], Field(min_length=1)]
"""Values of other hyperparameters, by name, for which a hyperparameter is used."""


class Choice(Table):
    """A hyperparameter that takes one of a list of values, each with equal probability."""

    values: Values
    when: When | None = None

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[Value, ...]) -> tuple[Value, ...]:
        if len(set(values)) < len(values):
            raise ValueError("must not repeat a value")
        return values

    def listed(self) -> tuple[Value, ...]:
        """Returns all values."""
        return self.values

    def words(self) -> str:
        """Returns the values as text, such as "2, 4, 8"."""
        return ", ".join(map(str, self.values))

    def contains(self, value: Value) -> bool:
        return value in self.values


class Range(Table):
    """A hyperparameter between two bounds, both included, sampled on a linear or log scale."""

    min: Number
    max: Number
    scale: Literal["linear", "log"] = "linear"
    when: When | None = None

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

    def listed(self) -> tuple[Value, ...]:
        """Returns both bounds."""
        return (self.min, self.max)

    def words(self) -> str:
        """Returns the bounds as text, such as "2 to 8"."""
        return f"{self.min} to {self.max}"

    def contains(self, value: Value) -> bool:
        return not isinstance(value, str) and self.min <= value <= self.max


class Pinned(Table):
    """A hyperparameter fixed at one value."""

    value: Value
    when: When | None = None

    def listed(self) -> tuple[Value, ...]:
        """Returns the value."""
        return (self.value,)

    def words(self) -> str:
        """Returns the value as text."""
        return str(self.value)

    def contains(self, value: Value) -> bool:
        return value == self.value


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
