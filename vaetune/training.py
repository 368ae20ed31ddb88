"""Epochs of a VAE: the order of the images, one compiled call for many steps, validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import ImageSet
from vaetune.model import VAE

VALIDATION_BATCH_SIZE = 250
"""Fixed, since the posterior noise of validation depends on it: every trial draws the same."""

CALLS_PER_EPOCH = 10
"""An epoch is this many compiled calls, so that progress moves and Ctrl-C is heard between."""


OnProgress = Callable[[float], None]
"""Called with the share of the epoch's steps that are done."""


@dataclass(frozen=True)
class Losses:
    """Means over the images of an epoch, nats per image; `loss` is what was minimised."""

    loss: float
    reconstruction_loss: float
    kl_loss: float


@dataclass(frozen=True, eq=False)
class DeviceData:
    """The images of a search, held once on the device in the type they came in.

    Attributes:
        train: Training images, (n, height, width, channels), uint8 or float32.
        validation: Validation images, likewise.
    """

    train: tf.Tensor
    validation: tf.Tensor


def put_on_device(images: ImageSet) -> DeviceData:
    """Copies training and validation images to the default device; never the test images."""
    return DeviceData(tf.constant(images.train.images), tf.constant(images.validation.images))


def image_order(images: int, seed: int, configuration: int, epoch: int) -> NDArray[np.int32]:
    """The order in which an epoch of a configuration sees the images.

    It depends on nothing else, so it survives a crash, a promotion and another process.

    Returns:
        A permutation of range(images).
    """
    return np.random.default_rng([seed, configuration, epoch]).permutation(images).astype(np.int32)


class EpochRunner:
    """Trains and validates one compiled VAE, an epoch at a time.

    Args:
        vae: A compiled model whose optimizer is built.
        data: The images.
        batch_size: Images a step; the last batch of an epoch may be smaller.
    """

    def __init__(self, vae: VAE, data: DeviceData, batch_size: int) -> None:
        self._vae = vae
        self._batch_size = batch_size
        self._train_on = _compile_training(vae, data.train, batch_size)
        self._validate = _compile_validation(vae, data.validation)

    def train(self, order: NDArray[np.int32], on_progress: OnProgress | None = None) -> Losses:
        """Trains one epoch over the images in this order, (images,) of indices."""
        self._vae.reset_metrics()
        steps = -(-len(order) // self._batch_size)
        stride = -(-steps // CALLS_PER_EPOCH) * self._batch_size
        for start in range(0, len(order), stride):
            self._train_on(tf.constant(order[start : start + stride]))
            if on_progress:
                on_progress(min(1.0, (start + stride) / len(order)))
        return self._losses()

    def validate(self) -> Losses:
        """Measures the validation images at beta = 1; changes nothing in the model."""
        self._vae.reset_metrics()
        self._validate()
        return self._losses()

    def _losses(self) -> Losses:
        return Losses(**{metric.name: float(metric.result()) for metric in self._vae.metrics})


# Both are traced here, once a model: a `tf.function` that is made anew for each trial would be
# suspected, in a warning, of being traced again and again. The loops are written out, so that
# nothing depends on AutoGraph's reading of the source.


def _compile_training(vae: VAE, images: tf.Tensor, batch_size: int) -> Callable[[tf.Tensor], None]:
    def train_on(order: tf.Tensor) -> None:
        def step(start: tf.Tensor) -> tuple[tf.Tensor]:
            batch = tf.gather(images, order[start : start + batch_size])
            vae.train_step(_to_unit_interval(batch))
            return (start + batch_size,)

        tf.while_loop(lambda start: start < tf.size(order), step, (tf.constant(0),))

    # The indices have no fixed length: a shorter last call or batch is not traced again.
    return _compiled(train_on, tf.TensorSpec((None,), tf.int32))


def _compile_validation(vae: VAE, images: tf.Tensor) -> Callable[[], None]:
    def validate() -> None:
        def step(start: tf.Tensor) -> tuple[tf.Tensor]:
            vae.test_step(_to_unit_interval(images[start : start + VALIDATION_BATCH_SIZE]))
            return (start + VALIDATION_BATCH_SIZE,)

        tf.while_loop(lambda start: start < tf.shape(images)[0], step, (tf.constant(0),))

    return _compiled(validate)


def _compiled(function: Callable[..., None], *signature: tf.TensorSpec) -> Callable[..., None]:
    traced = tf.function(function, input_signature=signature, autograph=False)
    return traced.get_concrete_function()  # type: ignore[no-any-return]


def _to_unit_interval(batch: Any) -> tf.Tensor:
    if batch.dtype == tf.uint8:
        return tf.cast(batch, tf.float32) / 255.0
    return batch
