"""The Keras example's VAE as a user would paste it into a tuning script.

Architecture, loss and optimizer are those of "Variational AutoEncoder" (F. Chollet, 2020). Only
what a tuner needs is added: `test_step`, and `built = True`. Nothing is optimised for speed.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import layers


class Sampling(layers.Layer):
    """Samples z = z_mean + exp(z_log_var / 2) * epsilon."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(tf.shape(z_mean), seed=self.seed_generator)
        return z_mean + tf.exp(0.5 * z_log_var) * epsilon


class ExampleVAE(keras.Model):
    """A VAE whose loss is the sum of KL and BCE, in nats per image."""

    def __init__(self, encoder: keras.Model, decoder: keras.Model) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.total_tracker = keras.metrics.Mean(name="loss")
        self.built = True

    @property
    def metrics(self) -> list[Any]:
        return [self.total_tracker]

    def call(self, inputs: Any) -> Any:
        return self.decoder(self.encoder(inputs)[2])

    def _loss_of(self, images: Any) -> Any:
        z_mean, z_log_var, z = self.encoder(images)
        per_pixel = keras.losses.binary_crossentropy(images, self.decoder(z))
        reconstruction = tf.reduce_mean(tf.reduce_sum(per_pixel, axis=(1, 2)))
        kl = -0.5 * (1 + z_log_var - tf.square(z_mean) - tf.exp(z_log_var))
        return reconstruction + tf.reduce_mean(tf.reduce_sum(kl, axis=1))

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = self._loss_of(_images_of(data))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.total_tracker.update_state(loss)
        return {"loss": self.total_tracker.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        self.total_tracker.update_state(self._loss_of(_images_of(data)))
        return {"loss": self.total_tracker.result()}


def build(values: Mapping[str, Any]) -> ExampleVAE:
    """Returns the compiled model of a configuration, for images (28, 28, 1) in [0, 1]."""
    images = keras.Input((28, 28, 1))
    x = layers.Conv2D(values["filters_1"], 3, activation="relu", strides=2, padding="same")(images)
    x = layers.Conv2D(values["filters_2"], 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Dense(values["dense_units"], activation="relu")(layers.Flatten()(x))
    z_mean, z_log_var = (layers.Dense(values["latent_dim"], name=n)(x) for n in ("mean", "log_var"))
    encoder = keras.Model(images, [z_mean, z_log_var, Sampling()([z_mean, z_log_var])])

    latent = keras.Input((values["latent_dim"],))
    x = layers.Dense(7 * 7 * values["filters_2"], activation="relu")(latent)
    x = layers.Reshape((7, 7, values["filters_2"]))(x)
    for filters in (values["filters_2"], values["filters_1"]):
        x = layers.Conv2DTranspose(filters, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)
    vae = ExampleVAE(encoder, keras.Model(latent, x))
    vae.compile(optimizer=keras.optimizers.Adam(values["learning_rate"]))
    return vae


def _images_of(data: Any) -> Any:
    return data[0] if isinstance(data, (tuple, list)) else data
