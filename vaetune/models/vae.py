"""The convolutional variational autoencoder.

Architecture and training objective are those of the Keras example "Variational AutoEncoder"
(F. Chollet, 2020). This module adds what the example lacks: validation, saving and loading.

References:
    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, equations 3 and 10.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import keras
import tensorflow as tf
from keras import layers

from vaetune.config import Likelihood
from vaetune.models.architecture import ImageShape
from vaetune.models.likelihoods import PixelScale, make_scale, reconstruction_loss
from vaetune.models.losses import missing_bits, total_kl
from vaetune.models.networks import LOGITS_LAYER, OUTPUT_LAYER
from vaetune.models.sampling import Sampling, reparameterise

Losses = dict[str, tf.Tensor]

VALIDATION_SEED = 20140501
"""Seed of the posterior samples in validation. Training never uses it."""


@dataclass(frozen=True)
class LayerOrder:
    """Layers in a fixed order. Keras would add a list of them to the parts of a model."""

    layers: Sequence[layers.Layer]


@dataclass(frozen=True)
class CompiledFunctions:
    """Functions of a model that were compiled. Keras would track a dictionary as a part."""

    by_key: dict[tuple[Any, ...], Callable[..., Any]] = field(default_factory=dict)


@keras.saving.register_keras_serializable(package="vaetune")
class VAE(keras.Model):
    """A variational autoencoder, trained on reconstruction loss plus KL divergence.

    The loss of an image, in nats, is a sum over pixels, channels and latent dimensions:
    loss = -log p(x | z) + beta * KL(N(z_mean, exp(z_log_var)) || N(0, 1)).
    With the likelihood of the Keras example, "bernoulli", the first part is the binary
    cross-entropy of the image and decoder(z).
    Training minimises this loss. Validation always reports it with beta = 1 (the negative ELBO of
    one posterior sample), so that models with different `beta` can be compared.

    Args:
        encoder: Model from images to (z_mean, z_log_var, z), such as `build_encoder` returns.
        decoder: Model from z to images, such as `build_decoder` returns. The loss is computed
            from its layer named "logits".
        beta: Weight of the KL divergence in training. It cannot change after the first step.
        logits: Logits in the graph of the decoder. Default: the output of its layer "logits".
        likelihood: Likelihood p(x | z) of the pixels. The decoder's output is its location.

    Raises:
        ValueError: The decoder has no layer named "logits" or does not mirror the encoder, or
            beta is negative or not finite.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        beta: float = 1.0,
        logits: Any = None,
        likelihood: Likelihood = "bernoulli",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= beta < float("inf"):
            raise ValueError(f"`beta` must be a finite number of at least 0. Received: {beta!r}")
        logits = _logits_of(decoder) if logits is None else logits
        _check_mirror(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.beta = beta
        # These models share the layers, but leave out the sampling and the sigmoid.
        self.to_posterior = keras.Model(encoder.input, encoder.outputs[:2])
        self.to_logits = keras.Model(decoder.input, logits)
        self.layer_order = LayerOrder((*encoder.layers, *decoder.layers))
        self.compiled_functions = CompiledFunctions()
        self.likelihood: Likelihood = likelihood
        self.pixel_scale: PixelScale | None = make_scale(likelihood)
        self.recipe: Any = None
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")
        self.built = True  # All layers are built.

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles a loaded model. Keras calls it before it loads the optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(dict(config)))
        self.optimizer.build(self.ordered_trainable)

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

    @property
    def ordered_variables(self) -> list[keras.Variable]:
        """Variables of the layers in the order of checkpoints, which is the order of creation."""
        scales = [self.pixel_scale] if self.pixel_scale else []
        return [v for layer in (*self.layer_order.layers, *scales) for v in layer.variables]

    @property
    def log_scale(self) -> keras.Variable | None:
        """The weight that is the likelihood's scale; None for a likelihood without one."""
        return self.pixel_scale.log_scale if self.pixel_scale else None

    @property
    def output_bias(self) -> keras.Variable:
        """Bias of the layer that computes the logits."""
        named = {layer.name: layer for layer in self.layer_order.layers}
        return named.get(OUTPUT_LAYER, named[LOGITS_LAYER]).bias

    @property
    def ordered_trainable(self) -> list[keras.Variable]:
        """Variables that training changes, in the order of `ordered_variables`."""
        return [variable for variable in self.ordered_variables if variable.trainable]

    @property
    def samplings(self) -> list[Sampling]:
        """The `Sampling` layers of all levels, top level first."""
        return [layer for layer in self.layer_order.layers if isinstance(layer, Sampling)]

    @property
    def level_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Height, width and channels of the latent maps of each lower level."""
        return ()

    @property
    def bottom_up(self) -> keras.Model:
        """Model from images to z_mean, z_log_var and the encoder's maps for each lower level."""
        return self.to_posterior

    @property
    def top_down(self) -> keras.Model:
        """Model from z, the encoder's maps and epsilon of each lower level.

        Its outputs are the logits, and u_mean and u_log_var of each lower level.
        """
        return self.to_logits

    def reconstruction_loss(self, images: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns -log p(x | z) of each image, (batch,), in nats and in the type of the logits."""
        scale = self.log_scale
        log_scale = None if scale is None else tf.cast(scale.value, logits.dtype)
        return reconstruction_loss(self.likelihood, images, logits, log_scale)

    def reconstruct(self, images: tf.Tensor) -> tf.Tensor:
        """Reconstructs images (batch, height, width, channels) through the posterior means."""
        return self.decoder(self.posterior(images)[0], training=False)

    def decode_levels(self, z: tf.Tensor, maps: Sequence[tf.Tensor]) -> tf.Tensor:
        """Decodes latent variables of all levels.

        Args:
            z: Latent vectors of the top level, (batch, latent_dim).
            maps: Latent maps u of each lower level, (batch, height, width, channels).
        """
        return self.decoder(z, training=False)

    def encode_levels(self, images: tf.Tensor) -> dict[int, tuple[tf.Tensor, tf.Tensor]]:
        """Encodes images (batch, height, width, channels) at all levels, without sampling.

        The posterior of a lower level is that of the posterior means of the levels above it.

        Returns:
            Mean and log-variance by number of the level. The top level is 1, with z_mean and
            z_log_var. Those of a lower level are relative to its prior.
        """
        return {1: self.posterior(images)}

    def draw_prior(self, count: Any, seed: Any) -> list[tf.Tensor]:
        """Draws z and u of each lower level from N(0, 1), the same on every device.

        Args:
            count: Number of samples, an integer or a scalar tensor.
            seed: Random seed, an integer or a scalar tensor.
        """
        shapes = [(self.latent_dim,), *self.level_shapes]
        return [
            tf.random.stateless_normal(
                tf.stack([count, *shape]), seed=tf.stack([seed, level]), alg="philox"
            )
            for level, shape in enumerate(shapes)
        ]

    def sample(self, count: Any, seed: Any) -> tf.Tensor:
        """Generates images (count, height, width, channels) from the prior of all levels.

        Args:
            count: Number of images, an integer or a scalar tensor.
            seed: Random seed, an integer or a scalar tensor.
        """
        z, *maps = self.draw_prior(count, seed)
        return self.decode_levels(z, maps)

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
        images, recipe = _images_of(data), self.recipe
        with tf.GradientTape() as tape:
            reconstruction, parameters = self._infer(images)
            kl = total_kl(parameters)
            weight = self.beta if recipe is None else self.beta * recipe.kl_share
            per_image = reconstruction + weight * kl
            loss = tf.reduce_mean(per_image)
            if recipe is not None and recipe.free_bits:
                loss += weight * missing_bits(parameters, recipe.free_bits)
            scaled_loss = self.optimizer.scale_loss(loss)
        variables = self.ordered_trainable
        gradients = tape.gradient(scaled_loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if recipe is not None and recipe.average is not None:
            recipe.average.update()
        return self._track(reconstruction + self.beta * kl, reconstruction, kl)

    def test_step(self, data: Any) -> Losses:
        """Returns the losses of a batch with beta = 1. The noise does not depend on training."""
        images = _images_of(data)
        # Number of images since the metrics were reset.
        seen = tf.cast(self.loss_tracker.count, tf.int32)
        z_mean, z_log_var, *maps = self.bottom_up(images, training=False)
        shapes = [tf.shape(z_mean), *((tf.shape(images)[0], *shape) for shape in self.level_shapes)]
        epsilon, *epsilons = (
            # This algorithm gives the same noise on every device.
            tf.random.stateless_normal(shape, seed=validation_seed(level, seen), alg="philox")
            for level, shape in enumerate(shapes)
        )
        z = reparameterise(z_mean, z_log_var, epsilon)
        inputs = [z, *maps, *epsilons] if maps else z
        logits, *lower = as_list(self.top_down(inputs, training=False))
        reconstruction = self.reconstruction_loss(images, logits)
        kl = total_kl([z_mean, z_log_var, *lower])
        return self._track(reconstruction + kl, reconstruction, kl)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "beta": self.beta,
            "likelihood": self.likelihood,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **parts})

    def _infer(self, images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns the reconstruction loss of a random sample, and the posteriors of all levels."""
        z_mean, z_log_var, z = self.encoder(images, training=True)
        logits = self.to_logits(z, training=True)
        return self.reconstruction_loss(images, logits), [z_mean, z_log_var]

    def _track(self, loss: tf.Tensor, reconstruction: tf.Tensor, kl: tf.Tensor) -> Losses:
        for tracker, per_image in zip(self.metrics, (loss, reconstruction, kl), strict=True):
            tracker.update_state(per_image)  # The mean is over images, not over batches.
        return {tracker.name: tracker.result() for tracker in self.metrics}


def validation_seed(level: int, seen: tf.Tensor) -> tf.Tensor:
    """Returns the random seed, (2,) int32, of a level's noise for a batch of validation images.

    Args:
        level: Index of the level; the top level is 0.
        seen: Number of images before this batch, int32 scalar.
    """
    return tf.stack([VALIDATION_SEED + level, seen])


def as_list(outputs: Any) -> list[Any]:
    """Returns the outputs of a model as a list. Keras returns a single output as itself."""
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


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
