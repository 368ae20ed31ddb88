"""A VAE with several levels of latent variables."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import tensorflow as tf

from vaetune.config import Likelihood
from vaetune.models.architecture import Architecture
from vaetune.models.levels import Ladder
from vaetune.models.units import call_layer
from vaetune.models.vae import VAE, LayerOrder


@keras.saving.register_keras_serializable(package="vaetune")
class LadderVAE(VAE):
    """A VAE with lower levels of latent variables, which are maps.

    Encoder and decoder speak of the top level: the encoder returns its posterior, and the decoder
    uses the prior means of the lower levels. Losses, `reconstruct` and `sample` use all levels.

    Args:
        networks: Model from `connect_networks`.
        levels: Number of levels, at least 2.
        order: Names of the layers with variables in the order of checkpoints. Default: all.
        beta: Weight of the KL divergence in training.
        likelihood: Likelihood p(x | z) of the pixels.
    """

    def __init__(
        self,
        networks: keras.Model,
        levels: int,
        order: Sequence[str] = (),
        beta: float = 1.0,
        likelihood: Likelihood = "bernoulli",
        **kwargs: Any,
    ) -> None:
        lower = levels - 1
        image, z, *rest = networks.inputs
        maps, epsilons, u = (rest[i * lower : (i + 1) * lower] for i in range(3))
        z_mean, z_log_var, sampled, *outputs = networks.outputs
        encoded, inferred, (mean_image, logits, decoded, generated) = (
            outputs[:lower],
            outputs[lower : 1 + 3 * lower],
            outputs[1 + 3 * lower :],
        )
        super().__init__(
            keras.Model(image, [z_mean, z_log_var, sampled], name="encoder"),
            keras.Model(z, decoded, name="decoder"),
            beta,
            logits,
            likelihood,
            **kwargs,
        )
        self.networks = networks
        by_name = {layer.name: layer for layer in networks.layers}
        self.layer_order = LayerOrder(tuple(by_name[name] for name in order or by_name))
        self.levels = levels
        self._bottom_up = keras.Model(image, [z_mean, z_log_var, *encoded])
        self._top_down = keras.Model([z, *maps, *epsilons], inferred)
        self.to_mean_image = keras.Model([z, *maps], mean_image)
        self.generate = keras.Model([z, *u], generated)

    @property
    def level_shapes(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(tuple(u.shape[1:]) for u in self.generate.inputs[1:])

    @property
    def bottom_up(self) -> keras.Model:
        return self._bottom_up

    @property
    def top_down(self) -> keras.Model:
        return self._top_down

    def reconstruct(self, images: tf.Tensor) -> tf.Tensor:
        z_mean, _, *maps = self.bottom_up(images, training=False)
        return self.to_mean_image([z_mean, *maps], training=False)

    def decode_levels(self, z: tf.Tensor, maps: Sequence[tf.Tensor]) -> tf.Tensor:
        return self.generate([z, *maps], training=False)

    def encode_levels(self, images: tf.Tensor) -> dict[int, tuple[tf.Tensor, tf.Tensor]]:
        z_mean, z_log_var, *maps = self.bottom_up(images, training=False)
        # Without noise, u of each level is its mean.
        zeros = [tf.zeros((tf.shape(z_mean)[0], *shape)) for shape in self.level_shapes]
        _, *lower = self.top_down([z_mean, *maps, *zeros], training=False)
        pairs = zip([z_mean, *lower[::2]], [z_log_var, *lower[1::2]], strict=True)
        return dict(enumerate(pairs, start=1))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["encoder"], config["decoder"]
        networks = keras.saving.serialize_keras_object(self.networks)
        order = [layer.name for layer in self.layer_order.layers]
        return {**config, "networks": networks, "levels": self.levels, "order": order}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        networks = keras.saving.deserialize_keras_object(config["networks"])
        return cls(**{**config, "networks": networks})

    def _infer(self, images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        z_mean, z_log_var, *maps = self.bottom_up(images, training=True)
        top, *lower = self.samplings
        z = top([z_mean, z_log_var])
        batch = tf.shape(images)[0]
        epsilons = [
            sampling.draw((batch, *shape))
            for sampling, shape in zip(lower, self.level_shapes, strict=True)
        ]
        logits, *posteriors = self.top_down([z, *maps, *epsilons], training=True)
        return self.reconstruction_loss(images, logits), [z_mean, z_log_var, *posteriors]


def connect_networks(architecture: Architecture, ladder: Ladder) -> keras.Model:
    """Returns one model with everything that a `LadderVAE` computes.

    One model, because Keras saves shared layers once within a model only.

    Its inputs are an image, z, and the encoder's maps, epsilon and u of each lower level. Its
    outputs are z_mean, z_log_var, z, the encoder's maps of each lower level; the logits and u_mean
    and u_log_var of each lower level; the image of all posterior means; logits and image of z
    with the prior means; the image of z and u.
    """
    image = keras.Input(shape=architecture.image_shape, name="image")
    z = keras.Input(shape=(architecture.latent_dim,), name="latent")
    z_mean, z_log_var, encoded = ladder.encode(call_layer, image)
    sampled = call_layer(ladder.encoder.sampling, z_mean, z_log_var)
    maps, shapes = [], []
    for number, each in enumerate(encoded, start=2):
        maps.append(keras.Input(shape=each.shape[1:], name=f"encoded_{number}"))
        shapes.append((*each.shape[1:3], architecture.level_channels))
    epsilons, u = (
        [keras.Input(shape, name=f"{name}_{k}") for k, shape in enumerate(shapes, start=2)]
        for name in ("epsilon", "u")
    )
    to_image = ladder.decoder.probabilities
    logits, posteriors = ladder.infer(call_layer, z, maps, epsilons)
    mean_logits, _ = ladder.infer(call_layer, z, maps, [None] * len(maps))
    prior_logits = ladder.generate(call_layer, z, [None] * len(maps))
    generated = ladder.generate(call_layer, z, u)
    decoded = [call_layer(to_image, each) for each in (mean_logits, prior_logits, generated)]
    outputs = [z_mean, z_log_var, sampled, *encoded, logits, *posteriors]
    outputs += [decoded[0], prior_logits, decoded[1], decoded[2]]
    return keras.Model([image, z, *maps, *epsilons, *u], outputs, name="networks")
