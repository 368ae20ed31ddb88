"""Studies as a notebook shows them: HTML in which every text is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from vaetune.study.trial import Trial

BEST_SHOWN = 5
"""Trials in the table of a study."""

MISSING = "\N{EN DASH}"


def study_as_html(
    title: str,
    best: Sequence[Trial],
    measured_again: Mapping[str, Mapping[str, str]],
    report: Path,
) -> str:
    """Shows the winner and the best trials of a study, and the path of its report.

    Args:
        title: Name and state of the study, such as "hyperband: complete, 23 trials".
        best: Completed trials, the winner first.
        measured_again: Further columns by their heading, each with text by the id of the trial.
        report: Path of the report, which may not exist yet.
    """
    parts = [f"<strong>{escape(title)}</strong>"]
    if best:
        parts.append(f"Winner: {escape(describe_trial(best[0]))}")
        columns = ("trial", best[0].objective.title, *measured_again, "epochs", "hyperparameters")
        rows = [_row(trial, measured_again.values()) for trial in best[:BEST_SHOWN]]
        parts.append(table(columns, rows))
    else:
        parts.append("No trial has completed yet.")
    path = f"<code>{escape(str(report))}</code>"
    parts.append(f"Report: {path}" + ("" if report.exists() else ", not written yet"))
    return "".join(f"<div>{part}</div>" for part in parts)


def describe_trial(trial: Trial) -> str:
    """Returns a line with the score, the epochs and the hyperparameters of a completed trial."""
    score = MISSING if trial.score is None else trial.objective.text(trial.score)
    epochs = f"{trial.epoch_to} epoch{'s' * (trial.epoch_to != 1)}"
    collapsed = ", collapsed" if trial.collapsed else ""
    return f"trial {trial.trial_id}, {score}, {epochs}, {trial.words}{collapsed}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table that scrolls if it is wider than its place.

    Args:
        columns: Heading of each column.
        rows: Cells of each row, as plain text.
    """
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        '<div style="overflow-x: auto"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(trial: Trial, measured_again: Iterable[Mapping[str, str]]) -> list[str]:
    return [
        trial.trial_id,
        MISSING if trial.score is None else trial.objective.number(trial.score),
        *(column.get(trial.trial_id, MISSING) for column in measured_again),
        str(trial.epoch_to),
        trial.words,
    ]
