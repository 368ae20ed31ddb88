"""The encoder and the decoder, with the layers of the lower levels."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from vaetune.models.architecture import Architecture, check_positive, checked_image_shape
from vaetune.models.sampling import SAMPLING_SEED, Sampling
from vaetune.models.units import Chain, Connect, Residual, Unit, call_layer, convolution, dense

LOGITS_LAYER = "logits"

OUTPUT_LAYER = "decoder_pixels"
"""Layer that computes the logits, if a crop or a reshape follows it."""


def build_encoder(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 2,
    filters: Sequence[int] = (32, 64),
    dense_units: int = 16,
    seed: int = SAMPLING_SEED,
) -> keras.Model:
    """Builds the encoder of the Keras example, a model from images to (z_mean, z_log_var, z).

    Args:
        image_shape: Height, width and channels of the images.
        latent_dim: Number of latent dimensions.
        filters: Filters of the two convolutions. Each convolution halves height and width.
        dense_units: Units of the dense layer before the latent layers.
        seed: Seed of the `Sampling` layer.

    Returns:
        A model from images (batch, height, width, channels) in [0, 1] to three tensors of
        shape (batch, latent_dim). With the defaults it has 69,076 parameters.

    Raises:
        ValueError: A size is not a positive integer, or the images are smaller than 8 x 8.
    """
    shape = checked_image_shape(image_shape)
    widths = _checked_filters(filters)
    check_positive(latent_dim=latent_dim, dense_units=dense_units)
    architecture = Architecture(shape, widths, dense_units, latent_dim)
    return encoder_model(Encoder(architecture, seed), shape)


def build_decoder(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 2,
    filters: Sequence[int] = (32, 64),
) -> keras.Model:
    """Builds the decoder of the Keras example, a model from z to images that mirrors the encoder.

    If a side is not a multiple of four, the image is decoded at the next multiple and cropped, so
    the output has exactly the shape `image_shape`.

    Args:
        image_shape: Height, width and channels of the images.
        latent_dim: Number of latent dimensions.
        filters: Filters of the two convolutions, in the encoder's order.

    Returns:
        A model from z (batch, latent_dim) to pixel probabilities (batch, height, width,
        channels). With the defaults it has 65,089 parameters.

    Raises:
        ValueError: A size is not a positive integer, or the images are smaller than 8 x 8.
    """
    shape = checked_image_shape(image_shape)
    widths = _checked_filters(filters)
    check_positive(latent_dim=latent_dim)
    architecture = Architecture(shape, widths, latent_dim=latent_dim)
    return decoder_model(Decoder(architecture), latent_dim)


def encoder_model(encoder: "Encoder", image_shape: Sequence[int]) -> keras.Model:
    """Returns the model from images to (z_mean, z_log_var, z)."""
    image = keras.Input(shape=image_shape, name="image")
    z_mean, z_log_var, _ = encoder.connect(call_layer, image)
    z = call_layer(encoder.sampling, z_mean, z_log_var)
    return keras.Model(image, [z_mean, z_log_var, z], name="encoder")


def decoder_model(decoder: "Decoder", latent_dim: int) -> keras.Model:
    """Returns the model from z to images."""
    latent = keras.Input(shape=(latent_dim,), name="latent")
    image = call_layer(decoder.probabilities, decoder.connect(call_layer, latent))
    return keras.Model(latent, image, name="decoder")


class Encoder:
    """The layers of an encoder.

    Args:
        architecture: Kind and widths.
        seed: Seed of the `Sampling` layer.

    Attributes:
        sampling: The `Sampling` layer of the top level.
    """

    def __init__(self, architecture: Architecture, seed: int = SAMPLING_SEED) -> None:
        is_dense = architecture.encoder == "dense"
        self._stages = [] if is_dense else _stages(architecture)
        self._flatten = Chain(layers.Flatten(name="encoder_flatten"))
        self._dense = [
            dense(architecture, f"encoder_dense_{number}", architecture.dense_units, is_dense)
            for number in range(1, 1 + (architecture.dense_layers if is_dense else 1))
        ]
        self._z_mean = layers.Dense(architecture.latent_dim, name="z_mean")
        self._z_log_var = layers.Dense(architecture.latent_dim, name="z_log_var")
        self.sampling = Sampling(seed=seed, name="z")

    def connect(self, connect: Connect, image: Any) -> tuple[Any, Any, list[Any]]:
        """Connects the layers up to the posterior of the top level.

        Args:
            connect: `call_layer` or `build_layer`.
            image: Image, (batch, height, width, channels), or its shape.

        Returns:
            z_mean, z_log_var, and the feature maps of each stage, from the image inwards.
        """
        x, maps = image, []
        for stage in self._stages:
            x = _connect_all(connect, stage, x)
            maps.append(x)
        x = _connect_all(connect, [self._flatten, *self._dense], x)
        return connect(self._z_mean, x), connect(self._z_log_var, x), maps

    def layers(self) -> list[layers.Layer]:
        """Returns the layers in the order of their connection."""
        units = [*(unit for stage in self._stages for unit in stage), self._flatten, *self._dense]
        return [*_layers_of(units), self._z_mean, self._z_log_var, self.sampling]


def _stages(architecture: Architecture) -> list[list[Unit]]:
    return [
        [
            convolution(architecture, f"encoder_conv_{number}", filters, strides=2),
            *_blocks(architecture, f"encoder_{number}", filters),
        ]
        for number, filters in enumerate(architecture.filters, start=1)
    ]


class Decoder:
    """The layers of a decoder, which mirrors the encoder.

    Between its parts are the places of the lower levels: the first part ends in the smallest maps,
    each following part but the last in maps of twice the size.

    Args:
        architecture: Kind and widths.

    Attributes:
        output: The layer with the weights of the logits. The layer named "logits" is this one, or
            the crop or the reshape that follows it.
        parts: Layers up to the logits.
        probabilities: The layer after the logits.
    """

    def __init__(self, architecture: Architecture) -> None:
        # The order of creation decides the initial weights.
        is_dense = architecture.decoder == "dense"
        self.output = _dense_output(architecture) if is_dense else _image_output(architecture)
        make = _dense_parts if is_dense else _convolutional_parts
        self.parts: list[list[Unit]] = make(architecture, self.output)
        self.probabilities = layers.Activation("sigmoid", name="probabilities")

    def connect(self, connect: Connect, z: Any) -> Any:
        """Connects the layers to z, without lower levels, and returns the logits."""
        return _connect_all(connect, [unit for part in self.parts for unit in part], z)

    def connect_part(self, connect: Connect, number: int, x: Any) -> Any:
        """Connects one of the parts to x and returns its output."""
        return _connect_all(connect, self.parts[number], x)

    def layers(self) -> list[layers.Layer]:
        """Returns the layers in the order of their connection."""
        return _layers_of([unit for part in self.parts for unit in part])


def _dense_output(architecture: Architecture) -> layers.Layer:
    height, width, channels = architecture.image_shape
    return layers.Dense(height * width * channels, name=OUTPUT_LAYER)


def _dense_parts(architecture: Architecture, output: layers.Layer) -> list[list[Unit]]:
    units: list[Unit] = [
        dense(architecture, f"decoder_dense_{number}", architecture.dense_units, True)
        for number in range(1, 1 + architecture.dense_layers)
    ]
    pixels = Chain(output, layers.Reshape(architecture.image_shape, name=LOGITS_LAYER))
    return [[*units, pixels]]


def _image_output(architecture: Architecture) -> layers.Layer:
    channels, strides = architecture.image_shape[2], architecture.output_stride
    name = LOGITS_LAYER if _last_crop(architecture) is None else OUTPUT_LAYER
    # A kernel of 3 would not cover all pixels of a stride of 2 evenly.
    kernel = 3 if strides == 1 else 4
    return layers.Conv2DTranspose(channels, kernel, strides=strides, padding="same", name=name)


def _convolutional_parts(architecture: Architecture, output: layers.Layer) -> list[list[Unit]]:
    stages, filters = len(architecture.filters), architecture.filters
    rows, columns = architecture.map_size(stages)
    start = [
        dense(architecture, "decoder_dense", rows * columns * filters[-1], False),
        Chain(layers.Reshape((rows, columns, filters[-1]), name="decoder_reshape")),
        *_blocks(architecture, f"decoder_{stages}", filters[-1]),
    ]
    parts: list[list[Unit]] = [start]
    mirrored = architecture.output_stride == 2
    for stage in range(stages, 1 if mirrored else 0, -1):
        width = filters[stage - 2 if mirrored else stage - 1]
        parts.append(_upsampling(architecture, stage, width))
    crop = _last_crop(architecture)
    last = Chain(output) if crop is None else Chain(output, crop)
    parts.append([last])
    return parts


def _upsampling(architecture: Architecture, stage: int, filters: int) -> list[Unit]:
    """Returns the layers from the maps of a stage to those of the stage before."""
    name = f"decoder_conv_{stage}"
    up = convolution(architecture, name, filters, strides=2, transposed=True)
    crop = None if crops_at_end(architecture) else _crop(architecture, stage, f"{name}_crop")
    blocks = _blocks(architecture, f"decoder_{stage - 1}", filters) if stage > 1 else []
    return [up, *([Chain(crop)] if crop else []), *blocks]


def crops_at_end(architecture: Architecture) -> bool:
    """Whether only the image is cropped, as in the Keras example, and not the maps before it."""
    is_family_of_example = len(architecture.filters) == 2 and architecture.levels == 1
    return is_family_of_example and architecture.output_stride == 1


def _last_crop(architecture: Architecture) -> layers.Layer | None:
    if crops_at_end(architecture):
        height, width, _ = architecture.image_shape
        rows, columns = architecture.map_size(2)
        return _crop_to((4 * rows, 4 * columns), (height, width), LOGITS_LAYER)
    return _crop(architecture, 1, LOGITS_LAYER) if architecture.output_stride == 2 else None


def _crop(architecture: Architecture, stage: int, name: str) -> layers.Layer | None:
    """Returns the crop of doubled maps of a stage to the size of the stage before, if needed."""
    rows, columns = architecture.map_size(stage)
    return _crop_to((2 * rows, 2 * columns), architecture.map_size(stage - 1), name)


def _crop_to(size: tuple[int, int], wanted: tuple[int, int], name: str) -> layers.Layer | None:
    surplus = [have - want for have, want in zip(size, wanted, strict=True)]
    if not any(surplus):
        return None
    return layers.Cropping2D([(extra // 2, extra - extra // 2) for extra in surplus], name=name)


def _blocks(architecture: Architecture, name: str, filters: int) -> list[Unit]:
    return [
        Residual(architecture, f"{name}_block_{number}", filters)
        for number in range(1, 1 + architecture.blocks)
    ]


def _connect_all(connect: Connect, units: Sequence[Unit], x: Any) -> Any:
    for unit in units:
        x = unit.connect(connect, x)
    return x


def _layers_of(units: Sequence[Unit]) -> list[layers.Layer]:
    return [layer for unit in units for layer in unit.layers()]


def _checked_filters(filters: Sequence[int]) -> tuple[int, int]:
    """Checks the filters of the two convolutions, and returns them as a tuple.

    Raises:
        ValueError: There are not two numbers, or one of them is less than 1.
    """
    if len(filters) != 2:
        raise ValueError(f"`filters` must be two numbers. Received: {tuple(filters)}")
    first, second = filters
    check_positive(**{"filters[0]": first, "filters[1]": second})
    return first, second
