"""What the networks of a configuration look like: their kind, depth and widths."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from vaetune.config import Value, is_used, most_stages, used, value_of

MIN_IMAGE_SIDE = 8

FILTERS_CAP = 256
"""Filters at which doubling stops. `filters_2` may be larger; then later stages equal it."""

GROUP_CHANNELS = 8
"""Channels that a group normalization puts into one group, at most."""

ImageShape = tuple[int, int, int]

Structure = tuple[Any, ...]
"""What two configurations must share to share compiled functions."""


@dataclass(frozen=True)
class Architecture:
    """The networks of a configuration.

    The defaults are those of the Keras example. `of` sets what a configuration does not use to
    its default, so equal networks have equal architectures.

    Attributes:
        image_shape: Height, width and channels of the images.
        filters: Filters of each stage of a convolutional network, from the image inwards. Each
            stage halves height and width.
        dense_units: Units of each dense layer.
        latent_dim: Number of latent dimensions of the top level.
        activation: Name of the activation function, as Keras knows it.
        encoder: Kind of the encoder, "conv" or "dense".
        decoder: Kind of the decoder, "conv" or "dense".
        dense_layers: Dense layers of a dense network.
        blocks: Residual blocks of each stage.
        normalization: "none", "group" or "batch".
        output_stride: Stride of the layer that writes the image, 1 or 2.
        levels: Number of levels of latent variables. The top level is a vector, the others are
            maps.
        level_channels: Channels of the maps of the lower levels.
    """

    image_shape: ImageShape
    filters: tuple[int, ...] = (32, 64)
    dense_units: int = 16
    latent_dim: int = 2
    activation: str = "relu"
    encoder: str = "conv"
    decoder: str = "conv"
    dense_layers: int = 1
    blocks: int = 0
    normalization: str = "none"
    output_stride: int = 1
    levels: int = 1
    level_channels: int = 4

    @classmethod
    def of(cls, image_shape: Sequence[int], hyperparameters: Mapping[str, Value]) -> Self:
        """Returns the architecture of a configuration.

        Args:
            image_shape: Height, width and channels of the images.
            hyperparameters: Values by name. A name that is missing has the Keras example's value.

        Raises:
            ValueError: A size is not positive, or the images are too small for the stages.
        """
        shape = checked_image_shape(image_shape)
        named = used(hyperparameters)
        given: dict[str, Any] = {name: named[name] for name in _FIELDS if name in named}
        made = cls(shape, filters=_filters_of(hyperparameters), **given)
        made._check()
        return made

    @property
    def structure(self) -> Structure:
        """Everything but the widths, as a key."""
        return (
            self.image_shape,
            len(self.filters),
            self.activation,
            self.encoder,
            self.decoder,
            self.dense_layers,
            self.blocks,
            self.normalization,
            self.output_stride,
            self.levels,
        )

    def map_size(self, stage: int) -> tuple[int, int]:
        """Returns height and width of the feature maps of a stage; stage 0 is the image."""
        height, width, _ = self.image_shape
        return -(-height // 2**stage), -(-width // 2**stage)

    def _check(self) -> None:
        sizes = ("latent_dim", "dense_units", "dense_layers", "levels", "level_channels")
        check_positive(**{name: getattr(self, name) for name in sizes})
        check_positive(**{f"filters_{1 + i}": size for i, size in enumerate(self.filters)})
        check_stages(self.image_shape, len(self.filters))


_FIELDS = tuple(set(Architecture.__dataclass_fields__) - {"image_shape", "filters"})


def _filters_of(hyperparameters: Mapping[str, Value]) -> tuple[int, ...]:
    """Returns the filters of each stage. From the third stage on, they double up to a cap."""
    if not is_used(hyperparameters, "stages"):
        return ()
    names = ("filters_1", "filters_2", "stages")
    first, second, stages = (int(value_of(hyperparameters, name)) for name in names)
    deeper = (min(second * 2**extra, max(second, FILTERS_CAP)) for extra in range(1, stages - 1))
    return (first, second, *deeper)


def group_channels(channels: int) -> int:
    """Returns the channels of one group: the largest divisor that both numbers share."""
    return math.gcd(channels, GROUP_CHANNELS)


def check_stages(image_shape: ImageShape, stages: int) -> None:
    """Checks that the images are large enough for a number of stages.

    Raises:
        ValueError: The images are too small for this number of stages.
    """
    height, width, _ = image_shape
    most = most_stages(image_shape)
    if stages > most:
        raise ValueError(
            f"`stages` must be at most {most} for images of {height} x {width} pixels. "
            f"Received: {stages}"
        )


def checked_image_shape(image_shape: Sequence[int]) -> ImageShape:
    """Checks height, width and channels, and returns them as a tuple.

    Raises:
        ValueError: There are not three numbers, or one of them is too small.
    """
    if len(image_shape) != 3:
        raise ValueError(
            f"`image_shape` must be (height, width, channels). Received: {tuple(image_shape)}"
        )
    height, width, channels = image_shape
    check_positive(channels=channels)
    if min(height, width) < MIN_IMAGE_SIDE:
        raise ValueError(
            f"Images must be at least {MIN_IMAGE_SIDE} x {MIN_IMAGE_SIDE} pixels. "
            f"Received: {height} x {width}"
        )
    return height, width, channels


def check_positive(**sizes: int) -> None:
    """Checks that sizes, given by name, are at least 1.

    Raises:
        ValueError: One of them is less than 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {size}")
