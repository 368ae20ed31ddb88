"""Which configurations train with a compiled program."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from vaetune.config import REFERENCE_BATCH_SIZE, SearchSpec, Value, is_used, may_compile, repays


@dataclass(frozen=True)
class Program:
    """The program that trains a configuration.

    Attributes:
        widest: The configuration with the widths of the program.
        batch_size: Images per training step.
        pays: Whether there are enough epochs to compile it. If not, it is used only if it is
            compiled already.
    """

    widest: Mapping[str, Value]
    batch_size: int
    pays: bool


def program_of(
    spec: SearchSpec,
    hyperparameters: Mapping[str, Any],
    train_images: int,
    programs_of: SearchSpec | None = None,
) -> Program | None:
    """Returns the program that trains a configuration; None if steps are not compiled.

    Args:
        spec: Specification of the search.
        hyperparameters: Hyperparameters of the configuration.
        train_images: Number of training images.
        programs_of: Another search whose program trains the configuration, if its compilation
            repays one of the two. Default: `spec`.
    """
    size = hyperparameters.get("batch_size", spec.training.batch_size or REFERENCE_BATCH_SIZE)
    batch_size = min(train_images, int(size))
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    if not may_compile(spec.training.compile, has_gpu):
        return None
    searches = (spec, programs_of or spec)
    widths = searches[-1].space.program_widths(hyperparameters)
    used = {name: width for name, width in widths.items() if is_used(hyperparameters, name)}
    wide = {**hyperparameters, **used}
    return Program(wide, batch_size, any(repays(x, batch_size, train_images) for x in searches))
