"""Search spaces in the words of Optuna."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from vaetune.config import Choice, Pinned, Range, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def as_distribution(
    dimension: Choice | Range | Pinned, values: Sequence[Value | None]
) -> "BaseDistribution":
    """Converts a dimension to an Optuna distribution that includes all recorded values.

    Rounding may put a value of a logarithmic range just outside the range.
    """
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found = {value for value in (*dimension.listed(), *values) if value is not None}
    numbers = [value for value in found if not isinstance(value, str)]
    if not isinstance(dimension, Range):
        texts = sorted(value for value in found if isinstance(value, str))
        return CategoricalDistribution([*sorted(numbers), *texts])
    low, high, is_log = min(numbers), max(numbers), dimension.scale == "log"
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(low, high, log=is_log)


@contextmanager
def silence_optuna(optuna: ModuleType) -> Iterator[None]:
    """Silences Optuna, which logs each study and warns about what may change in it.

    Args:
        optuna: The module `optuna`, which takes long to import.
    """
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
