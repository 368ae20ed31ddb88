"""The convolutional variational autoencoder: `Sampling`, encoder, decoder, `VAE`.

The architecture and the training objective are those of the Keras example
"Variational AutoEncoder" (F. Chollet, 2020). What the example leaves out, so that a model
can be validated, saved and loaded, is added here without changing either.

References:
    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, equations 3 and 10.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import tensorflow as tf
from keras import layers, ops

from vaetune.optimizer import Adam

MIN_IMAGE_SIDE = 8
SAMPLING_SEED = 1337
"""That of the Keras example."""

VALIDATION_SEED = 20140501
"""Seed of the posterior samples that validation draws; never the one of training."""

LOGITS_LAYER = "logits"

ImageShape = tuple[int, int, int]
Losses = dict[str, tf.Tensor]


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
    shape = _checked_image_shape(image_shape)
    first, second = _checked_filters(filters)
    _check_positive(latent_dim=latent_dim, dense_units=dense_units)
    inputs = keras.Input(shape=shape, name="image")
    trunk, *heads, sampling = _encoder_layers(latent_dim, (first, second), dense_units, seed)
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
    shape = _checked_image_shape(image_shape)
    _check_positive(latent_dim=latent_dim)
    latent = keras.Input(shape=(latent_dim,), name="latent")
    x = latent
    for layer in _decoder_layers(shape, _checked_filters(filters)):
        x = layer(x)
    return keras.Model(latent, x, name="decoder")


def _encoder_layers(
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


def _decoder_layers(image_shape: ImageShape, filters: tuple[int, int]) -> list[layers.Layer]:
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


def build_vae(image_shape: Sequence[int], hyperparameters: Mapping[str, Any]) -> "VAE":
    """Assembles a VAE of a configuration and compiles it with Adam.

    The optimizer's variables are made here, before the first step is traced: its state can
    then be restored, and the step is traced once.

    Args:
        image_shape: Height, width and channels of the images.
        hyperparameters: `filters_1`, `filters_2`, `dense_units`, `latent_dim`, `learning_rate`,
            and `beta` if it is not 1.

    Raises:
        ValueError: A size is not a positive integer, or the images are under 8 x 8.
    """
    latent_dim, filters, dense_units = _widths(hyperparameters)
    vae = VAE(
        build_encoder(image_shape, latent_dim, filters, dense_units),
        build_decoder(image_shape, latent_dim, filters),
        beta=float(hyperparameters.get("beta", 1.0)),
    )
    vae.compile(optimizer=Adam(float(hyperparameters["learning_rate"])))
    vae.optimizer.build(vae.trainable_variables)
    return vae


def draw_variables(
    image_shape: Sequence[int], hyperparameters: Mapping[str, Any]
) -> list[keras.Variable]:
    """Draws what `build_vae` draws, without assembling a model, which takes twice as long.

    Args:
        image_shape: Height, width and channels of the images.
        hyperparameters: As for `build_vae`; the learning rate does not count.

    Returns:
        Variables as in `VAE.variables` of the model that `build_vae` builds at the same state of
        Keras's random numbers: the same values in the same order.

    Raises:
        ValueError: A size is not a positive integer, or the images are under 8 x 8.
    """
    shape = _checked_image_shape(image_shape)
    latent_dim, filters, dense_units = _widths(hyperparameters)
    _check_positive(latent_dim=latent_dim, dense_units=dense_units)
    _checked_filters(filters)
    trunk, *heads, sampling = _encoder_layers(latent_dim, filters, dense_units, SAMPLING_SEED)
    inner = _build_in_turn(trunk, (None, *shape))
    for head in heads:
        head.build(inner)
    decoder = _decoder_layers(shape, filters)
    _build_in_turn(decoder, (None, latent_dim))
    return [v for layer in (*trunk, *heads, sampling, *decoder) for v in layer.variables]


def _build_in_turn(stack: Sequence[layers.Layer], shape: tuple[int | None, ...]) -> Any:
    """Makes the variables of layers that follow each other; returns the last one's shape."""
    for layer in stack:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    return shape


def _widths(hyperparameters: Mapping[str, Any]) -> tuple[int, tuple[int, int], int]:
    """latent_dim, filters and dense_units of a configuration."""
    names = ("latent_dim", "filters_1", "filters_2", "dense_units")
    latent_dim, first, second, dense_units = (int(hyperparameters[name]) for name in names)
    return latent_dim, (first, second), dense_units


@keras.saving.register_keras_serializable(package="vaetune")
class VAE(keras.Model):
    """A variational autoencoder trained on KL + binary cross-entropy, in nats per image.

    Per image, with the sum over pixels, channels and latent dimensions:
    loss = BCE(x, decoder(z)) + beta * KL(N(z_mean, exp(z_log_var)) || N(0, 1)).
    Training minimises this loss. Validation always reports it at beta = 1 (the negative
    ELBO of one posterior sample), whatever `beta` is, so that models compare.

    Args:
        encoder: Model from images to (z_mean, z_log_var, z), as `build_encoder` makes.
        decoder: Model from z to images, as `build_decoder` makes: its layer named "logits"
            is what the loss is computed from.
        beta: Weight of the KL divergence in training, fixed once the first step is traced.

    Raises:
        ValueError: The decoder has no layer named "logits" or is not the encoder's mirror, or
            beta is negative or not finite.
    """

    def __init__(
        self, encoder: keras.Model, decoder: keras.Model, beta: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= beta < float("inf"):
            raise ValueError(f"`beta` must be a finite number of at least 0. Received: {beta!r}")
        logits = _logits_of(decoder)
        _check_mirror(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.beta = beta
        # Parts that share the layers: without sampling, and without the sigmoid.
        self.to_posterior = keras.Model(encoder.input, encoder.outputs[:2])
        self.to_logits = keras.Model(decoder.input, logits)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")
        self.built = True  # encoder and decoder are, and the model has no other weights

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.loss_tracker, self.reconstruction_loss_tracker, self.kl_loss_tracker]

    @property
    def image_shape(self) -> ImageShape:
        """Height, width and channels of the images."""
        height, width, channels = self.encoder.input_shape[1:]
        return int(height), int(width), int(channels)

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions."""
        return int(self.decoder.input_shape[-1])

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Reconstructs images (batch, height, width, channels) through a sampled z."""
        z = self.encoder(inputs, training=training)[2]
        return self.decoder(z, training=training)

    def posterior(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Encodes images without sampling: the random state of `Sampling` stays as it is.

        Args:
            images: (batch, height, width, channels), in [0, 1].

        Returns:
            z_mean and z_log_var, each (batch, latent_dim).
        """
        z_mean, z_log_var = self.to_posterior(images, training=False)
        return z_mean, z_log_var

    def train_step(self, data: Any) -> Losses:
        """Takes one optimizer step on a batch of images (batch, height, width, channels)."""
        images = _images_of(data)
        with tf.GradientTape() as tape:
            z_mean, z_log_var, z = self.encoder(images, training=True)
            reconstruction = self._reconstruction_loss(images, z, training=True)
            kl = kl_divergence(z_mean, z_log_var)
            per_image = reconstruction + self.beta * kl
            loss = tf.reduce_mean(per_image)
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._track(per_image, reconstruction, kl)

    def test_step(self, data: Any) -> Losses:
        """Measures a batch at beta = 1, with posterior samples that do not depend on training."""
        images = _images_of(data)
        z_mean, z_log_var = self.posterior(images)
        seen = tf.cast(self.loss_tracker.count, tf.int32)  # images since the metrics' reset
        epsilon = tf.random.stateless_normal(
            tf.shape(z_mean),
            seed=tf.stack([VALIDATION_SEED, seen]),
            dtype=z_mean.dtype,
            alg="philox",  # the same noise on every device
        )
        z = reparameterise(z_mean, z_log_var, epsilon)
        reconstruction = self._reconstruction_loss(images, z, training=False)
        kl = kl_divergence(z_mean, z_log_var)
        return self._track(reconstruction + kl, reconstruction, kl)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "beta": self.beta,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **parts})

    def _reconstruction_loss(self, images: tf.Tensor, z: tf.Tensor, training: bool) -> tf.Tensor:
        return binary_cross_entropy(images, self.to_logits(z, training=training))

    def _track(self, loss: tf.Tensor, reconstruction: tf.Tensor, kl: tf.Tensor) -> Losses:
        for tracker, per_image in zip(self.metrics, (loss, reconstruction, kl), strict=True):
            tracker.update_state(per_image)  # a mean over images, not over batches
        return {tracker.name: tracker.result() for tracker in self.metrics}


def binary_cross_entropy(images: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy summed over pixels and channels, in nats.

    Computed from logits as max(l, 0) - l x + log(1 + exp(-|l|)), which no logit overflows.

    Args:
        images: Targets in [0, 1], (batch, height, width, channels).
        logits: Same shape.

    Returns:
        One value an image, (batch,).
    """
    per_pixel = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
    return tf.reduce_sum(per_pixel, axis=(1, 2, 3))


def kl_divergence(z_mean: tf.Tensor, z_log_var: tf.Tensor) -> tf.Tensor:
    """KL(N(z_mean, exp(z_log_var)) || N(0, 1)) summed over latent dimensions, in nats.

    Args:
        z_mean: Means, (batch, latent_dim).
        z_log_var: Logarithms of the variances, (batch, latent_dim).

    Returns:
        One value an image, (batch,), never negative beyond rounding.

    References:
        Kingma and Welling 2014, appendix B.
    """
    return tf.reduce_sum(kl_per_dimension(z_mean, z_log_var), axis=1)


def kl_per_dimension(z_mean: tf.Tensor, z_log_var: tf.Tensor) -> tf.Tensor:
    """KL(N(z_mean, exp(z_log_var)) || N(0, 1)) of each latent dimension, in nats.

    Both arguments and the result are of shape (batch, latent_dim).
    """
    return -0.5 * (1.0 + z_log_var - tf.square(z_mean) - tf.exp(z_log_var))


def _images_of(data: Any) -> tf.Tensor:
    images = data[0] if isinstance(data, (tuple, list)) else data
    return tf.cast(images, tf.float32)


def _check_mirror(encoder: keras.Model, decoder: keras.Model) -> None:
    expected = (encoder.output_shape[-1], encoder.input_shape)
    received = (decoder.input_shape, decoder.output_shape)
    if expected != received:
        raise ValueError(
            "The decoder must take the encoder's z and return the encoder's input: expected "
            f"shapes {expected[0]} and {expected[1]}. Received: {received[0]} and {received[1]}"
        )


def _logits_of(decoder: keras.Model) -> Any:
    if LOGITS_LAYER not in {layer.name for layer in decoder.layers}:
        raise ValueError(
            f'The decoder must have a layer named "{LOGITS_LAYER}" before its sigmoid, as '
            f"`build_decoder` makes. Received layers: {[layer.name for layer in decoder.layers]}"
        )
    return decoder.get_layer(LOGITS_LAYER).output


def _centred_crop(surplus: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((extra // 2, extra - extra // 2) for extra in surplus)


def _checked_image_shape(image_shape: Sequence[int]) -> ImageShape:
    if len(image_shape) != 3:
        raise ValueError(
            f"`image_shape` must be (height, width, channels). Received: {tuple(image_shape)}"
        )
    height, width, channels = image_shape
    _check_positive(channels=channels)
    if min(height, width) < MIN_IMAGE_SIDE:
        raise ValueError(
            f"Images must be at least {MIN_IMAGE_SIDE} x {MIN_IMAGE_SIDE} pixels. "
            f"Received: {height} x {width}"
        )
    return height, width, channels


def _checked_filters(filters: Sequence[int]) -> tuple[int, int]:
    if len(filters) != 2:
        raise ValueError(f"`filters` must be two numbers. Received: {tuple(filters)}")
    first, second = filters
    _check_positive(**{"filters[0]": first, "filters[1]": second})
    return first, second


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {size}")
