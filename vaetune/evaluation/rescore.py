"""Rescoring of trained weights on the validation images, with many samples of each posterior."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import DiskImages, ImageSet, to_pixels, to_unit_interval
from vaetune.evaluation.likelihood import PerImage
from vaetune.study import RECONSTRUCTIONS, WorstImages
from vaetune.training import (
    VALIDATION_BATCH_SIZE,
    Effort,
    EpochRunner,
    Feed,
    OnProgress,
    TrainedModel,
    TrainingContext,
    feed_parts,
    measure_use,
)

RunnerOf = Callable[..., EpochRunner]

Measure = Callable[..., tuple[tf.Tensor, ...]]

_CHUNK_VALUES = 2**21
"""Pixel values for which an entropy is computed at a time, to limit memory."""

_TINY = 1e-12
"""Distance to 0 and 1 that keeps logarithms finite."""

_RESCORING_STREAM = 2
"""Number that makes the samples independent of those of an evaluation with the same seed."""


@dataclass(frozen=True, eq=False)
class ImageLosses:
    """Losses of each validation image, in nats.

    Attributes:
        reconstruction: Mean reconstruction loss over the samples, (n,).
        kl: KL divergence, (n,).
        worst: Images that the model reconstructs worst; None if they were not collected.
        use: Numbers with the value of another measure as their mean, see `measure_use`; None if
            the model asks for none.
    """

    reconstruction: PerImage
    kl: PerImage
    worst: WorstImages | None = None
    use: PerImage | None = None

    @property
    def mean_use(self) -> float | None:
        """Value of the other measure."""
        return None if self.use is None else float(self.use.mean())

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
        image_set: The image set, for other measures than the losses; None if there are none.
    """

    def __init__(
        self, runner_of: RunnerOf, images: Feed, image_set: ImageSet | None = None
    ) -> None:
        self._images = images
        self._image_set = image_set
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
        losses, kl = (np.concatenate(each) for each in zip(*parts, strict=True))
        use = None
        if self._image_set and model.chosen_by:
            effort = Effort(train_images=None, samples=samples)
            use = measure_use(model.chosen_by, runner, self._image_set, effort)
        return ImageLosses(losses, kl, self._find_worst(runner, model, losses), use)

    def _find_worst(
        self, runner: EpochRunner, model: TrainedModel, losses: PerImage
    ) -> WorstImages:
        """Reconstructs the images with the largest losses, through the posterior means.

        A grey pixel has an entropy that no model can avoid, see `entropy_floor`. For the Bernoulli
        likelihood it is subtracted, or else the images with the most grey pixels were the worst.
        """
        is_bernoulli = model.likelihood == "bernoulli"
        excess = losses - self._entropies if is_bernoulli else losses
        order = np.argsort(-excess, kind="stable")[:RECONSTRUCTIONS]
        originals = self._take(order)
        pixels = runner.reconstruct(to_unit_interval(originals))
        return WorstImages(to_pixels(originals), to_pixels(pixels), excess[order])

    def _take(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """Returns some images, as they are stored."""
        images = self._images
        return (
            images[places] if isinstance(images, DiskImages) else tf.gather(images, places).numpy()
        )

    @cached_property
    def _entropies(self) -> PerImage:
        """Entropy of the pixels of each image, in nats."""
        count = len(self._images)
        step = max(1, _CHUNK_VALUES // math.prod(self._images.shape[1:]))
        starts = range(0, count, step)
        return np.concatenate([_entropy(np.asarray(self._images[s : s + step])) for s in starts])


def rescorer_of(context: TrainingContext) -> Rescorer:
    """Returns a rescorer of the models that are trained in a context.

    Args:
        context: The images on the device and the compiled steps.
    """
    return Rescorer(context.exact_runner, context.data.validation, context.images)


def _entropy(images: NDArray[Any]) -> PerImage:
    """Returns the entropy of the pixels of each image in nats, (n,).

    Args:
        images: Images, (n, height, width, channels), uint8 or float in [0, 1].
    """
    is_bytes = images.dtype == np.uint8
    levels = np.arange(256, dtype=np.uint8) if is_bytes else images
    x = np.clip(to_unit_interval(levels).astype(np.float64), _TINY, 1 - _TINY)
    entropy = -x * np.log(x) - (1 - x) * np.log1p(-x)
    pixels = entropy[images] if is_bytes else entropy
    total: PerImage = pixels.reshape(len(images), -1).sum(axis=1)
    return total
