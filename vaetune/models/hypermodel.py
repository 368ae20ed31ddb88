"""A Keras Tuner hypermodel that builds compiled VAEs."""

from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters as hp_types
from numpy.typing import NDArray

from vaetune.config import (
    DEFAULT_SPACE,
    FAMILY,
    REAL_VALUED,
    Choice,
    Condition,
    Likelihood,
    Pinned,
    Range,
    Space,
    Value,
)
from vaetune.errors import DataError
from vaetune.models.build import build_vae
from vaetune.models.conditions import UsedWhere
from vaetune.models.first_batch import explain_range, peek
from vaetune.models.likelihoods import spread_of
from vaetune.models.recipe import compile_for, prepare
from vaetune.models.vae import VAE


class ImageRangeError(keras_tuner.errors.FatalValueError, DataError):
    """Images given to Keras Tuner have values outside [0, 1].

    A fatal error ends the search. After other errors, Keras Tuner starts the next trial.
    """


class VAEHyperModel(keras_tuner.HyperModel):
    """A hypermodel of the convolutional VAE.

    The hyperparameters are `filters_1`, `filters_2`, `dense_units`, `latent_dim` and
    `learning_rate`, and others if the space has them. A model uses only those whose conditions
    hold; others are inactive for Keras Tuner, too.

    It works in any Keras Tuner script, with the objective
    `keras_tuner.Objective("val_loss", "min")` and images in [0, 1]. Other images are refused: each
    trial looks at the first batch before it is trained.

    Args:
        image_shape: Height, width and channels of the images.
        space: Search space. Default: the space of the built-in search "hyperband".
        pixel_means: Mean pixel of the training images, of each channel, for an output bias at the
            mean. Default: those of the first batch.
        likelihood: Likelihood of the pixels. A learned scale starts from the spread of the first
            batch.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (28, 28, 1),
        space: Space = DEFAULT_SPACE,
        pixel_means: Sequence[float] = (),
        likelihood: Likelihood = "bernoulli",
    ) -> None:
        super().__init__(name="vae")
        self.likelihood: Likelihood = likelihood
        self.pixel_means = tuple(pixel_means)
        self.image_shape = tuple(image_shape)
        self.space = space

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Registers all hyperparameters without building a model."""
        conditions, dimensions = self.space.conditions(), dict(self.space.dimensions())
        made = (
            _make(name, dimensions[name], self.space.default(name), conditions.get(name, ()))
            for name in self.space.evaluation_order()
        )
        # One by one, because a default is only set where the hyperparameter is active.
        for one in made:
            hp.merge([one], overwrite=False)

    def build(self, hp: keras_tuner.HyperParameters) -> VAE:
        """Builds and compiles the VAE with these hyperparameters."""
        values = self._values_of(hp)
        vae = build_vae(self.image_shape, values, self.likelihood)
        compile_for(vae, values)
        return vae

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
        values = self._values_of(hp)
        if "batch_size" in values:
            kwargs["batch_size"] = values["batch_size"]
        x, *others = args or (kwargs.pop("x", None),)
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"], _ = _checked(kwargs["validation_data"], "validation images")
        x, first = _checked(x, "training images")
        spread = None if first is None else spread_of(first)
        recipe = prepare(model, values, self.pixel_means or _means_of(first), spread)
        kwargs["callbacks"] = [recipe, *(kwargs.get("callbacks") or ())]
        return model.fit(x, *others, **kwargs)

    def _values_of(self, hp: keras_tuner.HyperParameters) -> dict[str, Value]:
        """Registers all hyperparameters and returns the values of the active ones."""
        self.declare_hyperparameters(hp)
        return {name: hp.get(name) for name, _ in self.space.dimensions() if hp.is_active(name)}


def _checked(data: Any, what: str) -> tuple[Any, NDArray[Any] | None]:
    """Returns the data to train on, and images of the first batch; None if there are none.

    Raises:
        ImageRangeError: It has values outside [0, 1].
    """
    images, data = peek(data)
    problem = "" if images is None else explain_range(images)
    if problem:
        raise ImageRangeError(
            f"VAEHyperModel expects {what} with values from 0 to 1. Received: {problem}"
        )
    return data, images


def _means_of(images: NDArray[Any] | None) -> Sequence[float]:
    """Returns the mean of each channel."""
    if images is None:
        return ()
    means: list[float] = (
        images.reshape(-1, images.shape[-1]).mean(axis=0, dtype=np.float64).tolist()
    )
    return means


def _make(
    name: str,
    dimension: Choice | Range | Pinned,
    default: Value,
    condition: Condition,
) -> hp_types.HyperParameter:
    """Returns a dimension as a hyperparameter of Keras Tuner."""
    conditions = [UsedWhere(condition)] if condition else []
    is_whole = all(isinstance(value, int) for value in (*dimension.listed(), default))
    match dimension:
        case Pinned(value=value):
            return hp_types.Fixed(name, value, conditions=conditions)
        case Choice(values=values):
            is_text = FAMILY[name].kind == "text"
            listed = list(values) if is_whole or is_text else [float(value) for value in values]
            return hp_types.Choice(name, listed, default=default, conditions=conditions)
        case Range(min=low, max=high, scale=scale):
            kind = hp_types.Int if is_whole and name not in REAL_VALUED else hp_types.Float
            return kind(name, low, high, sampling=scale, default=default, conditions=conditions)
