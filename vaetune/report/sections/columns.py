"""Columns of trial data for the page's script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Scale = Literal["linear", "log", "excess", "choice"]

Kind = Literal["hyperparameter", "measure", "place", "time"]

Value = float | int | None

LOSS_DIGITS = 2
"""Decimals of the losses of learning curves, nats per image."""

VALUE_DIGITS = 7
"""Significant digits of all other numbers."""


@dataclass(frozen=True)
class Column:
    """A number for each trial, None where it has none.

    Attributes:
        title: In the field's words.
        unit: Unit of the values, or empty.
        scale: Scale of an axis: "excess" is logarithmic above the data's entropy floor, "choice"
            has equal steps between the values.
        differs: Whether the trials have more than one value.
    """

    key: str
    title: str
    unit: str
    kind: Kind
    scale: Scale
    differs: bool
    values: tuple[Value, ...]


def build_column(
    key: str, title: str, unit: str, kind: Kind, scale: Scale, values: Sequence[Value]
) -> Column:
    kept = tuple(map(significant, values))
    differs = len({value for value in kept if value is not None}) > 1
    if scale == "log" and any(value is not None and value <= 0 for value in kept):
        scale = "linear"
    return Column(key, title, unit, kind, scale, differs, kept)


def rounded(loss: float) -> Value:
    """A loss of a curve; None in place of what JSON cannot hold."""
    return round(loss, LOSS_DIGITS) if math.isfinite(loss) else None


def significant(value: Value) -> Value:
    """A number of a table; None in place of what JSON cannot hold."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{VALUE_DIGITS}g}") if math.isfinite(value) else None
