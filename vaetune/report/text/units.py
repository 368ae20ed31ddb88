"""Formats numbers, units and lists as text."""

import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from vaetune.config import Objective, Value
from vaetune.study import Estimate


def printable(text: str, longest: int = 40) -> str:
    """Puts a text on one line and replaces characters that fonts cannot show.

    Texts such as class names come from files and folders and may contain anything.

    Args:
        text: Any text.
        longest: Characters to keep.
    """
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c).startswith("C") else c
        for c in " ".join(text.split())
    )
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


NOTHING = "\N{EN DASH}"
"""Text for a missing value."""


def nats(value: float | None, decimals: int = 1) -> str:
    """A loss in nats per image."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return signed(f"{value:,.{decimals}f}")


def difference(ours: float | None, theirs: float | None, decimals: int = 1) -> str:
    """The difference `ours - theirs`, with its sign."""
    if ours is None or theirs is None or not math.isfinite(ours - theirs):
        return NOTHING
    return signed(f"{ours - theirs:+,.{decimals}f}")


def rough(objective: Objective, value: float | None) -> str:
    """A rough value of an objective, such as "94.2 %" or, for the loss, that of `nats`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    number = signed(f"{objective.factor * value:,.{objective.rough_decimals}f}")
    return f"{number}\N{NO-BREAK SPACE}%" if objective.unit == "%" else number


def rough_difference(objective: Objective, ours: float | None, theirs: float | None) -> str:
    """The difference `ours - theirs` of two values of an objective, with its sign."""
    if ours is None or theirs is None:
        return NOTHING
    factor, decimals = objective.factor, objective.rough_decimals
    return difference(factor * ours, factor * theirs, decimals)


def titled(objective: Objective, value: float) -> str:
    """A rough value in a sentence, such as "94.2 % kNN accuracy" or "101.2 nats per image"."""
    return f"{rough(objective, value)} {objective.unit if objective.is_loss else objective.title}"


def signed(number: str) -> str:
    """Replaces the hyphen of a negative number by a minus sign, which is as wide as a plus."""
    return number.replace("-", "\N{MINUS SIGN}")


def plus_minus(estimate: Estimate | None, decimals: int = 2) -> str:
    """A mean with its standard error, for the report; see `with_error` for the terminal."""
    if estimate is None or not math.isfinite(estimate.mean):
        return NOTHING
    mean, error = nats(estimate.mean, decimals), estimate.standard_error
    if error is None or not math.isfinite(error):
        return mean
    return f"{mean} \N{PLUS-MINUS SIGN} {error:.{decimals}f}"


def plus_minus_of(
    objective: Objective, estimate: Estimate | None, is_difference: bool = False
) -> str:
    """A value of an objective with its standard error, for the report; see `amount`."""
    if estimate is None or not math.isfinite(estimate.mean):
        return NOTHING
    error = estimate.standard_error
    scaled = Estimate(
        objective.factor * estimate.mean, None if error is None else objective.factor * error
    )
    unit = objective.unit_of_difference if is_difference else objective.short_unit
    return f"{plus_minus(scaled, objective.decimals)} {unit}".rstrip()


def integer(value: int | None) -> str:
    """An integer with separators of thousands."""
    return NOTHING if value is None else f"{value:,}"


def join_words(words: Sequence[str]) -> str:
    """Joins at least one text as in a sentence: "a, b and c"."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def name_workers(workers: Sequence[int]) -> str:
    """Names workers by their numbers: "worker 3", "workers 1-4 and 7" (with an en dash).

    Args:
        workers: Numbers of the workers, ascending.
    """
    runs: list[list[int]] = []
    for number in workers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    ranges = [str(run[0]) if len(run) == 1 else f"{run[0]}\N{EN DASH}{run[-1]}" for run in runs]
    return f"worker{'' if len(workers) == 1 else 's'} {join_words(ranges)}"


def percent(share: float) -> str:
    """A share between 0 and 1 in percent, without decimals."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


NOT_USED = "not used"
"""Text for a hyperparameter that a configuration does not use."""


def hyperparameter(value: Value | None) -> str:
    """The value of a hyperparameter, with four significant digits."""
    if value is None:
        return NOT_USED
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """A duration in seconds, minutes, hours or days, such as "3 min 20 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def date_time(time: datetime) -> str:
    """A date and time in UTC, because readers of a report may be in another time zone."""
    utc = time.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def time_of_day(time: datetime) -> str:
    """A time to the second in UTC, without the date."""
    return f"{time.astimezone(UTC):%H:%M:%S} UTC"


def with_error(estimate: Estimate) -> str:
    """A mean with its standard error in ASCII, for the terminal."""
    error = estimate.standard_error
    return f"{estimate.mean:.2f}" + ("" if error is None else f" +- {error:.2f}")


def amount(objective: Objective, estimate: Estimate, is_difference: bool = False) -> str:
    """A value of an objective with its standard error in ASCII, such as "94.2 +- 0.7 %".

    Args:
        objective: The objective.
        estimate: The value, or the difference of two values.
        is_difference: Whether it is a difference.
    """
    error = estimate.standard_error
    digits = objective.digits(estimate.mean)
    digits += "" if error is None else f" +- {objective.digits(error)}"
    unit = objective.unit_of_difference if is_difference else objective.short_unit
    return f"{digits} {unit}".rstrip()


def counted(number: int, thing: str) -> str:
    """A number with its noun, such as "1 trial" or "3 trials"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
