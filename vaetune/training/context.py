"""The images on the device of a process, and the functions compiled for them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import LIKELIHOODS, Likelihood, Precision, value_of
from vaetune.data import ImageSet, to_unit_interval
from vaetune.models import (
    DEFAULT_SPREAD,
    Architecture,
    Structure,
    build_vae,
    draw_variables,
)
from vaetune.study import Arrays, ProbeImages
from vaetune.training.feed import first_images
from vaetune.training.restore import read_variables
from vaetune.training.runner import DeviceData, EpochRunner, put_on_device
from vaetune.training.schedule import options_of
from vaetune.training.snapshot import choose_probe_images

MAX_RUNNERS = 8
"""Structures whose compiled functions are kept in memory."""

_MEAN_IMAGES = 10_000
"""Number of images, spread over all, that the mean pixel is taken of, at most."""

_PART_IMAGES = 100
"""Number of images that are floats at the same time for the mean pixel."""

_RunnerKey = tuple[Structure, frozenset[str], Precision, Likelihood]

_NARROW = {"filters_1": 4, "filters_2": 4, "dense_units": 4, "latent_dim": 2, "level_channels": 2}


@dataclass(frozen=True, eq=False)
class TrainingContext:
    """The images on the device of a process, and the functions compiled for them.

    Attributes:
        images: The image set. Its test images are not used.
        validation_images: Number of validation images to measure. None: all.
    """

    images: ImageSet
    validation_images: int | None = None
    _runners: dict[_RunnerKey, EpochRunner] = field(default_factory=dict)

    @cached_property
    def data(self) -> DeviceData:
        """The images on the device."""
        data = put_on_device(self.images)
        if self.validation_images is None:
            return data
        return replace(data, validation=first_images(data.validation, self.validation_images))

    @cached_property
    def probe_images(self) -> ProbeImages:
        """The validation images that the pictures of every model show."""
        return choose_probe_images(self.images.validation.images, self.images.validation.labels)

    @property
    def pixel_means(self) -> tuple[float, ...]:
        """Mean pixel of the training images in [0, 1], of each channel."""
        means, _ = self._pixel_moments
        return tuple(means.tolist())

    @property
    def pixel_spread(self) -> float:
        """Standard deviation of the training images' pixels from the mean of their channel."""
        means, squares = self._pixel_moments
        return float(np.sqrt((squares - means**2).mean()))

    @cached_property
    def _pixel_moments(self) -> NDArray[np.float64]:
        """Mean pixel and mean squared pixel of each channel, (2, channels).

        A few images at a time are floats, so that images of any size need little memory.
        """
        images = self.images.train.images
        step = -(-len(images) // _MEAN_IMAGES)
        chosen = np.arange(0, len(images), step)
        sums = np.zeros((2, images.shape[-1]))
        for start in range(0, len(chosen), _PART_IMAGES):
            part = to_unit_interval(images[chosen[start : start + _PART_IMAGES]])
            pixels = part.reshape(-1, part.shape[-1]).astype(np.float64)
            sums += [pixels.sum(axis=0), np.square(pixels).sum(axis=0)]
        return sums / (len(chosen) * math.prod(images.shape[1:3]))

    def draw_weights(self, hyperparameters: Mapping[str, Any], likelihood: Likelihood) -> Arrays:
        """Returns the variables of a new model, drawn from Keras's random numbers.

        The training images are looked at only if something starts from them.
        """
        starts_at_mean = value_of(hyperparameters, "output_bias") == "mean"
        means = self.pixel_means if starts_at_mean else ()
        spread = self.pixel_spread if LIKELIHOODS[likelihood].scale else DEFAULT_SPREAD
        shape = self.images.image_shape
        return read_variables(draw_variables(shape, hyperparameters, means, likelihood, spread))

    def exact_runner(
        self, hyperparameters: Mapping[str, Any], likelihood: Likelihood
    ) -> EpochRunner:
        """Returns the runner of a configuration's structure that trains in float32."""
        return self.runner(hyperparameters, likelihood=likelihood)

    def runner(
        self,
        hyperparameters: Mapping[str, Any],
        precision: Precision = "float32",
        likelihood: Likelihood = "bernoulli",
    ) -> EpochRunner:
        """Returns the runner of a configuration's structure.

        Only the `MAX_RUNNERS` structures that were used last are kept.

        Args:
            hyperparameters: The configuration. Its widths do not matter.
            precision: Numeric precision of training.
            likelihood: Likelihood of the pixels.
        """
        shape = self.images.image_shape
        options = options_of(hyperparameters)
        structure = Architecture.of(shape, hyperparameters).structure
        key = (structure, options, precision, likelihood)
        runner = self._runners.pop(key, None)
        if runner is None:
            while len(self._runners) >= MAX_RUNNERS:
                del self._runners[next(iter(self._runners))]
            narrow = {**hyperparameters, **_narrow(hyperparameters)}
            template = build_vae(shape, narrow, likelihood)
            runner = EpochRunner(template, self.data, precision, options)
        self._runners[key] = runner  # The last entry is the one that was used last.
        return runner


def _narrow(hyperparameters: Mapping[str, Any]) -> dict[str, int]:
    """Returns small widths, so that templates take little memory."""
    return {name: width for name, width in _NARROW.items() if name in hyperparameters}
