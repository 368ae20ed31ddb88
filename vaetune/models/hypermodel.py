"""A Keras Tuner hypermodel that builds compiled VAEs."""

from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner

from vaetune.config import DEFAULT_SPACE, Choice, Number, Pinned, Range, Space
from vaetune.models.vae import VAE, build_vae

_REAL_VALUED = ("learning_rate", "beta")
"""Hyperparameters that are real numbers even if their bounds are integers."""


class VAEHyperModel(keras_tuner.HyperModel):
    """A hypermodel of the convolutional VAE.

    The hyperparameters are `filters_1`, `filters_2`, `dense_units`, `latent_dim` and
    `learning_rate`, and also `beta` and `batch_size` if the space has them.

    It works in any Keras Tuner script, with the objective
    `keras_tuner.Objective("val_loss", "min")` and images in [0, 1].

    Args:
        image_shape: Height, width and channels of the images.
        space: Search space. Default: the space of the built-in search "hyperband".
    """

    def __init__(
        self, image_shape: Sequence[int] = (28, 28, 1), space: Space = DEFAULT_SPACE
    ) -> None:
        super().__init__(name="vae")
        self.image_shape = tuple(image_shape)
        self.space = space

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Registers all hyperparameters without building a model."""
        for name, dimension in self.space.dimensions():
            _declare(hp, name, dimension, self.space.default(name))

    def build(self, hp: keras_tuner.HyperParameters) -> VAE:
        """Builds and compiles the VAE with these hyperparameters."""
        return build_vae(self.image_shape, self._values_of(hp))

    def fit(
        self, hp: keras_tuner.HyperParameters, model: VAE, *args: Any, **kwargs: Any
    ) -> keras.callbacks.History:
        """Trains a model with Keras's `fit`, using the batch size of `hp` if it is searched."""
        if self.space.batch_size is not None:
            kwargs["batch_size"] = self._values_of(hp)["batch_size"]
        return model.fit(*args, **kwargs)

    def _values_of(self, hp: keras_tuner.HyperParameters) -> dict[str, Number]:
        return {
            name: _declare(hp, name, dimension, self.space.default(name))
            for name, dimension in self.space.dimensions()
        }


def _declare(
    hp: keras_tuner.HyperParameters,
    name: str,
    dimension: Choice | Range | Pinned,
    default: Number,
) -> Any:
    """Registers one hyperparameter, unless it is registered, and returns its value."""
    is_whole = all(isinstance(number, int) for number in (*dimension.numbers(), default))
    match dimension:
        case Pinned(value=value):
            return hp.Fixed(name, value)
        case Choice(values=values):
            numbers = values if is_whole else tuple(map(float, values))
            return hp.Choice(name, list(numbers), default=default, ordered=True)
        case Range(min=low, max=high, scale=scale):
            kind = hp.Int if is_whole and name not in _REAL_VALUED else hp.Float
            return kind(name, low, high, sampling=scale, default=default)
