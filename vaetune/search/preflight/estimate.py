"""What a search is going to take: time from a few measured steps, and room on the disk.

A step is taken to last a fixed time, and for each image a time linear in what the layers multiply
and in what they write. The three rates are fitted to measured steps; the trials to come are known
from the oracle, but for which of them are promoted.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from vaetune.config import Number, Space
from vaetune.study import FINALISTS, MANIFOLD_SIDE, PRIOR_SAMPLES, RECONSTRUCTIONS, Rung

FASTER, SLOWER = 0.8, 1.3
"""By how much a machine's speed differs between a few steps and a long run."""

SUGGESTION_S = (1.0, 3.0)
"""What the Gaussian process of a Bayesian search takes for a suggestion, on two CPU cores."""

RESCORING = 1.1
"""What a search takes at most with its finalists rescored, as a multiple of its training."""

START_S = (4.0, 15.0)
"""What it takes to start Ray and its workers, on two CPU cores."""

_KERNEL = 3 * 3

_PICTURES = RECONSTRUCTIONS + PRIOR_SAMPLES + MANIFOLD_SIDE**2
"""Images that are kept of a trial, those of the manifold only where latent_dim is 2."""

_WEIGHTS_TO_GO_ON = 4
"""Number of arrays per weight in a checkpoint: weight, Adam's two moments, best weight."""

Hyperparameters = Mapping[str, Number]

ImageShape = tuple[int, int, int]

Bracket = tuple[int, int]
"""An iteration and one of its brackets."""


@dataclass(frozen=True)
class Size:
    """How large a configuration is.

    Attributes:
        multiplications: Multiplications of its layers for one image, forward.
        activations: Values that its convolutions write, for one image.
        parameters: Trainable ones.
    """

    multiplications: int
    activations: int
    parameters: int


@dataclass(frozen=True)
class Timing:
    """What a configuration took.

    Attributes:
        step_s: A training step, in seconds.
        validation_s: The validation of an image, in seconds.
        overhead_s: Seconds of a trial outside its epochs: drawing weights, writing checkpoint and
            pictures.
    """

    hyperparameters: Hyperparameters
    batch_size: int
    step_s: float
    validation_s: float
    overhead_s: float


@dataclass(frozen=True)
class DurationRange:
    """A duration in seconds: at best, about, at worst."""

    low: float
    middle: float
    high: float

    def __add__(self, other: "DurationRange") -> "DurationRange":
        return DurationRange(
            self.low + other.low, self.middle + other.middle, self.high + other.high
        )


@dataclass(frozen=True)
class TrialGroup:
    """Trials that train alike, of which is known which configurations they may have.

    Attributes:
        pool: The configurations.
        trials: Number of trials. If there are fewer configurations, each stands for several trials.
        epochs: Epochs per trial.
    """

    pool: Sequence[Hyperparameters]
    trials: int
    epochs: int


@dataclass(frozen=True)
class Sharing:
    """Several workers on one machine.

    Attributes:
        workers: Number of workers.
        oversubscription: Number of threads per core, at least 1.
        longest: A configuration that is trained to the end, which no other worker can help with.
    """

    workers: int
    oversubscription: float
    longest: TrialGroup


@dataclass(frozen=True)
class CostModel:
    """How long an epoch of a configuration takes on this machine.

    Attributes:
        image_shape: Height, width and channels.
        train_images: Training images per epoch.
        validation_images: Validation images per epoch.
        batch_size: Batch size of a configuration that names none.
        rates: Seconds a step, a multiplication and an activation.
        validation_share: Cost of validating an image, relative to training on it.
        overhead_s: Seconds of a trial outside its epochs.
    """

    image_shape: ImageShape
    train_images: int
    validation_images: int
    batch_size: int
    rates: tuple[float, float, float]
    validation_share: float
    overhead_s: float

    def epoch_s(self, hyperparameters: Hyperparameters) -> float:
        """Training and validation of one epoch, in seconds."""
        batch_size = min(batch_size_of(hyperparameters, self.batch_size), self.train_images)
        size = size_of(self.image_shape, hyperparameters)
        per_step, per_multiplication, per_activation = self.rates
        per_image = per_multiplication * size.multiplications + per_activation * size.activations
        per_image += per_step / batch_size
        images = self.train_images + self.validation_share * self.validation_images
        return per_image * images

    def span(self, lot: TrialGroup) -> DurationRange:
        """How long trials take: if the smallest of the pool are chosen, any, or the largest."""
        costs = sorted(lot.epochs * self.epoch_s(one) + self.overhead_s for one in lot.pool)
        chosen = min(lot.trials, len(costs))
        means = (np.mean(each) for each in (costs[:chosen], costs, costs[-chosen:]))
        return DurationRange(*(float(mean) * lot.trials for mean in means))


def size_of(image_shape: ImageShape, hyperparameters: Hyperparameters) -> Size:
    """The size of a configuration; the layers are those of `model.build_vae`."""
    height, width, channels = image_shape
    names = ("filters_1", "filters_2", "dense_units", "latent_dim")
    first, second, dense, latent = (int(hyperparameters[name]) for name in names)
    half = -(-height // 2) * -(-width // 2)
    quarter = -(-height // 4) * -(-width // 4)
    flat = quarter * second
    # Inputs, outputs and places of each kernel; a transposed one is put at each of its inputs.
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
    """Images a step: a searched size, or that of all."""
    return int(hyperparameters.get("batch_size", batch_size))


def corners(space: Space) -> tuple[Hyperparameters, Hyperparameters]:
    """The smallest and the largest configuration of a space, at a middle learning rate."""
    bounds = dict(space.dimensions())
    low = {name: min(dimension.numbers()) for name, dimension in bounds.items()}
    high = {name: max(dimension.numbers()) for name, dimension in bounds.items()}
    rate = math.sqrt(float(low["learning_rate"]) * float(high["learning_rate"]))
    return low | {"learning_rate": rate}, high | {"learning_rate": rate}


def spread(
    configurations: Iterable[Hyperparameters], image_shape: ImageShape, count: int
) -> list[Hyperparameters]:
    """So many of the configurations, evenly from the smaller to the larger ones."""
    ranked = sorted(configurations, key=lambda one: size_of(image_shape, one).multiplications)
    places = np.linspace(0, len(ranked) - 1, count + 2)[1:-1]
    return [ranked[place] for place in sorted({round(float(place)) for place in places})]


def fit_cost_model(
    measured: Sequence[Timing],
    image_shape: ImageShape,
    train_images: int,
    validation_images: int,
    batch_size: int,
) -> CostModel:
    """Fits the rates to measured steps: none negative, by least squares of relative errors.

    Args:
        measured: Timings of configurations of different sizes.
        image_shape: Height, width and channels.
        train_images: Training images per epoch; no batch is larger.
        validation_images: Validation images per epoch.
        batch_size: Batch size of a configuration that names none.
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


def group_trials(
    plan: Iterable[Rung],
    drawn: Mapping[Bracket, Sequence[Hyperparameters]],
    initial_trials: int | None = None,
) -> list[TrialGroup]:
    """The trials of a plan and what is known of their configurations.

    Args:
        plan: Plan of the search.
        drawn: Configurations that the search begins with; see `draw_configurations`.
        initial_trials: Initial random trials of a Bayesian search. Later suggestions are assumed to
            be similar.
    """
    lots = []
    for rung in plan:
        pool, epochs = drawn[rung.iteration, rung.bracket], rung.epoch_to - rung.epoch_from
        known = min(rung.trials, initial_trials or rung.trials)
        lots.append(TrialGroup(pool[:known] if rung.rung == 0 else pool, known, epochs))
        if known < rung.trials:
            lots.append(TrialGroup(pool, rung.trials - known, epochs))
    return lots


def estimate_duration(
    pace: CostModel,
    lots: Iterable[TrialGroup],
    begin_s: float,
    suggestions: int = 0,
    sharing: Sharing | None = None,
) -> DurationRange:
    """How long a search takes on this machine.

    Args:
        pace: As measured.
        lots: Its trials, and the Keras example's if that is trained too.
        begin_s: Seconds of a session before the first step.
        suggestions: Number of suggestions of a Gaussian process.
        sharing: The workers that share the trials; None where one process trains them all.
    """
    total = sum((pace.span(lot) for lot in lots), start=DurationRange(0.0, 0.0, 0.0))
    low, high = (suggestions * each for each in SUGGESTION_S)
    if sharing:
        total = _shared(total, pace.span(sharing.longest), sharing)
        low, high = low + START_S[0], high + START_S[1]
    return DurationRange(
        total.low * FASTER + begin_s + low,
        total.middle * (1 + RESCORING) / 2 + begin_s + (low + high) / 2,
        total.high * SLOWER * RESCORING + begin_s + high,
    )


def _shared(total: DurationRange, longest: DurationRange, sharing: Sharing) -> DurationRange:
    """What workers take for what takes one of them so long.

    At best none of them ever waits. At worst all but one wait while the longest configuration is
    trained (Graham 1969).
    """
    even = sharing.oversubscription / sharing.workers
    waiting = 1 - 1 / sharing.workers
    low, middle = max(total.low * even, longest.low), max(total.middle * even, longest.middle)
    return DurationRange(
        low,
        (middle + total.middle * even + longest.middle * waiting) / 2,
        total.high * even + longest.high * waiting,
    )


def disk_bytes(
    lots: Sequence[TrialGroup], plan: Sequence[Rung], image_shape: ImageShape, keep_best: int
) -> int:
    """What a search keeps on the disk at once, at most: checkpoints and pictures.

    Args:
        lots: Its trials.
        plan: Plan of the search.
        image_shape: Height, width and channels.
        keep_best: Number of leaders that keep their weights, besides the best of each latent_dim.
    """
    configurations = [one for lot in lots for one in lot.pool]
    weights = 4 * max(size_of(image_shape, one).parameters for one in configurations)
    latent_sizes = {one["latent_dim"] for one in configurations}
    trials = sum(rung.trials for rung in plan)
    promoted = max((rung.trials for rung in plan if rung.rung > 0), default=0)
    going_on = min(promoted + 2, trials)  # those waiting, the one that runs and its parent
    leading = min(keep_best + FINALISTS + len(latent_sizes), trials)
    pictures = _PICTURES * math.prod(image_shape)
    return weights * (_WEIGHTS_TO_GO_ON * going_on + leading) + pictures * trials
