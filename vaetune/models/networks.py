"""The `Sampling` layer, the encoder and the decoder."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

MIN_IMAGE_SIDE = 8

SAMPLING_SEED = 1337
"""That of the Keras example."""

LOGITS_LAYER = "logits"

ImageShape = tuple[int, int, int]


@keras.saving.register_keras_serializable(package="vaetune")
class Sampling(layers.Layer):
    """Draws z from N(z_mean, exp(z_log_var)) by the reparameterisation trick.

    z = z_mean + exp(z_log_var / 2) * epsilon, with epsilon from N(0, 1).

    Args:
        seed: Seed of the layer's own random generator, whose state is saved with the weights.

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
        # Keras leaves a generator's state out of files.
        store["seed_generator_state"] = self.seed_generator.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        self.seed_generator.state.assign(store["seed_generator_state"])


def reparameterise(z_mean: tf.Tensor, z_log_var: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Returns z_mean + exp(z_log_var / 2) * epsilon; all of shape (batch, latent_dim)."""
    return z_mean + ops.exp(0.5 * z_log_var) * epsilon


def build_encoder(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 2,
    filters: Sequence[int] = (32, 64),
    dense_units: int = 16,
    seed: int = SAMPLING_SEED,
) -> keras.Model:
    """Builds the encoder: images to (z_mean, z_log_var, z).

    Args:
        image_shape: Height, width and channels of the images.
        latent_dim: Number of latent dimensions.
        filters: Channels of the two convolutions, each halving height and width.
        dense_units: Width of the dense layer before the latent ones.
        seed: Seed of the `Sampling` layer.

    Returns:
        A model from images (batch, height, width, channels) in [0, 1] to three tensors of
        shape (batch, latent_dim). 69,076 parameters at the defaults.

    Raises:
        ValueError: A size is not a positive integer, or the images are under 8 x 8.
    """
    shape = checked_image_shape(image_shape)
    first, second = checked_filters(filters)
    check_positive(latent_dim=latent_dim, dense_units=dense_units)
    inputs = keras.Input(shape=shape, name="image")
    trunk, *heads, sampling = encoder_layers(latent_dim, (first, second), dense_units, seed)
    x = inputs
    for layer in trunk:
        x = layer(x)
    z_mean, z_log_var = (head(x) for head in heads)
    z = sampling([z_mean, z_log_var])
    return keras.Model(inputs, [z_mean, z_log_var, z], name="encoder")


def build_decoder(
    image_shape: Sequence[int] = (28, 28, 1),
    latent_dim: int = 2,
    filters: Sequence[int] = (32, 64),
) -> keras.Model:
    """Builds the decoder: z to images, the encoder's mirror.

    Sides that four does not divide are decoded to the next multiple of four and cropped, so
    that the output has exactly `image_shape`.

    Args:
        image_shape: Height, width and channels of the images.
        latent_dim: Number of latent dimensions.
        filters: Channels of the encoder's convolutions, in the encoder's order.

    Returns:
        A model from z (batch, latent_dim) to pixel probabilities (batch, height, width,
        channels). 65,089 parameters at the defaults.

    Raises:
        ValueError: A size is not a positive integer, or the images are under 8 x 8.
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
    """The layers that z_mean and z_log_var share, those two, and `Sampling`."""
    first, second = filters
    trunk = [
        layers.Conv2D(first, 3, activation="relu", strides=2, padding="same"),
        layers.Conv2D(second, 3, activation="relu", strides=2, padding="same"),
        layers.Flatten(),
        layers.Dense(dense_units, activation="relu"),
    ]
    z_mean = layers.Dense(latent_dim, name="z_mean")
    z_log_var = layers.Dense(latent_dim, name="z_log_var")
    return trunk, z_mean, z_log_var, Sampling(seed=seed, name="z")


def decoder_layers(image_shape: ImageShape, filters: tuple[int, int]) -> list[layers.Layer]:
    """The decoder's layers, one after the other."""
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
    if len(filters) != 2:
        raise ValueError(f"`filters` must be two numbers. Received: {tuple(filters)}")
    first, second = filters
    check_positive(**{"filters[0]": first, "filters[1]": second})
    return first, second


def check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {size}")
