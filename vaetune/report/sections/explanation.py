"""The path from the Keras example to the winner, or the command that trains it."""

from dataclasses import dataclass, replace

from vaetune.config import Objective
from vaetune.report.text.explanation import (
    StepRow,
    describe_effort,
    explanation_rows,
    summarise_explanation,
)
from vaetune.study import Explanation, command


@dataclass(frozen=True)
class PathToWinner:
    """What each group of choices is worth.

    Attributes:
        measure: Measure that the path explains.
        rows: The Keras example, then each step; empty until the path is trained.
        summary: Sentences about the numbers.
        command: Command that trains the path.
        effort: Number of its trainings.
    """

    measure: Objective
    rows: tuple[StepRow, ...]
    summary: str
    command: str
    effort: str


def compute_path(found: Explanation | None) -> PathToWinner | None:
    """Returns the path of a search; None if it has no winner yet, or nothing to explain."""
    if found is None or not found.study.is_complete or not found.groups:
        return None
    train = command("explain", found.study)
    if not found.is_complete:
        return PathToWinner(found.measure, (), "", train, describe_effort(found))
    arrow = "\N{RIGHTWARDS ARROW}"
    rows = tuple(
        replace(row, changes=row.changes.replace("->", arrow)) for row in explanation_rows(found)
    )
    return PathToWinner(found.measure, rows, " ".join(summarise_explanation(found)), train, "")
