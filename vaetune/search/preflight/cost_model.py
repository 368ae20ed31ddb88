"""Predicts the duration of trials on this machine from a few measured steps.

The model of a training step: a fixed time, and for each image a time that is linear in the
multiplications of the layers and in the values that they write. The three rates are fitted to
measured steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from vaetune.config import Value, value_of

_KERNEL = 3 * 3
"""Positions in the kernel of a convolution."""

Hyperparameters = Mapping[str, Value]

ImageShape = tuple[int, int, int]


@dataclass(frozen=True)
class Size:
    """Size of a configuration.

    Attributes:
        multiplications: Multiplications of all layers, for the forward pass of one image.
        activations: Values that the convolutions write, for one image.
        parameters: Number of trainable parameters.
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
    """

    hyperparameters: Hyperparameters
    batch_size: int
    step_s: float
    validation_s: float
    overhead_s: float


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
        epochs: Epochs that each trial trains.
    """

    pool: Sequence[Hyperparameters]
    trials: int
    epochs: int


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
    """

    image_shape: ImageShape
    train_images: int
    validation_images: int
    batch_size: int
    rates: tuple[float, float, float]
    validation_share: float
    overhead_s: float

    def epoch_s(self, hyperparameters: Hyperparameters) -> float:
        """Returns the duration of one epoch, training and validation, in seconds."""
        batch_size = min(batch_size_of(hyperparameters, self.batch_size), self.train_images)
        size = size_of(self.image_shape, hyperparameters)
        per_step, per_multiplication, per_activation = self.rates
        per_image = per_multiplication * size.multiplications + per_activation * size.activations
        per_image += per_step / batch_size
        images = self.train_images + self.validation_share * self.validation_images
        return per_image * images

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
    height, width, channels = image_shape
    names = ("filters_1", "filters_2", "dense_units", "latent_dim")
    first, second, dense, latent = (int(value_of(hyperparameters, name)) for name in names)
    half = -(-height // 2) * -(-width // 2)
    quarter = -(-height // 4) * -(-width // 4)
    flat = quarter * second
    # Input channels, output channels and kernel placements of each convolution. The kernel of a
    # transposed convolution is placed at each of its inputs.
    convolutions = (
        (channels, first, half),
        (first, second, quarter),
        (second, second, quarter),
        (second, first, 4 * quarter),
        (first, channels, 16 * quarter),
    )
    layers = ((flat, dense), (dense, latent), (dense, latent), (latent, flat))
    inner = sum(inputs * outputs for inputs, outputs in layers)
    kernels = [_KERNEL * inputs * outputs for inputs, outputs, _ in convolutions]
    written = first * half + second * quarter + flat + 4 * flat + 16 * first * quarter
    return Size(
        multiplications=inner + sum(k * c[2] for k, c in zip(kernels, convolutions, strict=True)),
        activations=written + 16 * quarter * channels,
        parameters=inner
        + sum(outputs for _, outputs in layers)
        + sum(kernels)
        + sum(outputs for _, outputs, _ in convolutions),
    )


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
    rows, shares = [], []
    for one in measured:
        size, images = size_of(image_shape, one.hyperparameters), min(one.batch_size, train_images)
        rows.append(np.array([1.0, size.multiplications * images, size.activations * images]))
        shares.append(one.validation_s * images / one.step_s)
    relative = np.array([row / one.step_s for row, one in zip(rows, measured, strict=True)])
    scale = relative.max(axis=0)
    rates, _ = nnls(relative / scale, np.ones(len(relative)))
    per_step, per_multiplication, per_activation = (rates / scale).tolist()
    return CostModel(
        image_shape=image_shape,
        train_images=train_images,
        validation_images=validation_images,
        batch_size=batch_size,
        rates=(per_step, per_multiplication, per_activation),
        validation_share=float(np.median(shares)),
        overhead_s=float(np.median([one.overhead_s for one in measured])),
    )
