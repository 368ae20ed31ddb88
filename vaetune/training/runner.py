"""Training and validation of a VAE by epochs, with many steps in each compiled call."""

from collections.abc import Callable, Generator, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.config import Precision
from vaetune.models import VAE, Architecture, perfect_logits
from vaetune.study import Arrays
from vaetune.training.feed import DeviceData, Feed, feed_parts, images_per_call, images_per_part
from vaetune.training.functions import (
    VALIDATION_BATCH_SIZE,
    compile_function,
    compile_rescoring,
    compile_training,
    compile_validation,
)
from vaetune.training.precision import onednn_bfloat16
from vaetune.training.schedule import Epoch
from vaetune.training.steps import Steps

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
        self.steps = self._make_steps(template, precision if has_gpu else "float32", options)
        self._state = self.steps.state

    def _make_steps(self, template: VAE, precision: Precision, options: Set[str]) -> Steps:
        return Steps(template, precision, options)

    def use(self, architecture: Architecture) -> None:
        """Prepares for the models of a configuration. All widths are the same here."""

    @property
    def is_compiling(self) -> bool:
        """Whether `begin` and `restore` wait for compilations. Here they never do."""
        return False

    def compile_rescoring(self, feed: Feed) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """Returns a function that calls `Steps.rescore` with some images of a feed.

        Its arguments are images, their order, the number of samples, and a random seed.

        Args:
            feed: The images that are measured.
        """
        return compile_rescoring(self.steps, feed)

    @cached_property
    def _train_on(self) -> Callable[..., Any]:
        return compile_training(self.steps, self._data)

    @cached_property
    def _validate(self) -> Callable[..., Any]:
        return compile_validation(self.steps, self._data.validation)

    @cached_property
    def _encode(self) -> Callable[..., Any]:
        return compile_function(self.steps.encode, self._images_spec)

    @cached_property
    def _rescore(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        specs = tf.TensorSpec((), tf.int32), tf.TensorSpec((2,), tf.int32)
        return compile_function(self.steps.rescore, self._images_spec, *specs)

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
        stride = images_per_part(self._data.train, len(order), batch_size)
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

    def losses_of_images(
        self, images: NDArray[np.float32], samples: int, seed: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the negative ELBO, and the lowest loss of any reconstruction, (n,) each in nats.

        A learned scale of pixels is that of a new model in the lowest loss, which is then nearly
        the same for all images.

        Args:
            images: Images, (n, height, width, channels) in [0, 1].
            samples: Posterior samples per image.
            seed: Random seed of the samples.
        """
        reconstruction, kl = self._rescore(tf.constant(images), samples, seed)
        best = perfect_logits(self._template.likelihood, images)
        targets = tf.constant(images, tf.float64)
        lowest = self._template.reconstruction_loss(targets, tf.constant(best))
        return np.asarray(reconstruction + kl), np.asarray(lowest)

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
