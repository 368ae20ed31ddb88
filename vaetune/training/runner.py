"""Epochs of a VAE: the order of the images, one compiled call for many steps, validation."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.config import Precision
from vaetune.data import ALIGNMENT, ImageSet
from vaetune.models import VAE
from vaetune.study import Arrays
from vaetune.training.schedule import Epoch
from vaetune.training.steps import Steps

VALIDATION_BATCH_SIZE = 250
"""Fixed, since the posterior noise of validation depends on it: every trial draws the same."""

CALLS_PER_EPOCH = 10
"""An epoch is this many compiled calls, so that progress moves and Ctrl-C is heard between."""

OnProgress = Callable[[float], None]
"""Called with the share of some work that is done."""


@dataclass(frozen=True)
class EpochLosses:
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
        draws_pixels: Whether each step draws a pixel as 1 with the probability that is its
            value, else 0.
    """

    train: tf.Tensor
    validation: tf.Tensor
    draws_pixels: bool = False


def put_on_device(images: ImageSet) -> DeviceData:
    """Brings training and validation images to the default device; never the test images.

    On the CPU images are not copied where their memory begins where TensorFlow wants it to: those
    of a folder are held once.
    """
    return DeviceData(
        _to_tensor(images.train.images),
        _to_tensor(images.validation.images),
        images.binarize == "stochastic",
    )


def _to_tensor(images: NDArray[Any]) -> tf.Tensor:
    is_aligned = images.ctypes.data % ALIGNMENT == 0 and images.flags.c_contiguous
    if not is_aligned or not images.flags.writeable or tf.config.list_logical_devices("GPU"):
        return tf.constant(images)
    return tf.experimental.dlpack.from_dlpack(images.__dlpack__())


class EpochRunner:
    """Trains and validates a model of one image shape, an epoch at a time.

    What it compiles serves the models of all configurations in turn: see `steps`.

    Args:
        template: A compiled model of any configuration; its weights are not used.
        data: The images.
        precision: Precision of training. Validation and pictures use float32, as exports do.
    """

    def __init__(self, template: VAE, data: DeviceData, precision: Precision = "float32") -> None:
        self._validation_images = int(data.validation.shape[0])
        self.steps = steps = Steps(template, precision)
        self._state = steps.state
        self._train_on = _compile_training(steps, data)
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

    def train(self, epoch: Epoch) -> EpochLosses:
        """Trains one epoch."""
        parts = self.train_in_parts(epoch)
        while True:
            try:
                next(parts)
            except StopIteration as done:
                losses: EpochLosses = done.value
                return losses

    def train_in_parts(self, epoch: Epoch) -> Generator[float, None, EpochLosses]:
        """Trains one epoch; yields the share of its steps that are done."""
        order, batch_size = epoch.order, epoch.batch_size
        steps = -(-len(order) // batch_size)
        stride = -(-steps // CALLS_PER_EPOCH) * batch_size
        sums = np.zeros(2)
        for start in range(0, len(order), stride):
            if epoch.learning_rate:
                self._state.set_learning_rate(epoch.learning_rate(start / len(order)))
            seed = tf.constant([epoch.noise_seed, start], tf.int32)
            part = tf.constant(order[start : start + stride])
            sums += np.array(self._train_on(part, batch_size, epoch.beta, seed))
            yield min(1.0, (start + stride) / len(order))
        return _means(sums, len(order), epoch.beta)

    def validate(self) -> EpochLosses:
        """Measures the validation images at beta = 1; changes nothing in the model."""
        return _means(np.array(self._validate()), self._validation_images, beta=1.0)

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latent means (n, latent_dim) of images (n, height, width, channels) in [0, 1]."""
        return np.asarray(self._encode(tf.constant(images)))

    def decode(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixel probabilities (n, height, width, channels) of latent vectors (n, latent_dim)."""
        return np.asarray(self._decode(tf.constant(z)))


def _means(sums: NDArray[np.float64], images: int, beta: float) -> EpochLosses:
    reconstruction, kl = sums / images
    return EpochLosses(float(reconstruction + beta * kl), float(reconstruction), float(kl))


# The loops are written out, so that nothing depends on AutoGraph's reading of the source.
def _compile_training(steps: Steps, data: DeviceData) -> Callable[..., Any]:
    def train_on(
        order: tf.Tensor, batch_size: tf.Tensor, beta: tf.Tensor, seed: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = tf.gather(data.train, order[start : start + batch_size])
            images = to_unit_interval(batch)
            if data.draws_pixels:
                images = _draw_pixels(images, seed + tf.stack([0, start]))
            return (start + batch_size, *_added(sums, steps.train(images, beta)))

        return _loop(step, tf.size(order))

    # Nothing has a fixed length: neither a shorter last batch nor another size is traced again.
    return _compiled(
        train_on,
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((), tf.float32),
        tf.TensorSpec((2,), tf.int32),
    )


def _draw_pixels(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Pixels that are 1 with the probability that is their value in [0, 1], else 0."""
    limit = tf.random.stateless_uniform(tf.shape(images), seed=seed, alg="philox")
    return tf.cast(limit < images, tf.float32)


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
    # Not ten at once, as by default: that holds ten batches as floats and is no faster.
    _, *sums = tf.while_loop(
        lambda start, *_: start < end, step, (tf.constant(0), *nothing), parallel_iterations=1
    )
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
