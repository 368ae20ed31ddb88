"""Groups of layers that networks are made of, and how layers are connected.

The code that connects layers runs in two ways: with `call_layer` on Keras tensors it makes models,
with `build_layer` on shapes it only creates the variables, in half the time.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from keras import layers

from vaetune.models.architecture import Architecture, group_channels

Connect = Callable[..., Any]
"""Connects a layer to one or more tensors, or to their shapes, and returns its output."""

BATCH_MOMENTUM = 0.9
"""Momentum of the moving statistics of a batch normalization."""


def call_layer(layer: layers.Layer, *inputs: Any) -> Any:
    """Calls a layer with Keras tensors."""
    return layer(inputs[0] if len(inputs) == 1 else list(inputs))


def build_layer(layer: layers.Layer, *shapes: Any) -> Any:
    """Creates the variables of a layer for the shapes of its inputs, and returns its output's."""
    shape = shapes[0] if len(shapes) == 1 else list(shapes)
    if not layer.built:
        layer.build(shape)
    return layer.compute_output_shape(shape)


class Unit(Protocol):
    """Layers that are connected together."""

    def connect(self, connect: Connect, x: Any) -> Any:
        """Connects the layers to x and returns their output."""

    def layers(self) -> Sequence[layers.Layer]:
        """Returns the layers in the order of their connection."""


class Chain:
    """Layers that are connected one after the other.

    Args:
        layers: The layers.
    """

    def __init__(self, *layers: layers.Layer) -> None:
        self._layers = layers

    def connect(self, connect: Connect, x: Any) -> Any:
        for layer in self._layers:
            x = connect(layer, x)
        return x

    def layers(self) -> Sequence[layers.Layer]:
        return self._layers


class Residual:
    """A residual block of two convolutions: x + g(f(x)). At first g is zero.

    Args:
        architecture: Activation and normalization.
        name: Beginning of the names of the layers.
        filters: Channels of x.
    """

    def __init__(self, architecture: Architecture, name: str, filters: int) -> None:
        self._inner = Chain(
            *convolution(architecture, f"{name}_1", filters).layers(),
            layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros", name=f"{name}_2"),
        )
        self._add = layers.Add(name=f"{name}_add")

    def connect(self, connect: Connect, x: Any) -> Any:
        return connect(self._add, x, self._inner.connect(connect, x))

    def layers(self) -> Sequence[layers.Layer]:
        return [*self._inner.layers(), self._add]


def convolution(
    architecture: Architecture,
    name: str,
    filters: int,
    strides: int = 1,
    transposed: bool = False,
) -> Chain:
    """Returns a 3 x 3 convolution with normalization and activation."""
    kind = layers.Conv2DTranspose if transposed else layers.Conv2D

    def make(**activation: Any) -> layers.Layer:
        return kind(filters, 3, strides=strides, padding="same", name=name, **activation)

    return _activated(architecture, name, filters, make)


def dense(architecture: Architecture, name: str, units: int, normalized: bool) -> Chain:
    """Returns a dense layer with activation.

    Args:
        architecture: Activation and normalization.
        name: Name of the layer.
        units: Units of the layer.
        normalized: Whether a normalization of the architecture applies.
    """

    def make(**activation: Any) -> layers.Layer:
        return layers.Dense(units, name=name, **activation)

    if not normalized:
        return Chain(make(activation=architecture.activation))
    return _activated(architecture, name, units, make)


def _activated(
    architecture: Architecture, name: str, width: int, make: Callable[..., layers.Layer]
) -> Chain:
    """Returns a layer with normalization, if there is one, and activation."""
    activation = architecture.activation
    match architecture.normalization:
        case "none":
            return Chain(make(activation=activation))
        case "group":
            groups = width // group_channels(width)
            norm = layers.GroupNormalization(groups, name=f"{name}_norm")
        case "batch":
            norm = layers.BatchNormalization(momentum=BATCH_MOMENTUM, name=f"{name}_norm")
        case other:
            raise ValueError(f"`normalization` must be none, group or batch. Received: {other!r}")
    # The normalization has a bias of its own.
    return Chain(
        make(use_bias=False), norm, layers.Activation(activation, name=f"{name}_activation")
    )
