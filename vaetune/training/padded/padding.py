"""Puts the weights of a narrow model into those of a wider one, and takes them out again.

The wider model has the same layers. Its further weights are zero, and stay zero in training:
activations map 0 to 0, the next layer multiplies the result by zeros, and so the gradients are 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from keras import layers
from numpy.typing import NDArray

from vaetune.models import Architecture, Sampling, group_channels, make_ladder
from vaetune.study import Arrays

Positions = NDArray[np.intp]
"""Index of each channel of a narrow layer among those of the wide layer, (channels,)."""


def fits(narrow: Architecture, wide: Architecture) -> bool:
    """Returns whether a model can be computed by padding its weights.

    Args:
        narrow: Architecture of the model.
        wide: Architecture of the padded model, of the same structure.
    """
    pairs = [*zip(narrow.filters, wide.filters, strict=True)]
    names = ("dense_units", "latent_dim", "level_channels")
    pairs += [(getattr(narrow, name), getattr(wide, name)) for name in names]
    if any(small > large for small, large in pairs):
        return False
    # Only whole groups can be added to those of a group normalization.
    normalized = [*zip(narrow.filters, wide.filters, strict=True)]
    normalized.append((narrow.dense_units, wide.dense_units))
    return narrow.normalization != "group" or all(
        group_channels(small) == group_channels(large) for small, large in normalized
    )


@dataclass(frozen=True, eq=False)
class Padding:
    """Where the variables of a narrow model are among those of a wide model.

    Attributes:
        places: For each variable, in the order of `VAE.ordered_variables`: the positions along
            each axis of the wide variable.
        shapes: Shapes of the wide variables.
    """

    places: Sequence[tuple[Positions, ...]]
    shapes: Sequence[tuple[int, ...]]

    def pad(self, arrays: Arrays) -> Arrays:
        """Returns the variables of the wide model, given those of the narrow one."""
        columns = zip(arrays, self.places, self.shapes, strict=True)
        return tuple(_pad(array, place, shape) for array, place, shape in columns)

    def cut(self, arrays: Arrays) -> Arrays:
        """Returns the variables of the narrow model, given those of the wide one."""
        return tuple(
            np.ascontiguousarray(array[np.ix_(*place)]) if place else array
            for array, place in zip(arrays, self.places, strict=True)
        )

    def choose(self, numbers: Sequence[int | None]) -> "Padding":
        """Returns the padding of other variables, each like one of these.

        Args:
            numbers: For each of the other variables, the number of a variable like it. None: a
                scalar, which has no axis to pad.
        """
        places = [() if n is None else self.places[n] for n in numbers]
        return Padding(places, [() if n is None else self.shapes[n] for n in numbers])

    @property
    def sizes(self) -> list[int]:
        """Number of values of each variable of the narrow model."""
        return [prod(len(axis) for axis in place) for place in self.places]


def _pad(array: NDArray[Any], place: tuple[Positions, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    if not place:
        return array
    padded = np.zeros(shape, array.dtype)
    padded[np.ix_(*place)] = array
    return padded


def padding_of(narrow: Architecture, wide: Architecture, variables: Sequence[Any]) -> Padding:
    """Returns where the variables of a model are among those of a wider model.

    Args:
        narrow: Architecture of the model.
        wide: Architecture of the wider model, of the same structure.
        variables: Variables of the wider model, in the order of `VAE.ordered_variables`.
    """
    traces = _trace(narrow, _output_widths(wide))
    shapes = [tuple(variable.shape) for variable in variables]
    columns = zip(variables, shapes, strict=True)
    return Padding([_places(v.path, shape, traces) for v, shape in columns], shapes)


@dataclass
class _Trace:
    """What a layer of the narrow model reads and writes.

    Attributes:
        layer: The layer.
        inputs: Positions of its input.
        outputs: Positions of its output.
    """

    layer: layers.Layer
    inputs: Positions
    outputs: Positions


@dataclass(frozen=True, eq=False)
class _Signal:
    """The output of a layer.

    Attributes:
        positions: Positions of its channels.
        width: Number of channels in the wide model.
        sides: Height and width of maps; empty for vectors.
        source: Name of the layer.
    """

    positions: Positions
    width: int
    sides: tuple[int, ...] = ()
    source: str = ""


@lru_cache(maxsize=8)
def _output_widths(architecture: Architecture) -> Mapping[str, int]:
    """Returns the number of output channels of each layer of a model, by name of the layer."""
    return {name: len(traced.outputs) for name, traced in _trace(architecture, {}).items()}


def _trace(architecture: Architecture, widths: Mapping[str, int]) -> dict[str, _Trace]:
    """Returns what each layer reads and writes, by name of the layer.

    Args:
        architecture: Architecture of the narrow model.
        widths: Output channels of the layers of the wide model, by name. Default: equal.
    """
    tracer, ladder = _Tracer(widths), make_ladder(architecture)
    height, width, channels = architecture.image_shape
    image = _Signal(np.arange(channels), channels, (height, width))
    mean, _, maps = ladder.encode(tracer.connect, image)
    noise = [_Signal(np.arange(architecture.level_channels), 0) for _ in maps]
    ladder.infer(tracer.connect, mean, maps, noise)
    return tracer.traces


@dataclass
class _Tracer:
    """Follows the positions of channels through the layers of a network.

    Attributes:
        widths: Output channels of the layers of the wide model, by name.
        traces: Inputs and outputs of each layer, by name.
    """

    widths: Mapping[str, int]
    traces: dict[str, _Trace] = field(default_factory=dict)

    def connect(self, layer: layers.Layer, *inputs: _Signal) -> _Signal:
        """Returns the output of a layer; see `models.units.Connect`."""
        signal = self._output(layer, inputs)
        self.traces[layer.name] = _Trace(layer, inputs[0].positions, signal.positions)
        return signal

    def _output(self, layer: layers.Layer, inputs: Sequence[_Signal]) -> _Signal:
        x, name = inputs[0], layer.name
        match layer:
            case layers.Conv2D() | layers.Conv2DTranspose():
                return self._first(name, layer.filters, _sides_after(layer, x.sides))
            case layers.Dense():
                return self._first(name, layer.units, ())
            case layers.Flatten():
                cells = np.arange(prod(x.sides))[:, np.newaxis]
                positions = (cells * x.width + x.positions).reshape(-1)
                return _Signal(positions, prod(x.sides) * x.width)
            case layers.Reshape(target_shape=(*sides, channels)):
                return self._spread(x, tuple(sides), channels)
            case layers.Concatenate():
                joined = np.concatenate([x.positions, x.width + inputs[1].positions])
                return _Signal(joined, x.width + inputs[1].width, x.sides, name)
            case layers.Cropping2D(cropping=crops):
                left = (side - sum(crop) for side, crop in zip(x.sides, crops, strict=True))
                return _Signal(x.positions, x.width, tuple(left), name)
            case _:
                return _Signal(x.positions, x.width, x.sides, name)

    def _first(self, name: str, channels: int, sides: tuple[int, ...]) -> _Signal:
        """Returns the output of a layer, the first channels of those of the wide layer."""
        return _Signal(np.arange(channels), self.widths.get(name, channels), sides, name)

    def _spread(self, x: _Signal, sides: tuple[int, ...], channels: int) -> _Signal:
        """Returns vectors as maps. The layer before writes the channels of each cell together."""
        width = x.width // prod(sides)
        cells = np.arange(prod(sides))[:, np.newaxis]
        self.traces[x.source].outputs = (cells * width + np.arange(channels)).reshape(-1)
        return _Signal(np.arange(channels), width, sides)


def _sides_after(layer: layers.Layer, sides: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(layer, layers.Conv2DTranspose):
        return tuple(side * stride for side, stride in zip(sides, layer.strides, strict=True))
    return tuple(-(-side // stride) for side, stride in zip(sides, layer.strides, strict=True))


def _places(
    path: str, shape: tuple[int, ...], traces: Mapping[str, _Trace]
) -> tuple[Positions, ...]:
    """Returns the positions along each axis of a variable; those of a scalar are empty."""
    trace = traces.get(path.split("/")[0])
    if trace is None or isinstance(trace.layer, Sampling):
        return tuple(np.arange(size) for size in shape)
    kernel = [np.arange(size) for size in shape[:-2]]
    if len(shape) == 1:
        return (trace.outputs,)
    if isinstance(trace.layer, layers.Conv2DTranspose):
        return (*kernel, trace.outputs, trace.inputs)
    return (*kernel, trace.inputs, trace.outputs)
