"""The `Sampling` layer of the Keras example."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

SAMPLING_SEED = 1337
"""The seed in the Keras example."""


@keras.saving.register_keras_serializable(package="vaetune")
class Sampling(layers.Layer):
    """Draws z from N(z_mean, exp(z_log_var)) with the reparameterisation trick.

    z = z_mean + exp(z_log_var / 2) * epsilon, with epsilon drawn from N(0, 1).

    Args:
        seed: Seed of the layer's random generator. Its state is saved with the weights.

    Input: z_mean and z_log_var of the same shape, such as (batch, latent_dim), and optionally
        epsilon, to use instead of drawing it.
    Output: z, of this shape.
    """

    def __init__(self, seed: int = SAMPLING_SEED, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        z_mean, z_log_var, *given = inputs
        epsilon = given[0] if given else self.draw(ops.shape(z_mean), z_mean.dtype)
        return reparameterise(z_mean, z_log_var, epsilon)

    def draw(self, shape: Any, dtype: Any = "float32") -> tf.Tensor:
        """Draws epsilon from N(0, 1) and advances the random generator."""
        return keras.random.normal(shape, dtype=dtype, seed=self.seed_generator)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}

    def save_own_variables(self, store: Any) -> None:
        # Keras does not save the state of a generator.
        store["seed_generator_state"] = self.seed_generator.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        self.seed_generator.state.assign(store["seed_generator_state"])


def reparameterise(z_mean: tf.Tensor, z_log_var: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Returns z_mean + exp(z_log_var / 2) * epsilon. All have the same shape."""
    return z_mean + ops.exp(0.5 * z_log_var) * epsilon
