"""The path from the Keras example to the winner, or the command that trains it."""

from dataclasses import dataclass

from vaetune.report.text.explanation import (
    Row,
    describe_effort,
    explanation_rows,
    summarise_explanation,
)
from vaetune.study import Explanation, command


@dataclass(frozen=True)
class PathToWinner:
    """What each group of choices is worth.

    Attributes:
        rows: The Keras example, then each step; empty until the path is trained.
        summary: Sentences about the numbers.
        command: Command that trains the path.
        effort: Number of its trainings.
    """

    rows: tuple[Row, ...]
    summary: str
    command: str
    effort: str


def compute_path(found: Explanation | None) -> PathToWinner | None:
    """Returns the path of a search; None if it has no winner yet, or nothing to explain."""
    if found is None or not found.study.is_complete or not found.groups:
        return None
    train = command("explain", found.study)
    if not found.is_complete:
        return PathToWinner((), "", train, describe_effort(found))
    rows, summary = explanation_rows(found), summarise_explanation(found)
    arrow = "\N{RIGHTWARDS ARROW}"
    shown = tuple(
        (group, losses, gain, changes.replace("->", arrow)) for group, losses, gain, changes in rows
    )
    return PathToWinner(shown, " ".join(summary), train, "")
