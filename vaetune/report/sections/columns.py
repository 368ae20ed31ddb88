"""Columns of trial data for the page's script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vaetune.config import FAMILY, Value as Hyperparameter

Scale = Literal["linear", "log", "excess", "choice"]

Kind = Literal["hyperparameter", "measure", "place", "time"]

Value = float | int | None

LOSS_DIGITS = 2
"""Decimals of the losses of learning curves, nats per image."""

VALUE_DIGITS = 7
"""Significant digits of all other numbers."""


@dataclass(frozen=True)
class Column:
    """A column of numbers, one for each trial.

    Attributes:
        key: Name of the column in the page's script.
        title: Name of the column for readers.
        unit: Unit of the values, or empty.
        kind: Kind of the column.
        scale: Scale of an axis: "linear", "log", "excess" (logarithmic above the data's entropy
            floor) or "choice" (equal steps between the values that occur).
        differs: True if the trials that have a value have more than one. Which of them use a
            hyperparameter follows from another one.
        values: Values in the order of the trials; None for a trial without a value. Those of a
            category are places in `labels`.
        labels: Texts of a category; empty for numbers.
    """

    key: str
    title: str
    unit: str
    kind: Kind
    scale: Scale
    differs: bool
    values: tuple[Value, ...]
    labels: tuple[str, ...] = ()


def build_column(
    key: str, title: str, unit: str, kind: Kind, scale: Scale, values: Sequence[Value]
) -> Column:
    """Builds a column with rounded values; a column with values of at most 0 is never "log"."""
    rounded = tuple(map(round_value, values))
    differs = len({value for value in rounded if value is not None}) > 1
    if scale == "log" and any(value is not None and value <= 0 for value in rounded):
        scale = "linear"
    return Column(key, title, unit, kind, scale, differs, rounded)


def build_hyperparameter(
    name: str, scale: Scale, values: Sequence[Hyperparameter | None]
) -> Column:
    """Builds the column of a hyperparameter; None stands for a trial that does not use it."""
    allowed = FAMILY[name].allowed if name in FAMILY else ()
    labels = tuple(text for text in allowed if text in values)
    numbers = [labels.index(value) if isinstance(value, str) else value for value in values]
    column = build_column(name, name, "", "hyperparameter", scale, numbers)
    return replace(column, labels=labels)


def round_loss(loss: float) -> Value:
    """Rounds a loss of a learning curve; None if it is not finite, which JSON cannot hold."""
    return round(loss, LOSS_DIGITS) if math.isfinite(loss) else None


def round_value(value: Value) -> Value:
    """Rounds any other number; None if it is not finite, which JSON cannot hold."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{VALUE_DIGITS}g}") if math.isfinite(value) else None
