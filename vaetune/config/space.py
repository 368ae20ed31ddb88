"""The search space: one dimension for each hyperparameter."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Self

from pydantic import ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from vaetune.config.closest import closest_match
from vaetune.config.conditions import (
    Dimensions,
    count,
    count_structures,
    effective_conditions,
    evaluation_order,
    impossible,
    list_programs,
    points_of,
    written_conditions,
)
from vaetune.config.dimensions import Choice, Dimension, Pinned, Range, Table, Value
from vaetune.config.family import (
    FAMILY,
    REFERENCE,
    WIDTHS,
    Condition,
    describe_condition,
    holds,
    parents,
    value_of,
)
from vaetune.errors import short_repr

WIDE_FILTERS = 4
"""Ratio of the largest to the smallest filters from which compiled programs differ in filters."""

_FILTERS = ("filters_1", "filters_2")

CONDITION_ERROR = "condition"
"""Type of the errors about conditions; their context has the key in the space."""


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
        activation: Activation of the hidden layers. None: "relu".
        encoder: Kind of the encoder's layers, "conv" or "dense". None: "conv".
        decoder: Kind of the decoder's layers, "conv" or "dense". None: "conv".
        dense_layers: Number of dense layers of a dense network. None: 1.
        stages: Number of times that a convolutional network halves the resolution. None: 2.
        blocks: Number of residual blocks in each stage. None: 0.
        normalization: Normalization of the hidden layers: "none", "group" or "batch". None:
            "none".
        output_stride: Stride of the decoder's last layer. None: 1.
        levels: Number of levels of latent variables. None: 1.
        level_channels: Latent channels of each level below the top. None: 4.
        output_bias: Initial bias of the output: "zeros", or "mean" for the logit of the mean
            image. None: "zeros".
        learning_rate_warmup: Epochs over which the learning rate rises from zero. None: 0.
        weight_average: Decay of the moving average of the weights; 0 turns it off. None: 0.
        kl_warmup: Epochs over which the weight of the KL divergence rises from zero. None: 0.
        free_bits: Nats of each latent dimension that are not penalized. None: 0.
        weight_decay: Weight decay of the Adam optimizer. None: 0.
        clip_norm: Largest norm of a gradient; 0 turns clipping off. None: 0.
        learning_rate_decay: Learning-rate schedule, "none" or "cosine". None: as given in
            `Training`.
    """

    filters_1: Dimension = Pinned(value=REFERENCE["filters_1"])
    filters_2: Dimension = Pinned(value=REFERENCE["filters_2"])
    dense_units: Dimension = Pinned(value=REFERENCE["dense_units"])
    latent_dim: Dimension = Pinned(value=REFERENCE["latent_dim"])
    learning_rate: Dimension = Pinned(value=REFERENCE["learning_rate"])
    batch_size: Dimension | None = None
    beta: Dimension | None = None
    activation: Dimension | None = None
    encoder: Dimension | None = None
    decoder: Dimension | None = None
    dense_layers: Dimension | None = None
    stages: Dimension | None = None
    blocks: Dimension | None = None
    normalization: Dimension | None = None
    output_stride: Dimension | None = None
    levels: Dimension | None = None
    level_channels: Dimension | None = None
    output_bias: Dimension | None = None
    learning_rate_warmup: Dimension | None = None
    weight_average: Dimension | None = None
    kl_warmup: Dimension | None = None
    free_bits: Dimension | None = None
    weight_decay: Dimension | None = None
    clip_norm: Dimension | None = None
    learning_rate_decay: Dimension | None = None

    @field_validator("*")
    @classmethod
    def _possible(cls, dimension: Dimension | None, info: ValidationInfo) -> Dimension | None:
        hyperparameter = FAMILY[str(info.field_name)]
        for value in dimension.listed() if dimension else ():
            if not hyperparameter.accepts(value):
                raise ValueError(f"needs {hyperparameter.needs}, received {short_repr(value)}")
        return dimension

    @model_validator(mode="after")
    def _conditions_are_possible(self) -> Self:
        dimensions = dict(self.dimensions())
        for name, dimension in dimensions.items():
            for parent, values in (dimension.when or {}).items():
                _check_parent(name, parent, values, dimensions)
        try:
            evaluation_order(dimensions)
        except ValueError as error:
            raise _condition_error(str(error)) from error
        for name in impossible(dimensions):
            if dimensions[name] != type(self).model_fields[name].default:
                raise _never_used(name, dimensions)
        return self

    @classmethod
    def pinned_at(cls, hyperparameters: Mapping[str, Value]) -> "Space":
        """Returns a space that contains one configuration."""
        return cls.model_validate({name: {"value": v} for name, v in hyperparameters.items()})

    @classmethod
    def spanning(cls, *configurations: Mapping[str, Value]) -> "Space":
        """Returns a space that contains all combinations of the values of some configurations."""
        names = dict.fromkeys(name for one in configurations for name in one)
        found = {
            name: tuple(dict.fromkeys(value_of(one, name) for one in configurations))
            for name in names
        }
        return cls.model_validate({name: {"values": values} for name, values in found.items()})

    def dimensions(self) -> Iterator[tuple[str, Choice | Range | Pinned]]:
        """Yields the name and dimension of each hyperparameter, in the order of the fields."""
        for name in type(self).model_fields:
            dimension = getattr(self, name)
            if dimension is not None:
                yield name, dimension

    def evaluation_order(self) -> list[str]:
        """Returns the names of the hyperparameters: parents first, then in the order of fields."""
        return evaluation_order(dict(self.dimensions()))

    def conditions(self) -> dict[str, Condition]:
        """Returns the conditions of the hyperparameters that not all configurations use."""
        return effective_conditions(dict(self.dimensions()))

    def used(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Returns the values that a configuration of this space has, in the order of the fields.

        Args:
            values: Values of all hyperparameters of the space.
        """
        conditions, found = self.conditions(), dict[str, Value]()
        for name in self.evaluation_order():
            if holds(conditions.get(name, ()), found):
                found[name] = values[name]
        return {name: found[name] for name, _ in self.dimensions() if name in found}

    def searched(self) -> tuple[str, ...]:
        """Returns the names of the hyperparameters with more than one value."""
        return tuple(name for name, one in self.dimensions() if len(one.listed()) > 1)

    def size(self) -> float:
        """Returns the number of configurations; infinite if the space has a real-valued range."""
        dimensions = dict(self.dimensions())
        (number,) = count(points_of(dimensions, ()), effective_conditions(dimensions)).values()
        return number

    def grid_size(self, values: Mapping[str, Sequence[Value]]) -> float:
        """Returns the number of configurations of a grid.

        Args:
            values: Values of each hyperparameter, in the order of `evaluation_order`.
        """
        points = {name: [(value, 1.0) for value in one] for name, one in values.items()}
        (number,) = count(points, self.conditions()).values()
        return number

    def structures(self) -> int:
        """Returns the number of model structures; each has a computation graph of its own."""
        return count_structures(dict(self.dimensions()))

    def programs(self) -> int:
        """Returns the number of compiled programs, at most.

        There is one for each structure and batch size, and for each size of filters that
        `program_widths` distinguishes.
        """
        largest, smallest = self._widths(max), self._widths(min)
        sizes = 1 + _halvings(smallest, largest) if self._has_wide_filters() else 1
        return sizes * len(list_programs(dict(self.dimensions())))

    def program_examples(self) -> list[dict[str, Value]]:
        """Returns a configuration of each structure and batch size of the space."""
        dimensions = dict(self.dimensions())
        values = {name: self.default(name) for name in dimensions}
        return [self.used(values | state) for state in list_programs(dimensions)]

    def program_widths(self, hyperparameters: Mapping[str, Value]) -> dict[str, int]:
        """Returns the widths of the compiled program that trains a configuration.

        They are the largest of the space. If the largest filters are more than `WIDE_FILTERS` times
        the smallest, they are halved as often as the configuration allows, so that a few wide
        configurations do not slow down all others.
        """
        largest = self._widths(max)
        if not self._has_wide_filters():
            return largest
        own = {name: int(hyperparameters[name]) for name in _FILTERS if name in hyperparameters}
        times = max(0, _halvings(own, largest))
        return largest | {name: -(-largest[name] // 2**times) for name in own if name in largest}

    def _widths(self, extreme: Callable[[Iterable[int]], int]) -> dict[str, int]:
        """Returns the largest or the smallest value of each width that the space has."""
        dimensions = dict(self.dimensions())
        named = [name for name in WIDTHS if name in dimensions]
        return {name: extreme(map(int, dimensions[name].listed())) for name in named}

    def _has_wide_filters(self) -> bool:
        largest, smallest = self._widths(max), self._widths(min)
        return any(
            largest[name] > WIDE_FILTERS * smallest[name] for name in _FILTERS if name in largest
        )

    def default(self, name: str) -> Value:
        """Returns the Keras example's value if the space contains it, else the first value."""
        dimension: Choice | Range | Pinned = getattr(self, name)
        reference = FAMILY[name].reference
        return reference if dimension.contains(reference) else dimension.listed()[0]


def _halvings(narrow: Mapping[str, int], wide: Mapping[str, int]) -> int:
    """Returns how often the filters of a wide network can be halved to hold a narrow one."""
    ratios = [wide[name] / narrow[name] for name in _FILTERS if name in narrow and name in wide]
    return int(math.log2(min(ratios, default=1.0)))


def _condition_error(message: str) -> PydanticCustomError:
    """Returns the error about a condition; the message begins with the key in the space."""
    key = message.partition(" ")[0]
    return PydanticCustomError(CONDITION_ERROR, "{message}", {"message": message, "key": key})


def _never_used(name: str, dimensions: Dimensions) -> PydanticCustomError:
    """Returns the error about a hyperparameter that no configuration of the space uses."""
    condition = written_conditions(dimensions)[name]
    present = " and ".join(
        f"{one} is {dimensions[one].words() if one in dimensions else FAMILY[one].reference}"
        for one in parents(condition)
    )
    return _condition_error(
        f"{name} is never used, received {dimensions[name].words()}: it is used only where "
        f"{describe_condition(condition)}, but {present}. Remove it, or change the others"
    )


def _check_parent(
    name: str,
    parent: str,
    values: tuple[Value, ...],
    dimensions: Dimensions,
) -> None:
    """Checks that a condition on another hyperparameter can be met."""
    dimension = dimensions.get(parent)
    if parent not in FAMILY:
        raise _condition_error(
            f'{name}.when expects hyperparameters, received "{parent}".'
            f"{closest_match(parent, FAMILY)} Expected names from: {', '.join(dimensions)}"
        )
    if dimension is None:
        raise _condition_error(
            f"{name}.when expects hyperparameters of this space, received {parent}. Add it to "
            "the space, or remove the condition"
        )
    if isinstance(dimension, Range) and FAMILY[parent].kind == "real":
        raise _condition_error(
            f"{name}.when expects hyperparameters with single values, received {parent}, a range "
            "of real numbers. Give that { values = [...] }"
        )
    for value in values:
        is_absent = dimension.when is not None and value == FAMILY[parent].reference
        if not dimension.contains(value) and not is_absent:
            raise _condition_error(
                f"{name}.when expects values that {parent} has in this space "
                f"({dimension.words()}), received {short_repr(value)}"
            )


DEFAULT_SPACE = Space(
    filters_1=Choice(values=(8, 16)),
    filters_2=Choice(values=(32, 64)),
    dense_units=Choice(values=(128, 256)),
    latent_dim=Choice(values=(8, 16, 32)),
    levels=Choice(values=(1, 2, 3)),
    level_channels=Pinned(value=2),
    learning_rate=Range(min=2e-3, max=1e-2, scale="log"),
    batch_size=Choice(values=(32, 64)),
    activation=Pinned(value="gelu"),
    output_stride=Pinned(value=2),
    output_bias=Pinned(value="mean"),
    learning_rate_warmup=Pinned(value=1),
    weight_average=Pinned(value=0.99),
)
"""The space of the built-in search "hyperband"."""

EARLIER_SPACE = Space(
    filters_1=Choice(values=(16, 32, 64)),
    filters_2=Choice(values=(32, 64, 128)),
    dense_units=Choice(values=(16, 32, 64, 128, 256)),
    latent_dim=Choice(values=(2, 4, 8, 16, 32)),
    learning_rate=Range(min=1e-4, max=1e-2, scale="log"),
)
"""The space of a search file without [space], as vaetune 0.1 has defined it."""
