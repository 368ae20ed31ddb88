"""A study as a notebook shows it."""

from collections.abc import Sequence
from html import escape

from vaetune.config import short_hyperparameters
from vaetune.study.trial import Trial

MAX_TRIALS = 5
"""Number of trials in the table."""


def study_as_html(title: str, best: Sequence[Trial], failures: int, report: str) -> str:
    """Returns the winner, the best trials and the path of the report as HTML.

    Every text is escaped: names and paths may hold anything.

    Args:
        title: Name and state of the study.
        best: Its completed trials, the winner first.
        failures: Number of failed trials.
        report: Path of the report, or how to write it.
    """
    parts = [f"<p><strong>{escape(title)}</strong></p>"]
    if best:
        parts.append(f"<p>Winner: {escape(describe(best[0]))}</p>")
        parts.append(_table(best[:MAX_TRIALS]))
    else:
        parts.append("<p>No trial has completed yet.</p>")
    if failures:
        parts.append(f"<p>{failures} failed: see <code>study.failures</code>.</p>")
    parts.append(f"<p>Report: {escape(report)}</p>")
    return "\n".join(parts)


def describe(trial: Trial) -> str:
    """Returns a trial's loss and hyperparameters in a line."""
    loss = "no finished epoch" if trial.score is None else f"{trial.score:.2f} nats"
    return f"trial {trial.trial_id}, {loss}, {short_hyperparameters(trial.hyperparameters)}"


def _table(trials: Sequence[Trial]) -> str:
    heads = ("trial", "val_loss", "epochs", "hyperparameters")
    rows = [
        (
            trial.trial_id,
            f"{trial.score:.2f}",
            f"{trial.epoch_from + 1} to {trial.epoch_to}",
            short_hyperparameters(trial.hyperparameters),
        )
        for trial in trials
    ]
    return (
        f"<table><thead><tr>{_cells('th', heads)}</tr></thead><tbody>"
        + "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
        + "</tbody></table>"
    )


def _cells(kind: str, texts: Sequence[str]) -> str:
    return "".join(f"<{kind}>{escape(text)}</{kind}>" for text in texts)
