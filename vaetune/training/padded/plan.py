"""Which configurations train with a compiled program."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from vaetune.config import REFERENCE_BATCH_SIZE, SearchSpec, Value, is_used

MAX_PROGRAMS = 8
"""Programs that are compiled for the searches of a process, at most."""

REPAID_STEPS = 8_000
"""Training steps that repay the compilation of a program.

On an NVIDIA H200, training and validation compile in 20 to 57 s and a step saves 3.2 to 4 ms."""


@dataclass(frozen=True)
class Program:
    """The program that trains a configuration.

    Attributes:
        widest: The configuration with the largest widths of the search.
        batch_size: Images per training step.
        pays: Whether the search has enough epochs to compile it. If not, it is used only if it is
            compiled already.
    """

    widest: Mapping[str, Value]
    batch_size: int
    pays: bool


def program_of(
    spec: SearchSpec, hyperparameters: Mapping[str, Any], train_images: int
) -> Program | None:
    """Returns the program that trains a configuration; None if steps are not compiled.

    Args:
        spec: Specification of the search.
        hyperparameters: Hyperparameters of the configuration.
        train_images: Number of training images.
    """
    size = hyperparameters.get("batch_size", spec.training.batch_size or REFERENCE_BATCH_SIZE)
    batch_size = min(train_images, int(size))
    steps = planned_steps(spec, -(-train_images // batch_size))
    match spec.training.compile:
        case "none":
            return None
        case "auto" if not tf.config.list_logical_devices("GPU"):
            return None
        case wanted:
            pays = wanted == "padded" or steps >= REPAID_STEPS
    widest = spec.space.widest()
    names = [name for name in widest if is_used(hyperparameters, name)]
    wide = {**hyperparameters, **{name: widest[name] for name in names}}
    return Program(wide, batch_size, pays)


def planned_steps(spec: SearchSpec, steps_per_epoch: int) -> float:
    """Returns the number of training steps that a search plans for each program.

    Args:
        spec: Specification of the search.
        steps_per_epoch: Training steps of an epoch.
    """
    return spec.planned_epochs * steps_per_epoch / spec.space.programs()
