"""Says what each group of choices of a winner is worth."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from vaetune.config import Value
from vaetune.report.text.units import counted, duration, hyperparameter, nats
from vaetune.study import Explanation

TOLERANCE = 2.0
"""Standard deviations of a mean of seeds beyond which two losses differ."""

Row = tuple[str, str, str, str]
"""Group, losses by seed, gain, and changed values."""

HEADS: Row = ("step", "loss", "gain", "changes")

_GAIN = HEADS.index("gain")


def explanation_as_table(found: Explanation) -> str:
    """Returns the path to a winner as a table with a summary, for the terminal."""
    rows = [HEADS, *explanation_rows(found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = [
        "  ".join(
            cell.rjust(width) if column == _GAIN else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *summarise_explanation(found)])


def explanation_rows(found: Explanation) -> list[Row]:
    """Returns the rows of a complete path: the Keras example, then each step."""
    rows = [("the Keras example", _losses(found.example_losses), "", "")]
    for step in found.steps:
        gain = f"{step.gain:+.1f}" if math.isfinite(step.gain) else "-"
        rows.append((step.group, _losses(step.losses), gain, describe_changes(step.changes)))
    return rows


def describe_changes(changes: Mapping[str, tuple[Value | None, Value | None]]) -> str:
    """Returns the changed values, such as "latent_dim 2 -> 16"."""
    return ", ".join(
        f"{name} {hyperparameter(before)} -> {hyperparameter(after)}"
        for name, (before, after) in changes.items()
    )


def _losses(losses: Sequence[float]) -> str:
    return ", ".join(nats(loss) if math.isfinite(loss) else "failed" for loss in losses)


def summarise_explanation(found: Explanation) -> Iterator[str]:
    """Yields sentences: what the numbers are, the noise of seeds, and a winner that was lucky."""
    if not found.groups:
        yield "The winner is the Keras example itself: there is nothing to explain."
        return
    yield (
        f"Losses are the lowest validation losses of {counted(found.epochs, 'epoch')}, in nats per "
        f"image, from {counted(len(found.seeds), 'seed')}. A gain is the fall of the mean."
    )
    if not found.study.objective.is_loss:
        yield f"The path explains the validation loss, not the {found.study.objective.title}."
    spread = found.spread
    if spread is None:
        yield "With one seed, nothing is known about the noise of seeds."
        return
    noise = TOLERANCE * spread * math.sqrt(2 / len(found.seeds))
    yield (
        f"The loss of one seed has a standard deviation of {nats(spread, 2)} nats. Gains below "
        f"{nats(noise)} nats are within the noise."
    )
    yield from _compare_with_search(found, spread)


def _compare_with_search(found: Explanation, spread: float) -> Iterator[str]:
    """Yields a sentence if the winner of the search was better or worse than its trainings here."""
    score, again = found.trial.lowest_loss, found.steps[-1].losses
    mean = statistics.fmean(again)
    if score is None or abs(score - mean) <= TOLERANCE * spread * math.sqrt(1 + 1 / len(again)):
        return
    yield (
        f"The winner reached {nats(score)} nats in the search. Trained again it reached "
        f"{_losses(again)}, and the difference is larger than the noise of seeds."
    )


def describe_effort(found: Explanation, seconds: float | None = None) -> str:
    """Returns how many trainings a path takes.

    Args:
        found: The path.
        seconds: About how many seconds they take, at most. Default: not known.
    """
    trainings = counted(found.most_trainings, "training")
    time = "" if seconds is None else f", in about {duration(seconds)} or less"
    return f"at most {trainings} of {counted(found.epochs, 'epoch')}{time}"
