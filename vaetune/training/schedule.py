"""The plan of an epoch: image order, noise seeds, learning rate."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaetune.config import SearchSpec, Value, value_of

_NOISE_STREAM = 1
"""Number that makes the noise of binarised pixels independent of the order of the images."""


class StepSettings(NamedTuple):
    """Numbers of a training step that are inputs of the compiled function.

    Attributes:
        beta: Weight of the KL divergence.
        warmup_steps: Steps in which the learning rate grows linearly, from the first step of the
            configuration.
        kl_warmup_steps: Steps in which the weight of the KL divergence grows linearly.
        weight_average: Decay of the average of the weights. 0: no average.
        free_bits: Nats of each latent dimension that cost nothing.
        weight_decay: Share of the kernels, times the learning rate, that a step takes away.
        clip_norm: Largest global norm of the gradients. 0: any.
    """

    beta: float = 1.0
    warmup_steps: float = 0.0
    kl_warmup_steps: float = 0.0
    weight_average: float = 0.0
    free_bits: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0


_PLAIN = StepSettings()

OPTIONS = ("weight_average", "free_bits", "weight_decay", "clip_norm")
"""Settings that need operations of their own in a step, unless they are 0."""


def options_of(hyperparameters: Mapping[str, Value]) -> frozenset[str]:
    """Returns the names of `OPTIONS` that a configuration uses."""
    return frozenset(name for name in OPTIONS if hyperparameters.get(name))


@dataclass(frozen=True, eq=False)
class Epoch:
    """The plan of one training epoch.

    Attributes:
        order: Indices of the images in training order, (images,).
        batch_size: Images per training step. The last batch may be smaller.
        settings: Numbers of each step.
        learning_rate: Function from the completed share of the epoch, in [0, 1], to the learning
            rate. It is called before each compiled call. None: the rate does not change.
        noise_seed: Random seed of pixels that each step binarises.
    """

    order: NDArray[np.int32]
    batch_size: int
    settings: StepSettings = _PLAIN
    learning_rate: Callable[[float], float] | None = None
    noise_seed: int = 0


def image_order(images: int, seed: int, configuration: int, epoch: int) -> NDArray[np.int32]:
    """Returns the order of the images in an epoch of a configuration.

    It depends only on the arguments, so it is the same after a crash, after a promotion and in
    another process.

    Args:
        images: Number of images.
        seed: Random seed of the search.
        configuration: Number of the configuration.
        epoch: Epoch, counted from the start of the configuration.

    Returns:
        A permutation of range(images).
    """
    return np.random.default_rng([seed, configuration, epoch]).permutation(images).astype(np.int32)


def plan_epoch(
    spec: SearchSpec,
    hyperparameters: Mapping[str, Value],
    images: int,
    configuration: int,
    epoch: int,
) -> Epoch:
    """Returns the plan of an epoch of a configuration.

    Args:
        spec: Specification of the search.
        hyperparameters: Hyperparameters of the configuration.
        images: Number of training images.
        configuration: Number of the configuration.
        epoch: Epoch, counted from 1 at the start of the configuration.
    """
    rate, epochs = float(value_of(hyperparameters, "learning_rate")), spec.budget.max_epochs
    batch_size = min(images, int(hyperparameters.get("batch_size", spec.training.batch_size or 0)))
    decay = hyperparameters.get("learning_rate_decay", spec.training.learning_rate_decay)
    noise = np.random.default_rng([spec.seed, configuration, epoch, _NOISE_STREAM])
    return Epoch(
        order=image_order(images, spec.seed, configuration, epoch),
        batch_size=batch_size,
        settings=_step_settings(hyperparameters, -(-images // batch_size)),
        learning_rate=partial(_cosine, rate, epochs, epoch) if decay == "cosine" else None,
        noise_seed=int(noise.integers(2**31)),
    )


def _step_settings(hyperparameters: Mapping[str, Value], steps_per_epoch: int) -> StepSettings:
    def get(name: str) -> float:
        return float(value_of(hyperparameters, name))

    return StepSettings(
        beta=get("beta"),
        warmup_steps=get("learning_rate_warmup") * steps_per_epoch,
        kl_warmup_steps=get("kl_warmup") * steps_per_epoch,
        weight_average=get("weight_average"),
        free_bits=get("free_bits"),
        weight_decay=get("weight_decay"),
        clip_norm=get("clip_norm"),
    )


def _cosine(rate: float, epochs: int, epoch: int, share: float) -> float:
    """Returns the rate after `epoch - 1 + share` epochs of a cosine that ends at zero.

    Args:
        rate: Initial learning rate.
        epochs: Number of epochs until the rate is zero.
        epoch: Current epoch, counted from 1.
        share: Completed share of the epoch, in [0, 1].
    """
    return 0.5 * rate * (1.0 + math.cos(math.pi * min(1.0, (epoch - 1 + share) / epochs)))
