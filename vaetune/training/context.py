"""The images on the device of a process, and the functions compiled for them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import (
    LIKELIHOODS,
    MAX_PROGRAMS,
    Likelihood,
    Precision,
    SearchSpec,
    value_of,
)
from vaetune.data import DiskImages, ImageSet, to_unit_interval
from vaetune.models import (
    DEFAULT_SPREAD,
    Architecture,
    Structure,
    build_template,
    draw_variables,
)
from vaetune.study import Arrays, ProbeImages
from vaetune.training.feed import DeviceData, first_images, put_on_device
from vaetune.training.padded.ahead import Compilation, compile_in_background
from vaetune.training.padded.plan import Program, program_of
from vaetune.training.padded.runner import PaddedRunner
from vaetune.training.restore import read_variables
from vaetune.training.runner import EpochRunner
from vaetune.training.schedule import OPTIONS, options_of
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
    _padded: dict[tuple[_RunnerKey, Architecture], PaddedRunner] = field(default_factory=dict)

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
        """Returns a runner that measures models of a configuration in float32."""
        runner = self.runner(hyperparameters, likelihood=likelihood)
        architecture = Architecture.of(self.images.image_shape, hyperparameters)
        key = _key(architecture, hyperparameters, "float32", likelihood)
        padded = [one for (known, _), one in self._padded.items() if known == key]
        prepared = (_prepared(one, architecture) for one in padded)
        return next((one for one in prepared if one), runner)

    def runner(
        self,
        hyperparameters: Mapping[str, Any],
        precision: Precision = "float32",
        likelihood: Likelihood = "bernoulli",
        program: Program | None = None,
    ) -> EpochRunner:
        """Returns the runner of a configuration's structure, ready for its models.

        Only the `MAX_RUNNERS` structures that were used last are kept, besides compiled programs.

        Args:
            hyperparameters: The configuration.
            precision: Numeric precision of training.
            likelihood: Likelihood of the pixels.
            program: Program that trains the configuration. None: steps are not compiled.
        """
        architecture = Architecture.of(self.images.image_shape, hyperparameters)
        key = _key(architecture, hyperparameters, precision, likelihood)
        runner = self._runner(key, hyperparameters)
        if program is None:
            return runner
        wide = Architecture.of(self.images.image_shape, program.widest)
        padded = self._padded.get((key, wide))
        if not self._has_or_compiles(program, padded):
            return runner
        if padded is None:
            padded = self._padded[key, wide] = self._pad(key, wide, program, runner)
        return _prepared(padded, architecture) or runner

    def training_runner(
        self,
        spec: SearchSpec,
        hyperparameters: Mapping[str, Any],
        programs_of: SearchSpec | None = None,
    ) -> EpochRunner:
        """Returns the runner that trains a configuration of a search, ready for its models.

        With the first program of a search, all others are compiled in the background, if there
        is room for them all.

        Args:
            spec: The search.
            hyperparameters: The configuration.
            programs_of: Another search whose program trains the configuration. Its other programs
                may not be needed, so they are not compiled.
        """
        runner, new = self._program_of(spec, hyperparameters, programs_of)
        if new:
            if programs_of is None:
                new += self._further_programs(spec)
            compile_in_background(new)
            runner, _ = self._program_of(spec, hyperparameters, programs_of)
        return runner

    def _further_programs(self, spec: SearchSpec) -> list[Compilation]:
        """Returns the compilations of the other programs of a search; none without room for all."""
        compiled = sum(len(one.batch_sizes) for one in self._padded.values())
        is_known = not set(OPTIONS) & set(spec.space.searched())
        if not is_known or compiled - 1 + spec.space.programs() > MAX_PROGRAMS:
            return []
        examples = spec.space.program_examples()
        return [new for example in examples for new in self._program_of(spec, example)[1]]

    def _program_of(
        self,
        spec: SearchSpec,
        hyperparameters: Mapping[str, Any],
        programs_of: SearchSpec | None = None,
    ) -> tuple[EpochRunner, list[Compilation]]:
        """Returns the runner that trains a configuration, and new compilations for it."""
        program = program_of(spec, hyperparameters, len(self.images.train), programs_of)
        likelihood = spec.data.likelihood
        runner = self.runner(hyperparameters, spec.training.precision, likelihood, program)
        if program is None or not isinstance(runner, PaddedRunner):
            return runner, []
        return runner, runner.prepare(program.batch_size)

    def _runner(self, key: _RunnerKey, hyperparameters: Mapping[str, Any]) -> EpochRunner:
        """Returns the runner of a structure that trains without a program."""
        _, options, precision, likelihood = key
        shape = self.images.image_shape
        runner = self._runners.pop(key, None)
        if runner is None:
            while len(self._runners) >= MAX_RUNNERS:
                del self._runners[next(iter(self._runners))]
            narrow = {**hyperparameters, **_narrow(hyperparameters)}
            template = build_template(shape, narrow, likelihood)
            runner = EpochRunner(template, self.data, precision, options)
        self._runners[key] = runner  # The last entry is the one that was used last.
        return runner

    def _has_or_compiles(self, program: Program, padded: PaddedRunner | None) -> bool:
        """Returns whether a program was compiled, or is worth it."""
        if padded is not None and program.batch_size in padded.batch_sizes:
            return True
        is_in_memory = not isinstance(self.data.train, DiskImages)
        compiled = sum(len(one.batch_sizes) for one in self._padded.values())
        return program.pays and is_in_memory and compiled < MAX_PROGRAMS

    def _pad(
        self, key: _RunnerKey, wide: Architecture, program: Program, unpadded: EpochRunner
    ) -> PaddedRunner:
        _, options, precision, likelihood = key
        template = build_template(self.images.image_shape, program.widest, likelihood)
        return PaddedRunner(wide, template, unpadded, self.data, precision, options)


def _key(
    architecture: Architecture,
    hyperparameters: Mapping[str, Any],
    precision: Precision,
    likelihood: Likelihood,
) -> _RunnerKey:
    return (architecture.structure, options_of(hyperparameters), precision, likelihood)


def _prepared(padded: PaddedRunner | None, architecture: Architecture) -> PaddedRunner | None:
    """Returns a padded runner, ready for models of an architecture; None if they do not fit."""
    if padded is None or not padded.holds(architecture):
        return None
    padded.use(architecture)
    return padded


def _narrow(hyperparameters: Mapping[str, Any]) -> dict[str, int]:
    """Returns small widths, so that templates take little memory."""
    return {name: width for name, width in _NARROW.items() if name in hyperparameters}
