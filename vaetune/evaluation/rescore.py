"""Rescoring of trained weights on the validation images, with many samples of each posterior."""

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf

from vaetune.evaluation.likelihood import PerImage
from vaetune.training import (
    VALIDATION_BATCH_SIZE,
    EpochRunner,
    Feed,
    OnProgress,
    TrainedModel,
    feed_parts,
)

RunnerOf = Callable[..., EpochRunner]

Measure = Callable[..., tuple[tf.Tensor, ...]]

_RESCORING_STREAM = 2
"""Number that makes the samples independent of those of an evaluation with the same seed."""


@dataclass(frozen=True, eq=False)
class ImageLosses:
    """Losses of each validation image, in nats.

    Attributes:
        reconstruction: Mean reconstruction loss over the samples, (n,).
        kl: KL divergence, (n,).
    """

    reconstruction: PerImage
    kl: PerImage

    @property
    def negative_elbo(self) -> PerImage:
        """The sum of both losses, (n,)."""
        return self.reconstruction + self.kl


class Rescorer:
    """Measures weights on the validation images with many samples of each posterior.

    The noise of an image and a sample is the same for all models, so the score of a finalist does
    not depend on the other finalists. The noise does not cancel in the difference of two models,
    because their latent axes are unrelated. The standard error of the difference includes this
    noise, because it is computed over images, and the noise of two images is independent.

    Args:
        runner_of: Function from a configuration and a likelihood to their runner.
        images: Validation images, (n, height, width, channels), on the device or on the disk.
    """

    def __init__(self, runner_of: RunnerOf, images: Feed) -> None:
        self._images = images
        self._runner_of = runner_of
        self._compiled: WeakKeyDictionary[EpochRunner, Measure] = WeakKeyDictionary()

    def measure(
        self, model: TrainedModel, samples: int, seed: int, on_progress: OnProgress | None = None
    ) -> ImageLosses:
        """Returns the losses of a model. Afterwards, its runner holds the weights of this model.

        Args:
            model: The model.
            samples: Number of samples per image.
            seed: Random seed of the samples.
            on_progress: Function called with the completed share, in [0, 1]. It may raise.
        """
        runner = self._runner_of(model.hyperparameters, model.likelihood)
        runner.restore(model.weights)
        measure = self._compiled.get(runner)
        if measure is None:
            measure = self._compiled[runner] = runner.compile_rescoring(self._images)
        words = np.random.SeedSequence([seed, _RESCORING_STREAM]).generate_state(2)
        # 30 bits leave room in an int32 to add the numbers of images and samples.
        first, second = (int(word) & 0x3FFFFFFF for word in words)
        parts: list[tuple[PerImage, PerImage]] = []
        count = len(self._images)
        starts = range(0, count, VALIDATION_BATCH_SIZE)
        orders = [
            np.arange(start, min(start + VALIDATION_BATCH_SIZE, count), dtype=np.int32)
            for start in starts
        ]
        for start, fed in zip(starts, feed_parts(self._images, orders), strict=True):
            batch_seed = tf.constant([first + start, second], tf.int32)
            reconstruction, kl = measure(*fed, samples, batch_seed)
            parts.append((reconstruction.numpy(), kl.numpy()))
            if on_progress:
                on_progress(min(1.0, (start + VALIDATION_BATCH_SIZE) / count))
        return ImageLosses(*(np.concatenate(each) for each in zip(*parts, strict=True)))
