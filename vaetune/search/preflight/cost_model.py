"""Predicts the duration of trials on this machine from a few measured steps.

The model of a training step: a fixed time, and for each image a time that is linear in the
multiplications of the layers and in the values that they write. The three rates are fitted to
measured steps. If several structures were measured, each has a factor too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import nnls

from vaetune.config import Value, structure_of
from vaetune.models import Architecture

Hyperparameters = Mapping[str, Value]

ImageShape = tuple[int, int, int]

Structure = tuple[tuple[str, Value], ...]
"""The structural hyperparameters of a model, as a key."""


@dataclass(frozen=True)
class Size:
    """Size of a configuration.

    Attributes:
        multiplications: Multiplications of all layers, for the forward pass of one image.
        activations: Values that all layers write, for one image.
        parameters: Number of parameters, with the statistics of batch normalizations.
    """

    multiplications: int
    activations: int
    parameters: int


@dataclass(frozen=True)
class Timing:
    """Measured durations for a configuration.

    Attributes:
        hyperparameters: The configuration.
        batch_size: Images per step.
        step_s: Duration of a training step, in seconds.
        validation_s: Duration of the validation per image, in seconds.
        overhead_s: Duration of everything in a trial except its epochs, in seconds: drawing
            weights, writing the checkpoint and the artifacts.
        tracing_s: Duration of preparing the compiled steps of its structure, in seconds; 0 if they
            were prepared already.
        objective_s: Duration of measuring the objective after an epoch, in seconds; None if it is
            the validation loss, or was not measured.
    """

    hyperparameters: Hyperparameters
    batch_size: int
    step_s: float
    validation_s: float
    overhead_s: float
    tracing_s: float = 0.0
    objective_s: float | None = None


@dataclass(frozen=True)
class DurationRange:
    """An estimated duration.

    Attributes:
        low: Seconds at best.
        middle: Seconds that are most likely.
        high: Seconds at worst.
    """

    low: float
    middle: float
    high: float

    def __add__(self, other: "DurationRange") -> "DurationRange":
        return DurationRange(
            self.low + other.low, self.middle + other.middle, self.high + other.high
        )


@dataclass(frozen=True)
class TrialGroup:
    """Trials with the same number of epochs, and the configurations they may be drawn from.

    Attributes:
        pool: The configurations.
        trials: Number of trials. If it is larger than the pool, the others are like the pool.
        epochs: Epochs that each trial trains, on average.
    """

    pool: Sequence[Hyperparameters]
    trials: int
    epochs: float


@dataclass(frozen=True)
class CostModel:
    """Predicts the duration of trials on this machine.

    Attributes:
        image_shape: Height, width and channels.
        train_images: Training images per epoch.
        validation_images: Validation images per epoch.
        batch_size: Images per step, for configurations without a batch size of their own.
        rates: Seconds per step, per multiplication and per activation.
        validation_share: Duration of the validation per image, relative to the training.
        overhead_s: Duration of everything in a trial except its epochs, in seconds.
        factors: Measured duration of a step relative to that of the rates, by structure. It is 1
            for a structure that is missing.
        objective_images: Training images that take as long as the objective after an epoch.
    """

    image_shape: ImageShape
    train_images: int
    validation_images: int
    batch_size: int
    rates: tuple[float, float, float]
    validation_share: float
    overhead_s: float
    factors: Mapping[Structure, float] = field(default_factory=dict)
    objective_images: float = 0.0

    def epoch_s(self, hyperparameters: Hyperparameters) -> float:
        """Returns the duration of one epoch with its measurements, in seconds."""
        batch_size = min(batch_size_of(hyperparameters, self.batch_size), self.train_images)
        size = size_of(self.image_shape, hyperparameters)
        per_step, per_multiplication, per_activation = self.rates
        per_image = per_multiplication * size.multiplications + per_activation * size.activations
        per_image += per_step / batch_size
        images = self.train_images + self.validation_share * self.validation_images
        images += self.objective_images
        return per_image * images * self.factors.get(structure_key(hyperparameters), 1.0)

    def duration(self, group: TrialGroup) -> DurationRange:
        """Returns the duration of a group of trials on one worker.

        At best its configurations are the smallest of the pool, at worst the largest.
        """
        costs = sorted(group.epochs * self.epoch_s(one) + self.overhead_s for one in group.pool)
        chosen = min(group.trials, len(costs))
        means = (np.mean(each) for each in (costs[:chosen], costs, costs[-chosen:]))
        return DurationRange(*(float(mean) * group.trials for mean in means))


def size_of(image_shape: ImageShape, hyperparameters: Hyperparameters) -> Size:
    """Returns the size of a configuration. Its layers are those of `build_vae`."""
    return _size_of(Architecture.of(image_shape, hyperparameters))


@lru_cache(maxsize=4096)
def _size_of(architecture: Architecture) -> Size:
    from vaetune.models import make_ladder  # Keras takes seconds to import.

    meter = _Meter()
    ladder = make_ladder(architecture)
    _, _, maps = ladder.encode(meter.connect, (None, *architecture.image_shape))
    epsilons = [(*each[:3], architecture.level_channels) for each in maps]
    ladder.infer(meter.connect, (None, architecture.latent_dim), maps, epsilons)
    return Size(meter.multiplications, meter.activations, meter.parameters)


class _Meter:
    """Connects layers by their shapes, without creating variables, and adds up their sizes."""

    def __init__(self) -> None:
        self.multiplications = 0
        self.activations = 0
        self.parameters = 0

    def connect(self, layer: Any, *shapes: Any) -> Any:
        """Returns the shape of a layer's output; see `models.Connect`."""
        shape = shapes[0] if len(shapes) == 1 else list(shapes)
        output = layer.compute_output_shape(shape)
        self._add(type(layer).__name__, layer, shapes[0], output)
        return output

    def _add(self, kind: str, layer: Any, shape: Any, output: Any) -> None:
        channels, written = shape[-1], math.prod(output[1:])
        match kind:
            case "Flatten" | "Reshape":
                return
            case "Dense":
                self._add_kernel(layer, channels, layer.units, 1)
            case "Conv2D" | "Conv2DTranspose":
                # A transposed convolution places its kernel at each of its inputs.
                places = shape if kind == "Conv2DTranspose" else output
                weights = math.prod(layer.kernel_size) * channels
                self._add_kernel(layer, weights, layer.filters, math.prod(places[1:3]))
            case "GroupNormalization":
                self.parameters += 2 * channels
            case "BatchNormalization":
                self.parameters += 4 * channels
        self.activations += written

    def _add_kernel(self, layer: Any, inputs: int, outputs: int, places: int) -> None:
        self.parameters += (inputs + layer.use_bias) * outputs
        self.multiplications += inputs * outputs * places


def structure_key(hyperparameters: Hyperparameters) -> Structure:
    """Returns what two configurations must share to share compiled steps."""
    return tuple(structure_of(hyperparameters).items())


def batch_size_of(hyperparameters: Hyperparameters, batch_size: int) -> int:
    """Returns the images per step of a configuration.

    Args:
        hyperparameters: The configuration.
        batch_size: Images per step, if the configuration has no batch size of its own.
    """
    return int(hyperparameters.get("batch_size", batch_size))


def fit_cost_model(
    measured: Sequence[Timing],
    image_shape: ImageShape,
    train_images: int,
    validation_images: int,
    batch_size: int,
) -> CostModel:
    """Fits the rates to measured steps, by non-negative least squares of relative errors.

    Args:
        measured: Timings of configurations of different sizes.
        image_shape: Height, width and channels.
        train_images: Training images per epoch, and the largest possible batch.
        validation_images: Validation images per epoch.
        batch_size: Images per step, for configurations without a batch size of their own.
    """
    rows, shares, objectives = [], [], []
    for one in measured:
        size, images = size_of(image_shape, one.hyperparameters), min(one.batch_size, train_images)
        rows.append(np.array([1.0, size.multiplications * images, size.activations * images]))
        shares.append(one.validation_s * images / one.step_s)
        if one.objective_s is not None:
            objectives.append(one.objective_s * images / one.step_s)
    relative = np.array([row / one.step_s for row, one in zip(rows, measured, strict=True)])
    scale = relative.max(axis=0)
    rates, _ = nnls(relative / scale, np.ones(len(relative)))
    per_step, per_multiplication, per_activation = (rates / scale).tolist()
    predicted = relative @ (rates / scale)
    return CostModel(
        image_shape=image_shape,
        train_images=train_images,
        validation_images=validation_images,
        batch_size=batch_size,
        rates=(per_step, per_multiplication, per_activation),
        validation_share=float(np.median(shares)),
        overhead_s=float(np.median([one.overhead_s for one in measured])),
        factors=_factors(measured, predicted.tolist()),
        objective_images=float(np.median(objectives)) if objectives else 0.0,
    )


def _factors(measured: Sequence[Timing], predicted: Sequence[float]) -> dict[Structure, float]:
    """Returns the factor of each structure, if there are several.

    Args:
        measured: Timings of configurations.
        predicted: Their duration by the rates, relative to the measured one.
    """
    found: dict[Structure, list[float]] = {}
    for one, share in zip(measured, predicted, strict=True):
        found.setdefault(structure_key(one.hyperparameters), []).append(math.log(share))
    if len(found) == 1:
        return {}
    return {structure: math.exp(-sum(logs) / len(logs)) for structure, logs in found.items()}
