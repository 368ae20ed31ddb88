"""The plan of an epoch: image order, noise seeds, learning rate."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaetune.config import REFERENCE_BETA, Number, SearchSpec

_NOISE_STREAM = 1
"""Number that makes the noise of binarised pixels independent of the order of the images."""


@dataclass(frozen=True, eq=False)
class Epoch:
    """The plan of one training epoch.

    Attributes:
        order: Indices of the images in training order, (images,).
        batch_size: Images per training step. The last batch may be smaller.
        beta: Weight of the KL divergence.
        learning_rate: Function from the completed share of the epoch, in [0, 1], to the learning
            rate. It is called before each compiled call. None: the rate does not change.
        noise_seed: Random seed of pixels that each step binarises.
    """

    order: NDArray[np.int32]
    batch_size: int
    beta: float = 1.0
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
    hyperparameters: Mapping[str, Number],
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
    training = spec.training
    rate, epochs = float(hyperparameters["learning_rate"]), spec.budget.max_epochs
    decays = training.learning_rate_decay == "cosine"
    noise = np.random.default_rng([spec.seed, configuration, epoch, _NOISE_STREAM])
    return Epoch(
        order=image_order(images, spec.seed, configuration, epoch),
        batch_size=min(images, int(hyperparameters.get("batch_size", training.batch_size or 0))),
        beta=float(hyperparameters.get("beta", REFERENCE_BETA)),
        learning_rate=partial(_cosine, rate, epochs, epoch) if decays else None,
        noise_seed=int(noise.integers(2**31)),
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
