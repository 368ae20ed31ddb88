"""Epochs of a VAE: the order of the images, one compiled call for many steps, validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.checkpoint import Arrays
from vaetune.data import ImageSet
from vaetune.model import VAE
from vaetune.spec import Precision
from vaetune.steps import Steps

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
    """Trains and validates a model of one image shape, an epoch at a time.

    What it compiles serves the models of all configurations in turn: see `steps`.

    Args:
        template: A compiled model of any configuration; its weights are not used.
        data: The images.
        batch_size: Images a step; the last batch of an epoch may be smaller.
        precision: Of training; validation and pictures are in float32, as an export is.
    """

    def __init__(
        self,
        template: VAE,
        data: DeviceData,
        batch_size: int,
        precision: Precision = "float32",
    ) -> None:
        self._batch_size = batch_size
        self._beta = template.beta
        self._validation_images = int(data.validation.shape[0])
        steps = Steps(template, precision)
        self._state = steps.state
        self._train_on = _compile_training(steps, data.train, batch_size)
        self._validate = _compile_validation(steps, data.validation)
        images = tf.TensorSpec((None, *template.image_shape), tf.float32)
        self._encode = _compiled(steps.encode, images)
        self._decode = _compiled(steps.decode, tf.TensorSpec((None, None), tf.float32))

    def begin(self, weights: Arrays, learning_rate: float) -> None:
        """Begins to train a new model: see `steps.State.begin`."""
        self._state.begin(weights, learning_rate)

    def restore(self, weights: Arrays, optimizer: Arrays | None = None) -> None:
        """Goes on with another model: see `steps.State.restore`."""
        self._state.restore(weights, optimizer)

    def read(self) -> tuple[Arrays, Arrays]:
        """Copies the variables of the model and those of its optimizer."""
        return self._state.read()

    def train(self, order: NDArray[np.int32], on_progress: OnProgress | None = None) -> Losses:
        """Trains one epoch over the images in this order, (images,) of indices."""
        steps = -(-len(order) // self._batch_size)
        stride = -(-steps // CALLS_PER_EPOCH) * self._batch_size
        sums = np.zeros(2)
        for start in range(0, len(order), stride):
            sums += np.array(self._train_on(tf.constant(order[start : start + stride])))
            if on_progress:
                on_progress(min(1.0, (start + stride) / len(order)))
        return _means(sums, len(order), self._beta)

    def validate(self) -> Losses:
        """Measures the validation images at beta = 1; changes nothing in the model."""
        return _means(np.array(self._validate()), self._validation_images, beta=1.0)

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latent means (n, latent_dim) of images (n, height, width, channels) in [0, 1]."""
        return np.asarray(self._encode(tf.constant(images)))

    def decode(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixel probabilities (n, height, width, channels) of latent vectors (n, latent_dim)."""
        return np.asarray(self._decode(tf.constant(z)))


def _means(sums: NDArray[np.float64], images: int, beta: float) -> Losses:
    reconstruction, kl = sums / images
    return Losses(float(reconstruction + beta * kl), float(reconstruction), float(kl))


# The loops are written out, so that nothing depends on AutoGraph's reading of the source.


def _compile_training(steps: Steps, images: tf.Tensor, batch_size: int) -> Callable[..., Any]:
    def train_on(order: tf.Tensor) -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = tf.gather(images, order[start : start + batch_size])
            return (start + batch_size, *_added(sums, steps.train(to_unit_interval(batch))))

        return _loop(step, tf.size(order))

    # The indices have no fixed length: a shorter last call or batch is not traced again.
    return _compiled(train_on, tf.TensorSpec((None,), tf.int32))


def _compile_validation(steps: Steps, images: tf.Tensor) -> Callable[..., Any]:
    def validate() -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = to_unit_interval(images[start : start + VALIDATION_BATCH_SIZE])
            return (start + VALIDATION_BATCH_SIZE, *_added(sums, steps.validate(batch, start)))

        return _loop(step, tf.shape(images)[0])

    return _compiled(validate)


def _loop(step: Callable[..., tuple[tf.Tensor, ...]], end: tf.Tensor) -> Sequence[tf.Tensor]:
    """Runs steps from 0 to the end; returns the sums of both losses over the images."""
    nothing = (tf.constant(0.0, tf.float64),) * 2
    sums: Sequence[tf.Tensor]
    _, *sums = tf.while_loop(lambda start, *_: start < end, step, (tf.constant(0), *nothing))
    return sums


def _added(sums: Sequence[tf.Tensor], losses: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    pairs = zip(sums, losses, strict=True)
    return [total + tf.reduce_sum(tf.cast(per_image, tf.float64)) for total, per_image in pairs]


def _compiled(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
    return tf.function(  # type: ignore[no-any-return]
        function, input_signature=signature, autograph=False
    ).get_concrete_function()


def to_unit_interval(batch: Any) -> tf.Tensor:
    """Images on the device as float32 in [0, 1]; see `data.to_unit_interval`."""
    if batch.dtype == tf.uint8:
        return tf.cast(batch, tf.float32) / 255.0
    return batch
