"""The convolutional variational autoencoder.

Architecture and training objective are those of the Keras example "Variational AutoEncoder"
(F. Chollet, 2020). This module adds what the example lacks: validation, saving and loading.

References:
    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, equations 3 and 10.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import tensorflow as tf
from keras import layers

from vaetune.errors import ResultsError, one_line
from vaetune.files import DAMAGED_FILE_ERRORS
from vaetune.models.losses import binary_cross_entropy, kl_divergence
from vaetune.models.networks import (
    LOGITS_LAYER,
    SAMPLING_SEED,
    ImageShape,
    build_decoder,
    build_encoder,
    check_positive,
    checked_filters,
    checked_image_shape,
    decoder_layers,
    encoder_layers,
    reparameterise,
)
from vaetune.models.optimizer import Adam

Losses = dict[str, tf.Tensor]

VALIDATION_SEED = 20140501
"""Seed of the posterior samples in validation. Training never uses it."""


@keras.saving.register_keras_serializable(package="vaetune")
class VAE(keras.Model):
    """A variational autoencoder, trained on binary cross-entropy plus KL divergence.

    The loss of an image, in nats, is a sum over pixels, channels and latent dimensions:
    loss = BCE(x, decoder(z)) + beta * KL(N(z_mean, exp(z_log_var)) || N(0, 1)).
    Training minimises this loss. Validation always reports it with beta = 1 (the negative ELBO of
    one posterior sample), so that models with different `beta` can be compared.

    Args:
        encoder: Model from images to (z_mean, z_log_var, z), such as `build_encoder` returns.
        decoder: Model from z to images, such as `build_decoder` returns. The loss is computed
            from its layer named "logits".
        beta: Weight of the KL divergence in training. It cannot change after the first step.

    Raises:
        ValueError: The decoder has no layer named "logits" or does not mirror the encoder, or
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
        # These models share the layers, but leave out the sampling and the sigmoid.
        self.to_posterior = keras.Model(encoder.input, encoder.outputs[:2])
        self.to_logits = keras.Model(decoder.input, logits)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")
        self.built = True  # Encoder and decoder are built, and there are no other weights.

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
        """Encodes images without sampling. The random state of `Sampling` does not change.

        Args:
            images: Pixels in [0, 1], (batch, height, width, channels).

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
        """Returns the losses of a batch with beta = 1. The noise does not depend on training."""
        images = _images_of(data)
        z_mean, z_log_var = self.posterior(images)
        # Number of images since the metrics were reset.
        seen = tf.cast(self.loss_tracker.count, tf.int32)
        epsilon = tf.random.stateless_normal(
            tf.shape(z_mean),
            seed=tf.stack([VALIDATION_SEED, seen]),
            dtype=z_mean.dtype,
            alg="philox",  # This algorithm gives the same noise on every device.
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
            tracker.update_state(per_image)  # The mean is over images, not over batches.
        return {tracker.name: tracker.result() for tracker in self.metrics}


def load_model(path: str | Path) -> VAE:
    """Loads a VAE from a `.keras` file that vaetune exported.

    Args:
        path: Path of the file.

    Raises:
        ResultsError: The file does not exist or does not contain a VAE of vaetune.
    """
    if not Path(path).is_file():
        raise ResultsError(f"There is no model at {path}. `vaetune best --export` writes one.")
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (*DAMAGED_FILE_ERRORS, OSError, KeyError) as error:
        raise ResultsError(_why_unreadable(path, error)) from error
    if not isinstance(model, VAE):
        raise ResultsError(
            f"{path} contains a {type(model).__name__}, expected a VAE such as vae.keras. "
            "Load encoder.keras and decoder.keras with keras.saving.load_model."
        )
    return model


def _why_unreadable(path: str | Path, error: Exception) -> str:
    reason = one_line(error)
    if "unsafe" in reason or "arbitrary code" in reason:
        return (
            f"{path} contains code to be run, such as a Lambda layer, so it was not loaded. "
            "Models that vaetune exports contain none: export the model again."
        )
    return f"{path} is not a readable Keras model: {reason}"


def build_vae(image_shape: Sequence[int], hyperparameters: Mapping[str, Any]) -> "VAE":
    """Builds the VAE of a configuration and compiles it with Adam.

    The optimizer's variables are created here, before the first step. So its state can be
    restored, and the step is traced only once.

    Args:
        image_shape: Height, width and channels of the images.
        hyperparameters: Values of `filters_1`, `filters_2`, `dense_units`, `latent_dim` and
            `learning_rate`, and of `beta` if it is not 1.

    Raises:
        ValueError: A size is not a positive integer, or the images are smaller than 8 x 8.
    """
    latent_dim, filters, dense_units = _layer_sizes(hyperparameters)
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
    """Returns newly initialised variables without a model, in half the time of `build_vae`.

    Args:
        image_shape: Height, width and channels of the images.
        hyperparameters: Values as for `build_vae`. The learning rate is not used.

    Returns:
        The variables in the order of `VAE.variables`. Their values are those that `build_vae`
        draws from the same state of Keras's random numbers.

    Raises:
        ValueError: A size is not a positive integer, or the images are smaller than 8 x 8.
    """
    shape = checked_image_shape(image_shape)
    latent_dim, filters, dense_units = _layer_sizes(hyperparameters)
    check_positive(latent_dim=latent_dim, dense_units=dense_units)
    checked_filters(filters)
    shared, *heads, sampling = encoder_layers(latent_dim, filters, dense_units, SAMPLING_SEED)
    features = _build_layers(shared, (None, *shape))
    for head in heads:
        head.build(features)
    decoder = decoder_layers(shape, filters)
    _build_layers(decoder, (None, latent_dim))
    return [v for layer in (*shared, *heads, sampling, *decoder) for v in layer.variables]


def _build_layers(sequence: Sequence[layers.Layer], shape: tuple[int | None, ...]) -> Any:
    """Creates the variables of consecutive layers, and returns the shape of the output."""
    for layer in sequence:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    return shape


def _layer_sizes(hyperparameters: Mapping[str, Any]) -> tuple[int, tuple[int, int], int]:
    """Returns latent_dim, filters and dense_units of a configuration."""
    names = ("latent_dim", "filters_1", "filters_2", "dense_units")
    latent_dim, first, second, dense_units = (int(hyperparameters[name]) for name in names)
    return latent_dim, (first, second), dense_units


def _images_of(data: Any) -> tf.Tensor:
    images = data[0] if isinstance(data, (tuple, list)) else data
    return tf.cast(images, tf.float32)


def _check_mirror(encoder: keras.Model, decoder: keras.Model) -> None:
    expected = (encoder.output_shape[-1], encoder.input_shape)
    received = (decoder.input_shape, decoder.output_shape)
    if expected != received:
        raise ValueError(
            "The decoder must take the encoder's z and return images of the encoder's shape: "
            f"expected shapes {expected[0]} and {expected[1]}. Received: {received[0]} and "
            f"{received[1]}"
        )


def _logits_of(decoder: keras.Model) -> Any:
    if LOGITS_LAYER not in {layer.name for layer in decoder.layers}:
        raise ValueError(
            f'The decoder must have a layer named "{LOGITS_LAYER}" before its sigmoid, like that '
            f"of `build_decoder`. Received layers: {[layer.name for layer in decoder.layers]}"
        )
    return decoder.get_layer(LOGITS_LAYER).output
