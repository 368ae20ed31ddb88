"""Trained weights measured again on the validation images, by many samples of each posterior."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from vaetune.evaluation.likelihood import PerImage
from vaetune.study import Arrays
from vaetune.training import VALIDATION_BATCH_SIZE, EpochRunner, OnProgress, to_unit_interval

_RESCORING = 2
"""Goes with the seed of the search: other samples than those of an evaluation."""


@dataclass(frozen=True, eq=False)
class ImageLosses:
    """Losses of each validation image, nats, (n,)."""

    reconstruction: PerImage
    kl: PerImage

    @property
    def negative_elbo(self) -> PerImage:
        return self.reconstruction + self.kl


class Rescorer:
    """Measures weights on the validation images by many samples of each posterior.

    The noise of an image and a sample is the same for every model, so a finalist's rescored loss
    does not depend on the other finalists. It does not cancel in a difference: the axes of two
    latent spaces are unrelated. The standard error of a difference is over images, whose noise is
    independent, and includes it.

    Args:
        runner: Trained the models; what it compiled serves all of them.
        images: The validation images on the device.
    """

    def __init__(self, runner: EpochRunner, images: tf.Tensor) -> None:
        self._images = int(images.shape[0])
        self._runner = runner
        self._measure = _compile(runner, images)

    def measure(
        self, weights: Arrays, samples: int, seed: int, on_progress: OnProgress | None = None
    ) -> ImageLosses:
        """Measures a model; that of the runner is another one afterwards.

        Args:
            weights: Weights of the model.
            samples: Number of posterior samples per image.
            seed: Random seed of the samples.
            on_progress: Called with the share of the images that is done; may raise.
        """
        self._runner.restore(weights)
        words = np.random.SeedSequence([seed, _RESCORING]).generate_state(2)
        first, second = (int(word) & 0x3FFFFFFF for word in words)  # what is added fits too
        parts: list[tuple[PerImage, PerImage]] = []
        for start in range(0, self._images, VALIDATION_BATCH_SIZE):
            of_batch = tf.constant([first + start, second], tf.int32)
            reconstruction, kl = self._measure(start, samples, of_batch)
            parts.append((reconstruction.numpy(), kl.numpy()))
            if on_progress:
                on_progress(min(1.0, (start + VALIDATION_BATCH_SIZE) / self._images))
        return ImageLosses(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _compile(runner: EpochRunner, images: tf.Tensor) -> Callable[..., tuple[tf.Tensor, ...]]:
    def measure(
        start: tf.Tensor, samples: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        batch = images[start : start + VALIDATION_BATCH_SIZE]
        return runner.steps.rescore(to_unit_interval(batch), samples, seed)

    number, pair = tf.TensorSpec((), tf.int32), tf.TensorSpec((2,), tf.int32)
    return tf.function(  # type: ignore[no-any-return]
        measure, input_signature=(number, number, pair), autograph=False
    ).get_concrete_function()
