"""The training recipe of a configuration in Keras's `fit`: warm-up, average of the weights, bias.

`vaetune.training` has its own loop with the same recipe. This module is for plain Keras and Keras
Tuner scripts.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vaetune.config import Value, value_of
from vaetune.models.build import set_output_bias, set_scale
from vaetune.models.optimizer import Adam
from vaetune.models.vae import VAE


class WeightAverage:
    """An average of the weights and of the moving statistics of a model.

    It moves towards the weights after each step: by 1 - decay, at first by more.

    Args:
        vae: The model.
        decay: Decay of the average, in [0, 1).
    """

    def __init__(self, vae: VAE, decay: float) -> None:
        self._decay = decay
        self._steps = tf.Variable(0.0, trainable=False)
        self._pairs = [
            (variable, tf.Variable(variable.value, trainable=False))
            for variable in vae.ordered_variables
            if variable.dtype == "float32"
        ]

    def update(self) -> None:
        """Moves the averages after a training step."""
        done = self._steps.read_value()
        share = 1.0 - tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
        for variable, average in self._pairs:
            average.assign_add(share * (variable.value - average))
        self._steps.assign_add(1.0)

    def swap(self) -> None:
        """Exchanges the variables of the model and the averages."""
        for variable, average in self._pairs:
            value = tf.identity(variable.value)
            variable.assign(average.read_value())
            average.assign(value)


class Recipe:
    """What `VAE.train_step` applies in each step in addition to the loss of the Keras example.

    Args:
        vae: The model.
        hyperparameters: Values by name.

    Attributes:
        kl_share: Present share of the weight of the KL divergence, in [0, 1].
        free_bits: Nats of each latent dimension that cost nothing.
        average: Average of the weights; None for a configuration without.
    """

    def __init__(self, vae: VAE, hyperparameters: Mapping[str, Value]) -> None:
        decay = float(value_of(hyperparameters, "weight_average"))
        self.kl_share = tf.Variable(1.0, trainable=False)
        self.free_bits = float(value_of(hyperparameters, "free_bits"))
        self.average = WeightAverage(vae, decay) if decay else None


class RecipeCallback(keras.callbacks.Callback):
    """Sets what changes from step to step, and puts the average into the model to be measured.

    It must be the first callback, so that the others find the average at the end of an epoch.

    The first epoch of a data set of unknown length has the values of its middle in all steps. The
    steps of this epoch are counted for the next ones.

    Args:
        hyperparameters: Values by name.
    """

    def __init__(self, hyperparameters: Mapping[str, Value]) -> None:
        super().__init__()
        self._values = hyperparameters
        self._epoch = 0
        self._counted_steps, self._last_batch = 0, -1
        self._has_average_inside = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._use_average(False)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        steps = self.params.get("steps") or self._counted_steps
        done = self._epoch + (min(1.0, batch / steps) if steps else 0.5)
        after = done + (1 / steps if steps else 0.0)
        rate = self._get("learning_rate") * _ramp(after, self._get("learning_rate_warmup"))
        if value_of(self._values, "learning_rate_decay") == "cosine":
            rate *= 0.5 * (1.0 + math.cos(math.pi * done / self.params["epochs"]))
        self.model.optimizer.learning_rate = rate
        self.model.recipe.kl_share.assign(_ramp(after, self._get("kl_warmup")))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._last_batch = batch

    def on_test_begin(self, logs: Any = None) -> None:
        self._use_average(True)

    def on_test_end(self, logs: Any = None) -> None:
        self._use_average(False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._counted_steps = self._last_batch + 1
        self._use_average(True)

    def _use_average(self, is_wanted: bool) -> None:
        average = self.model.recipe.average
        if average is not None and self._has_average_inside != is_wanted:
            average.swap()
            self._has_average_inside = is_wanted

    def _get(self, name: str) -> float:
        return float(value_of(self._values, name))


def _ramp(done_epochs: float, epochs: float) -> float:
    """Returns a factor that grows linearly to 1 in the first epochs; 1 for no epochs."""
    return min(1.0, done_epochs / epochs) if epochs else 1.0


def compile_for(vae: VAE, hyperparameters: Mapping[str, Value]) -> None:
    """Compiles a new model again if its configuration has weight decay or clips gradients.

    Args:
        vae: A model from `build_vae`.
        hyperparameters: Values by name.
    """
    decay, clip_norm = (
        float(value_of(hyperparameters, name)) for name in ("weight_decay", "clip_norm")
    )
    if not decay and not clip_norm:
        return
    rate = float(value_of(hyperparameters, "learning_rate"))
    adam = Adam(rate, weight_decay=decay or None, global_clipnorm=clip_norm or None)
    if decay:
        adam.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "log_scale"])
    vae.compile(optimizer=adam)
    vae.optimizer.build(vae.ordered_trainable)


def prepare(
    vae: VAE,
    hyperparameters: Mapping[str, Value],
    pixel_means: Sequence[float],
    pixel_spread: float | None = None,
) -> RecipeCallback:
    """Prepares a model for Keras's `fit`, and returns a callback for it.

    The output bias and the learned scale of a model that was trained stay as they are, such as
    those of a trial that Keras Tuner promoted. The bias of a new model is zero.

    Args:
        vae: The model.
        hyperparameters: Values by name.
        pixel_means: Mean pixel of the training images in [0, 1], of each channel.
        pixel_spread: Standard deviation of the pixels, from which a learned scale starts.
            Default: the scale is not changed.
    """
    if not np.any(vae.output_bias):
        if value_of(hyperparameters, "output_bias") == "mean":
            set_output_bias(vae.output_bias, pixel_means)
        if pixel_spread is not None:
            set_scale(vae, pixel_spread)
    vae.recipe = Recipe(vae, hyperparameters)
    return RecipeCallback(hyperparameters)
