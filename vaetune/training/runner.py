"""Training and validation of a VAE by epochs, with many steps in each compiled call."""

from collections.abc import Callable, Generator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.config import Precision
from vaetune.data import ImageSet
from vaetune.models import VAE
from vaetune.study import Arrays
from vaetune.training.feed import Feed, feed_parts, images_per_call, to_feed
from vaetune.training.precision import onednn_bfloat16
from vaetune.training.schedule import Epoch, StepSettings
from vaetune.training.steps import Steps

VALIDATION_BATCH_SIZE = 250
"""Images per validation batch. It is fixed, because the posterior noise depends on it."""

CALLS_PER_EPOCH = 10
"""Compiled calls per epoch. Between two calls, progress is reported and Ctrl-C takes effect."""

OnProgress = Callable[[float], None]
"""Called with the completed share of some work, in [0, 1]."""


@dataclass(frozen=True)
class EpochLosses:
    """Mean losses of an epoch in nats per image.

    Attributes:
        loss: Loss that training minimises: reconstruction loss + beta * KL loss.
        reconstruction_loss: Negative log-likelihood of the pixels.
        kl_loss: KL divergence.
    """

    loss: float
    reconstruction_loss: float
    kl_loss: float


@dataclass(frozen=True, eq=False)
class DeviceData:
    """The images of a search on the device or on the disk, in their original type.

    Attributes:
        train: Training images, (n, height, width, channels), uint8 or float32.
        validation: Validation images, (n, height, width, channels), uint8 or float32.
        draws_pixels: Whether each training step replaces a pixel by 1 with a probability equal to
            its value, else by 0.
    """

    train: Feed
    validation: Feed
    draws_pixels: bool = False


def put_on_device(images: ImageSet) -> DeviceData:
    """Puts training and validation images on the default device, but not the test images.

    On the CPU, aligned arrays are not copied; see `data.zero_copy`. Therefore, images from a
    folder are in memory only once. Images on the disk stay there.
    """
    return DeviceData(
        to_feed(images.train.images),
        to_feed(images.validation.images),
        images.binarize == "stochastic",
    )


class EpochRunner:
    """Trains and validates models of one structure, one epoch at a time.

    The compiled functions work for the models of all configurations of the structure, one after
    the other; see `steps`. Each is compiled when it is first needed.

    Args:
        template: Compiled model of any configuration of the structure. Its weights are not used.
        data: Images on the device.
        precision: Numeric precision of training. Validation and pictures use float32, like an
            exported model.
        options: Names of `schedule.OPTIONS` that training uses.

    Attributes:
        steps: The training and validation step.
    """

    def __init__(
        self,
        template: VAE,
        data: DeviceData,
        precision: Precision = "float32",
        options: Set[str] = frozenset(),
    ) -> None:
        self._data = data
        self._template = template
        is_mixed, has_gpu = (
            precision == "mixed_bfloat16",
            bool(tf.config.list_logical_devices("GPU")),
        )
        self._uses_onednn = is_mixed and not has_gpu
        self.steps = Steps(template, precision if has_gpu else "float32", options)
        self._state = self.steps.state

    @cached_property
    def _train_on(self) -> Callable[..., Any]:
        return _compile_training(self.steps, self._data)

    @cached_property
    def _validate(self) -> Callable[..., Any]:
        return _compile_validation(self.steps, self._data.validation)

    @cached_property
    def _encode(self) -> Callable[..., Any]:
        return compile_function(self.steps.encode, self._images_spec)

    @cached_property
    def _encode_levels(self) -> Callable[..., Any]:
        return compile_function(self.steps.encode_levels, self._images_spec)

    @cached_property
    def _decode(self) -> Callable[..., Any]:
        return compile_function(self.steps.decode, tf.TensorSpec((None, None), tf.float32))

    @cached_property
    def _reconstruct(self) -> Callable[..., Any]:
        return compile_function(self.steps.reconstruct, self._images_spec)

    @cached_property
    def _generate(self) -> Callable[..., Any]:
        specs = (tf.TensorSpec((None, None), tf.float32), tf.TensorSpec((), tf.int32))
        return compile_function(self.steps.generate, *specs)

    @property
    def _images_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec((None, *self._template.image_shape), tf.float32)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters of the current model."""
        return sum(int(tf.size(variable.read_value())) for variable in self._state.trainable)

    def begin(self, weights: Arrays, learning_rate: float) -> None:
        """Switches to a new model with these initial weights; see `steps.State.begin`."""
        self._state.begin(weights, learning_rate)

    def restore(
        self, weights: Arrays, optimizer: Arrays | None = None, average: Arrays = ()
    ) -> None:
        """Switches to a partly trained model; see `steps.State.restore`."""
        self._state.restore(weights, optimizer, average)

    def read(self) -> tuple[Arrays, Arrays]:
        """Returns copies of the variables of the model and of its optimizer."""
        return self._state.read()

    def read_average(self) -> Arrays:
        """Returns copies of the averages of the variables."""
        return self._state.read_average()

    def train(self, epoch: Epoch) -> EpochLosses:
        """Trains one epoch and returns its losses."""
        parts = self.train_in_parts(epoch)
        while True:
            try:
                next(parts)
            except StopIteration as done:
                losses: EpochLosses = done.value
                return losses

    def train_in_parts(self, epoch: Epoch) -> Generator[float, None, EpochLosses]:
        """Trains one epoch, yields the completed share of its steps, and returns its losses."""
        order, batch_size = epoch.order, epoch.batch_size
        steps = -(-len(order) // batch_size)
        stride = -(-steps // CALLS_PER_EPOCH) * batch_size
        stride = min(stride, images_per_call(self._data.train, batch_size))
        starts = range(0, len(order), stride)
        parts = [order[start : start + stride] for start in starts]
        sums, settings = np.zeros(2), tf.constant(epoch.settings, tf.float32)
        for start, fed in zip(starts, feed_parts(self._data.train, parts), strict=True):
            if epoch.learning_rate:
                self._state.set_learning_rate(epoch.learning_rate(start / len(order)))
            seed = tf.constant([epoch.noise_seed, start], tf.int32)
            with onednn_bfloat16(self._uses_onednn):
                sums += np.array(self._train_on(*fed, batch_size, settings, seed))
            yield min(1.0, (start + stride) / len(order))
        if not epoch.settings.weight_average:
            self._state.copy_to_average()
        return _means(sums, len(order), epoch.settings.beta)

    def validate(self) -> EpochLosses:
        """Returns the losses of the validation images with beta = 1. The model does not change."""
        images = self._data.validation
        count, stride = len(images), images_per_call(images, VALIDATION_BATCH_SIZE)
        starts = range(0, count, stride)
        parts = [np.arange(s, min(s + stride, count), dtype=np.int32) for s in starts]
        sums = (tf.constant(0.0, tf.float64),) * 2
        for start, fed in zip(starts, feed_parts(images, parts), strict=True):
            sums = self._validate(*fed, start, *sums)
        return _means(np.array(sums), count, beta=1.0)

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns latent means (n, latent_dim) of images (n, height, width, channels) in [0, 1]."""
        return np.asarray(self._encode(tf.constant(images)))

    def encode_levels(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns latent means of all levels, (n, units), of images in [0, 1]."""
        if not self._template.level_shapes:
            return self.encode(images)
        return np.asarray(self._encode_levels(tf.constant(images)))

    def decode(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns pixel probabilities (n, height, width, channels) of z (n, latent_dim)."""
        return np.asarray(self._decode(tf.constant(z)))

    def reconstruct(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reconstructs images (n, height, width, channels) through the means of all levels."""
        if not self._template.level_shapes:
            return self.decode(self.encode(images))
        return np.asarray(self._reconstruct(tf.constant(images)))

    def generate(self, z: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        """Returns pixel probabilities of z (n, latent_dim) and drawn lower levels."""
        if not self._template.level_shapes:
            return self.decode(z)
        return np.asarray(self._generate(tf.constant(z), seed))


def _means(sums: NDArray[np.float64], images: int, beta: float) -> EpochLosses:
    reconstruction, kl = sums / images
    return EpochLosses(float(reconstruction + beta * kl), float(reconstruction), float(kl))


# The loops call tf.while_loop themselves, so that nothing depends on AutoGraph.
def _compile_training(steps: Steps, data: DeviceData) -> Callable[..., Any]:
    def train_on(
        images: tf.Tensor,
        order: tf.Tensor,
        batch_size: tf.Tensor,
        settings: tf.Tensor,
        seed: tf.Tensor,
    ) -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = to_unit_tensor(tf.gather(images, order[start : start + batch_size]))
            if data.draws_pixels:
                batch = _draw_pixels(batch, seed + tf.stack([0, start]))
            return (start + batch_size, *_add_losses(sums, steps.train(batch, settings)))

        return _loop(step, tf.size(order))

    # No length is fixed, so a shorter last batch or another batch size needs no new tracing.
    return compile_function(
        train_on,
        images_spec(data.train),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((len(StepSettings._fields),), tf.float32),
        tf.TensorSpec((2,), tf.int32),
    )


def _draw_pixels(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns pixels that are 1 with a probability equal to their value in [0, 1], else 0."""
    threshold = tf.random.stateless_uniform(tf.shape(images), seed=seed, alg="philox")
    return tf.cast(threshold < images, tf.float32)


def _compile_validation(steps: Steps, feed: Feed) -> Callable[..., Any]:
    def validate(
        images: tf.Tensor, order: tf.Tensor, seen: tf.Tensor, *sums: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = tf.gather(images, order[start : start + VALIDATION_BATCH_SIZE])
            losses = steps.validate(to_unit_tensor(batch), seen + start)
            return (start + VALIDATION_BATCH_SIZE, *_add_losses(sums, losses))

        return _loop(step, tf.size(order), sums)

    return compile_function(
        validate,
        images_spec(feed),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((), tf.int32),
        *(tf.TensorSpec((), tf.float64),) * 2,
    )


def _loop(
    step: Callable[..., tuple[tf.Tensor, ...]], end: tf.Tensor, before: Sequence[tf.Tensor] = ()
) -> Sequence[tf.Tensor]:
    """Runs steps from 0 to the end, and returns the sums of both losses over the images.

    Args:
        step: Function from the start of a batch and the sums to the next start and sums.
        end: Number of images.
        before: Sums of earlier images. Default: zeros.
    """
    first = before or (tf.constant(0.0, tf.float64),) * 2
    sums: Sequence[tf.Tensor]
    # By default, ten iterations run in parallel. That keeps ten batches as floats in memory and
    # is not faster.
    _, *sums = tf.while_loop(
        lambda start, *_: start < end, step, (tf.constant(0), *first), parallel_iterations=1
    )
    return sums


def _add_losses(sums: Sequence[tf.Tensor], losses: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    pairs = zip(sums, losses, strict=True)
    return [total + tf.reduce_sum(tf.cast(per_image, tf.float64)) for total, per_image in pairs]


def compile_function(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
    """Returns a function compiled once for a signature. It is never traced again."""
    return tf.function(  # type: ignore[no-any-return]
        function, input_signature=signature, autograph=False
    ).get_concrete_function()


def images_spec(feed: Feed) -> tf.TensorSpec:
    """Returns the signature of any number of images of a feed."""
    return tf.TensorSpec((None, *feed.shape[1:]), feed.dtype)


def to_unit_tensor(batch: Any) -> tf.Tensor:
    """Returns a tensor of images as float32 in [0, 1]; see `data.to_unit_interval`."""
    if batch.dtype == tf.uint8:
        return tf.cast(batch, tf.float32) / 255.0
    return batch
