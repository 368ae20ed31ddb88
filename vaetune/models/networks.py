"""The `Sampling` layer, the encoder and the decoder."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

MIN_IMAGE_SIDE = 8

SAMPLING_SEED = 1337
"""The seed in the Keras example."""

LOGITS_LAYER = "logits"

ImageShape = tuple[int, int, int]


@keras.saving.register_keras_serializable(package="vaetune")
class Sampling(layers.Layer):
    """Draws z from N(z_mean, exp(z_log_var)) with the reparameterisation trick.

    z = z_mean + exp(z_log_var / 2) * epsilon, with epsilon drawn from N(0, 1).

    Args:
        seed: Seed of the layer's random generator. Its state is saved with the weights.

    Input: a pair (z_mean, z_log_var), each of shape (batch, latent_dim).
    Output: z, of shape (batch, latent_dim).
    """

    def __init__(self, seed: int = SAMPLING_SEED, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(
            ops.shape(z_mean), dtype=z_mean.dtype, seed=self.seed_generator
        )
        return reparameterise(z_mean, z_log_var, epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}

    def save_own_variables(self, store: Any) -> None:
        # Keras does not save the state of a generator.
        store["seed_generator_state"] = self.seed_generator.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        self.seed_generator.state.assign(store["seed_generator_state"])


def reparameterise(z_mean: tf.Tensor, z_log_var: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Returns z_mean + exp(z_log_var / 2) * epsilon. All have shape (batch, latent_dim)."""
    return z_mean + ops.exp(0.5 * z_log_var) * epsilon


def build_encoder(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 2,
    filters: Sequence[int] = (32, 64),
    dense_units: int = 16,
    seed: int = SAMPLING_SEED,
) -> keras.Model:
    """Builds the encoder, a model from images to (z_mean, z_log_var, z).

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
    first, second = checked_filters(filters)
    check_positive(latent_dim=latent_dim, dense_units=dense_units)
    inputs = keras.Input(shape=shape, name="image")
    shared, *heads, sampling = encoder_layers(latent_dim, (first, second), dense_units, seed)
    x = inputs
    for layer in shared:
        x = layer(x)
    z_mean, z_log_var = (head(x) for head in heads)
    z = sampling([z_mean, z_log_var])
    return keras.Model(inputs, [z_mean, z_log_var, z], name="encoder")


def build_decoder(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 2,
    filters: Sequence[int] = (32, 64),
) -> keras.Model:
    """Builds the decoder, a model from z to images that mirrors the encoder.

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
    check_positive(latent_dim=latent_dim)
    latent = keras.Input(shape=(latent_dim,), name="latent")
    x = latent
    for layer in decoder_layers(shape, checked_filters(filters)):
        x = layer(x)
    return keras.Model(latent, x, name="decoder")


def encoder_layers(
    latent_dim: int, filters: tuple[int, int], dense_units: int, seed: int
) -> tuple[list[layers.Layer], layers.Layer, layers.Layer, Sampling]:
    """Returns the shared layers, the layers z_mean and z_log_var, and the `Sampling` layer."""
    first, second = filters
    shared = [
        layers.Conv2D(first, 3, activation="relu", strides=2, padding="same"),
        layers.Conv2D(second, 3, activation="relu", strides=2, padding="same"),
        layers.Flatten(),
        layers.Dense(dense_units, activation="relu"),
    ]
    z_mean = layers.Dense(latent_dim, name="z_mean")
    z_log_var = layers.Dense(latent_dim, name="z_log_var")
    return shared, z_mean, z_log_var, Sampling(seed=seed, name="z")


def decoder_layers(image_shape: ImageShape, filters: tuple[int, int]) -> list[layers.Layer]:
    """Returns the layers of the decoder in order."""
    height, width, channels = image_shape
    first, second = filters
    rows, columns = -(-height // 4), -(-width // 4)
    surplus = (4 * rows - height, 4 * columns - width)
    if surplus == (0, 0):
        last = [layers.Conv2DTranspose(channels, 3, padding="same", name=LOGITS_LAYER)]
    else:
        last = [
            layers.Conv2DTranspose(channels, 3, padding="same"),
            layers.Cropping2D(_centred_crop(surplus), name=LOGITS_LAYER),
        ]
    return [
        layers.Dense(rows * columns * second, activation="relu"),
        layers.Reshape((rows, columns, second)),
        layers.Conv2DTranspose(second, 3, activation="relu", strides=2, padding="same"),
        layers.Conv2DTranspose(first, 3, activation="relu", strides=2, padding="same"),
        *last,
        layers.Activation("sigmoid", name="probabilities"),
    ]


def _centred_crop(surplus: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((extra // 2, extra - extra // 2) for extra in surplus)


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


def checked_filters(filters: Sequence[int]) -> tuple[int, int]:
    """Checks the filters of the two convolutions, and returns them as a tuple.

    Raises:
        ValueError: There are not two numbers, or one of them is less than 1.
    """
    if len(filters) != 2:
        raise ValueError(f"`filters` must be two numbers. Received: {tuple(filters)}")
    first, second = filters
    check_positive(**{"filters[0]": first, "filters[1]": second})
    return first, second


def check_positive(**sizes: int) -> None:
    """Checks that sizes, given by name, are at least 1.

    Raises:
        ValueError: One of them is less than 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {size}")
