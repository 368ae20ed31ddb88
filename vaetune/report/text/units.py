"""Numbers with units, in words."""

import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from vaetune.study import Estimate


def printable(text: str, longest: int = 40) -> str:
    """One line of what a font can show: class names come from files and folders."""
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c).startswith("C") else c
        for c in " ".join(text.split())
    )
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


NOTHING = "\N{EN DASH}"


def nats(value: float | None, decimals: int = 1) -> str:
    """Nats per image."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return signed(f"{value:,.{decimals}f}")


def difference(ours: float | None, theirs: float | None, decimals: int = 1) -> str:
    """How much more ours is, with its sign."""
    if ours is None or theirs is None or not math.isfinite(ours - theirs):
        return NOTHING
    return signed(f"{ours - theirs:+,.{decimals}f}")


def signed(number: str) -> str:
    """A number with a minus as wide as its plus."""
    return number.replace("-", "\N{MINUS SIGN}")


def plus_minus(estimate: Estimate | None, decimals: int = 2) -> str:
    """A mean with its standard error."""
    if estimate is None or not math.isfinite(estimate.mean):
        return NOTHING
    told, error = nats(estimate.mean, decimals), estimate.standard_error
    if error is None or not math.isfinite(error):
        return told
    return f"{told} \N{PLUS-MINUS SIGN} {error:.{decimals}f}"


def whole(value: int | None) -> str:
    """A count."""
    return NOTHING if value is None else f"{value:,}"


def listed(things: Sequence[str]) -> str:
    """Things as a sentence names them; there is one at least."""
    *others, last = things
    return f"{', '.join(others)} and {last}" if others else last


def numbered(workers: Sequence[int]) -> str:
    """Workers by their numbers, ascending: "worker 3", "workers 1-4 and 7" with a longer dash."""
    runs: list[list[int]] = []
    for number in workers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = [str(r[0]) if len(r) == 1 else f"{r[0]}\N{EN DASH}{r[-1]}" for r in runs]
    return f"worker{'' if len(workers) == 1 else 's'} {listed(told)}"


def percent(share: float) -> str:
    """A share of 1, in whole percent."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def hyperparameter(value: float | None) -> str:
    """A hyperparameter to four significant digits."""
    if value is None:
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """A duration in the units that a person would use."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def instant(time: datetime) -> str:
    """A moment, in UTC: a report is read elsewhere than it was written."""
    utc = time.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def clock(time: datetime) -> str:
    """A moment of today, to the second, in UTC."""
    return f"{time.astimezone(UTC):%H:%M:%S} UTC"


def with_error(estimate: Estimate) -> str:
    """A mean and its standard error."""
    error = estimate.standard_error
    return f"{estimate.mean:.2f}" + ("" if error is None else f" +- {error:.2f}")


def counted(number: int, thing: str) -> str:
    """A number of things, in the singular where it is one."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
