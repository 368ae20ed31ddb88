"""A Keras Tuner hypermodel that builds compiled VAEs."""

from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner

from vaetune.config import DEFAULT_SPACE, REAL_VALUED, Choice, Number, Pinned, Range, Space
from vaetune.errors import DataError
from vaetune.models.build import build_vae
from vaetune.models.first_batch import explain_range, peek
from vaetune.models.vae import VAE


class ImageRangeError(keras_tuner.errors.FatalValueError, DataError):
    """Images given to Keras Tuner have values outside [0, 1].

    A fatal error ends the search. After other errors, Keras Tuner starts the next trial.
    """


class VAEHyperModel(keras_tuner.HyperModel):
    """A hypermodel of the convolutional VAE.

    The hyperparameters are `filters_1`, `filters_2`, `dense_units`, `latent_dim` and
    `learning_rate`, and also `beta` and `batch_size` if the space has them.

    It works in any Keras Tuner script, with the objective
    `keras_tuner.Objective("val_loss", "min")` and images in [0, 1]. Other images are refused: each
    trial looks at the first batch before it is trained.

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
        """Trains a model with Keras's `fit`, using the batch size of `hp` if it is searched.

        Args:
            hp: The hyperparameters.
            model: Model from `build`.
            args: Arguments of Keras's `fit`.
            kwargs: Arguments of Keras's `fit`.

        Raises:
            ImageRangeError: The first batch has values outside [0, 1]. It stops the search.
        """
        if self.space.batch_size is not None:
            kwargs["batch_size"] = self._values_of(hp)["batch_size"]
        x, *others = args or (kwargs.pop("x", None),)
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = _checked(kwargs["validation_data"], "validation images")
        return model.fit(_checked(x, "training images"), *others, **kwargs)

    def _values_of(self, hp: keras_tuner.HyperParameters) -> dict[str, Number]:
        return {
            name: _declare(hp, name, dimension, self.space.default(name))
            for name, dimension in self.space.dimensions()
        }


def _checked(data: Any, what: str) -> Any:
    """Returns the data to train on, after a look at the first batch.

    Raises:
        ImageRangeError: It has values outside [0, 1].
    """
    images, data = peek(data)
    problem = "" if images is None else explain_range(images)
    if problem:
        raise ImageRangeError(
            f"VAEHyperModel expects {what} with values from 0 to 1. Received: {problem}"
        )
    return data


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
            kind = hp.Int if is_whole and name not in REAL_VALUED else hp.Float
            return kind(name, low, high, sampling=scale, default=default)
