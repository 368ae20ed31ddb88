"""The plan of an epoch: image order, noise seeds, learning rate."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaetune.config import REFERENCE_BETA, Number, SearchSpec

_NOISE = 1
"""Keeps the noise of binarised pixels apart from the order of the images."""


@dataclass(frozen=True, eq=False)
class Epoch:
    """How an epoch is trained.

    Attributes:
        order: Indices of the images, in the order that they are seen in, (images,).
        batch_size: Images a step; the last batch may be smaller.
        beta: Weight of the KL divergence.
        learning_rate: Learning rate as a function of the share of the epoch that is done, evaluated
            once per compiled call; None leaves it unchanged.
        noise_seed: Random seed of the pixels of stochastically binarized images.
    """

    order: NDArray[np.int32]
    batch_size: int
    beta: float = 1.0
    learning_rate: Callable[[float], float] | None = None
    noise_seed: int = 0


def image_order(images: int, seed: int, configuration: int, epoch: int) -> NDArray[np.int32]:
    """The order in which an epoch of a configuration sees the images.

    It depends on nothing else, so it survives a crash, a promotion and another process.

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
    """What a search trains in an epoch of a configuration, the first one being 1.

    Args:
        spec: The search.
        hyperparameters: Hyperparameters of the configuration.
        images: Number of training images.
        configuration: Its number.
        epoch: Counted from the start of the configuration.
    """
    training = spec.training
    rate, epochs = float(hyperparameters["learning_rate"]), spec.budget.max_epochs
    decays = training.learning_rate_decay == "cosine"
    noise = np.random.default_rng([spec.seed, configuration, epoch, _NOISE])
    return Epoch(
        order=image_order(images, spec.seed, configuration, epoch),
        batch_size=min(images, int(hyperparameters.get("batch_size", training.batch_size or 0))),
        beta=float(hyperparameters.get("beta", REFERENCE_BETA)),
        learning_rate=partial(_cosine, rate, epochs, epoch) if decays else None,
        noise_seed=int(noise.integers(2**31)),
    )


def _cosine(rate: float, epochs: int, epoch: int, share: float) -> float:
    """Half a period of a cosine, from the whole rate to zero after the last epoch."""
    return 0.5 * rate * (1.0 + math.cos(math.pi * min(1.0, (epoch - 1 + share) / epochs)))
