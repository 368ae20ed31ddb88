"""Says what each group of choices of a winner is worth."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vaetune.config import VALIDATION_LOSS, Objective, Value
from vaetune.report.text.units import counted, duration, hyperparameter, nats, rough
from vaetune.study import Explanation, Outcomes

TOLERANCE = 2.0
"""Standard deviations of a mean of seeds beyond which two values differ."""

_GAIN = 2
"""Column of the gains, which is flush right."""


@dataclass(frozen=True)
class StepRow:
    """A row of a path. All cells are text.

    Attributes:
        step: Group that changes, or "the Keras example".
        values: Value of each seed.
        gain: Gain of the step; empty for the Keras example.
        changes: Changed hyperparameters.
        losses: Validation loss of each seed; empty if it is the value.
    """

    step: str
    values: str
    gain: str
    changes: str
    losses: str


def explanation_as_table(found: Explanation) -> str:
    """Returns the path to a winner as a table with a summary, for the terminal."""
    measure = found.measure
    title = "loss" if measure.is_loss else measure.title
    heads = StepRow("step", title, "gain", "changes", "" if measure.is_loss else "validation loss")
    rows = [
        [row.step, row.values, row.gain, *([row.losses] if heads.losses else []), row.changes]
        for row in (heads, *explanation_rows(found))
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column == _GAIN else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *summarise_explanation(found)])


def explanation_rows(found: Explanation) -> list[StepRow]:
    """Returns the rows of a complete path: the Keras example, then each step."""
    measure = found.measure

    def row(step: str, outcomes: Outcomes, gain: str, changes: str) -> StepRow:
        losses = "" if measure.is_loss else _losses(outcomes)
        return StepRow(step, _values(measure, outcomes), gain, changes, losses)

    rows = [row("the Keras example", found.example, "", "")]
    for step in found.steps:
        gain = f"{measure.factor * step.gain:+.{measure.rough_decimals}f}"
        gain = gain if math.isfinite(step.gain) else "-"
        rows.append(row(step.group, step.outcomes, gain, describe_changes(step.changes)))
    return rows


def describe_changes(changes: Mapping[str, tuple[Value | None, Value | None]]) -> str:
    """Returns the changed values, such as "latent_dim 2 -> 16"."""
    return ", ".join(
        f"{name} {hyperparameter(before)} -> {hyperparameter(after)}"
        for name, (before, after) in changes.items()
    )


def _values(measure: Objective, outcomes: Outcomes) -> str:
    return ", ".join("failed" if one.has_failed else rough(measure, one.value) for one in outcomes)


def _losses(outcomes: Outcomes) -> str:
    return ", ".join("failed" if one.has_failed else nats(one.loss) for one in outcomes)


def summarise_explanation(found: Explanation) -> Iterator[str]:
    """Yields sentences: what the numbers are, the noise of seeds, and a winner that was lucky."""
    if not found.groups:
        yield "The winner is the Keras example itself: there is nothing to explain."
        return
    measure, spread = found.measure, found.spread
    yield _describe_values(found)
    if spread is None:
        seeds = "one seed" if len(found.seeds) == 1 else "the failed trainings"
        yield f"With {seeds}, nothing is known about the noise of seeds."
        yield from _compare_one_seed(found)
        return
    noise = TOLERANCE * spread * math.sqrt(2 / len(found.seeds))
    yield (
        f"The {'loss' if measure.is_loss else measure.title} of one seed has a standard deviation "
        f"of {_size(measure, spread, measure.decimals)}. Gains below "
        f"{_size(measure, noise, measure.rough_decimals)} are within the noise."
    )
    yield from _compare_with_search(found, spread)


def _describe_values(found: Explanation) -> str:
    """Returns what the values and the gains of a path are."""
    measure = found.measure
    epochs, seeds = counted(found.epochs, "epoch"), counted(len(found.seeds), "seed")
    if measure.is_loss:
        return (
            f"Losses are the lowest validation losses of {epochs}, in nats per image, from {seeds}."
            " A gain is the fall of the mean."
        )
    unit = measure.unit_of_difference
    return (
        f"Each {measure.title} is the highest of {epochs}, from {seeds}, and the validation loss "
        f"that of the same epoch, in nats per image. A gain is the rise of the mean {measure.title}"
        f"{', in ' if unit else ''}{unit}."
    )


def _size(measure: Objective, value: float, decimals: int) -> str:
    """Returns the size of a difference, such as "0.71 nats"."""
    return f"{nats(measure.factor * value, decimals)} {measure.unit_of_difference}".rstrip()


def _compare_with_search(found: Explanation, spread: float) -> Iterator[str]:
    """Yields a sentence if the winner of the search was better or worse than its trainings here."""
    value, last = found.found, found.steps[-1]
    limit = TOLERANCE * spread * math.sqrt(1 + 1 / len(last.outcomes))
    if value is None or not math.isfinite(last.mean) or abs(value - last.mean) <= limit:
        return
    yield f"{_compared(found, value)}, and the difference is larger than the noise of seeds."


def _compare_one_seed(found: Explanation) -> Iterator[str]:
    """Yields a sentence if the winner of the search was better or worse than its one training."""
    value, (again, *_) = found.found, found.steps[-1].outcomes
    if value is None or again.has_failed:
        return
    if rough(found.measure, value) != rough(found.measure, again.value):
        yield f"{_compared(found, value)}, a difference that may be the noise of seeds."


def _compared(found: Explanation, value: float) -> str:
    """Returns what the winner reached in the search and here, as the beginning of a sentence."""
    measure, objective = found.measure, found.study.objective
    unit = f" {measure.short_unit}" if measure.is_loss else f" {measure.title}"
    epoch = (
        ""
        if measure in (objective, VALIDATION_LOSS)
        else (f", at the epoch with the {objective.best_title}")
    )
    return (
        f"The winner reached {rough(measure, value)}{unit} in the search{epoch}. "
        f"Trained again it reached {_values(measure, found.steps[-1].outcomes)}"
    )


def describe_effort(found: Explanation, seconds: float | None = None) -> str:
    """Returns how many trainings a path takes.

    Args:
        found: The path.
        seconds: About how many seconds they take, at most, with what the search measured after
            each epoch. Default: not known.
    """
    trainings, measure = counted(found.most_trainings, "training"), found.measure
    time = "" if seconds is None else f", in about {duration(seconds)} or less"
    if time and not measure.is_loss and measure != found.study.objective:
        time += f", without the time to measure the {measure.title} after each epoch"
    if time and found.study.search.training.compile == "padded":
        time += ", and longer if networks must be compiled"
    return f"at most {trainings} of {counted(found.epochs, 'epoch')}{time}"
