"""Prints trials as a table, JSON or CSV."""

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from vaetune.config import REFERENCE, VALIDATION_LOSS, Objective, short_hyperparameters
from vaetune.report.text.collapse import describe_end, describe_status
from vaetune.report.text.units import NOTHING
from vaetune.study import TRIAL_COLUMNS, Study, Trial, TrialEnded, TrialStarted, use_columns


def best_epoch(trial: Trial | None) -> str:
    """The best epoch of a trial among those that were trained, such as "8 of 9"."""
    best = trial.best if trial else None
    return f"{best.epoch} of {trial.epochs[-1].epoch}" if trial and best else NOTHING


def trials_as_table(study: Study) -> str:
    """A table with a line for each trial, in the order in which they started."""
    header = (
        "trial",
        "config",
        "from",
        "bracket",
        "rung",
        "status",
        "epochs",
        *(() if study.objective.is_loss else (study.objective.title,)),
        "val_loss",
        "recon",
        "KL",
        "active",
        "seconds",
        "parameters",
        "hyperparameters",
    )
    rows = [header, *(_table_row(trial) for trial in study.trials)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    left = {0, 5, len(header) - 1}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def trials_as_json(study: Study) -> str:
    """A JSON array with an object of `TRIAL_COLUMNS` and `use_columns` for each trial.

    Numbers that are not finite become null.
    """
    rows = [_finite(trial.as_row()) for trial in study.trials]
    return json.dumps(rows, indent=2, allow_nan=False)


def trials_as_csv(study: Study) -> str:
    """CSV with a header and a line for each trial. Each hyperparameter has its own column."""
    import pandas as pd  # It takes long to import, and other output does not need it.

    table = study.trials_table()
    names = [name for name, _ in study.space.dimensions()]
    for name in names:
        values = [trial.hyperparameters.get(name) for trial in study.trials]
        table[name] = pd.Series(values, dtype=object)  # Integers stay integers if a cell is empty.
    moved = ("hyperparameters", "error", "traceback")
    columns = [*TRIAL_COLUMNS, *use_columns(study.objective)]
    columns = [name for name in columns if name not in moved]
    text: str = table[[*columns, *names, "error"]].to_csv(index=False, lineterminator="\n")
    return text.rstrip("\n")


def failures_in_full(study: Study) -> str:
    """Describes every failed trial: hyperparameters, epoch, error message and traceback."""
    if not study.failures:
        return f"No trial of {study.name} failed."
    return "\n\n".join(_describe_failure(trial) for trial in study.failures)


def _describe_failure(trial: Trial) -> str:
    where = "before its first epoch" if trial.failed_in is None else f"in epoch {trial.failed_in}"
    facts = {
        "hyperparameters": trial.words,
        "error": trial.error or "no message",
        **{f"retry {retry.attempt} after": retry.error for retry in trial.retries},
    }
    width = max(map(len, facts))
    lines = [f"Trial {trial.trial_id} (configuration {trial.configuration}) failed {where}"]
    lines += [f"  {key:<{width}}  {value}" for key, value in facts.items()]
    return "\n".join([*lines, (trial.traceback or "").rstrip()]).rstrip()


def _table_row(trial: Trial) -> tuple[str, ...]:
    best = trial.best
    return (
        trial.trial_id,
        str(trial.configuration),
        trial.parent or "-",
        str(trial.bracket),
        str(trial.rung),
        describe_status(trial),
        f"{trial.epoch_from + 1}-{trial.epoch_to}",
        *(() if trial.objective.is_loss else (_describe_score(trial),)),
        f"{best.val_loss:.2f}" if best else "-",
        f"{best.val_reconstruction_loss:.2f}" if best else "-",
        f"{best.val_kl_loss:.2f}" if best else "-",
        "-" if trial.active_units is None else str(trial.active_units),
        f"{trial.duration_s:.1f}",
        f"{trial.parameters:,}" if trial.parameters else "-",
        trial.words + (f" | {trial.error}" if trial.error else ""),
    )


def _describe_score(trial: Trial) -> str:
    return "-" if trial.score is None else trial.objective.number(trial.score)


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def trial_line(
    label: str,
    started: TrialStarted,
    ended: TrialEnded,
    searched: Collection[str] = (),
    objective: Objective = VALIDATION_LOSS,
) -> str:
    """A line with the score, epochs, hyperparameters and duration of a trial that ended.

    The line of a collapsed trial ends with its active units and KL divergence.

    Args:
        label: Name of the trial, such as "trial 0003 (4 of 23)".
        started: Event of the trial's start.
        ended: Event of the trial's end.
        searched: Names of the hyperparameters that are searched.
        objective: Objective of the search.
    """
    training = f"{describe_training(started, searched)}{_describe_decision(started, objective)}"
    if ended.score is None:
        outcome = f"failed: {ended.error}"
    else:
        outcome = f"{objective.short(objective.value(ended.score)):>13}"
    line = f"{label:<20} {outcome}  {training}  {ended.duration_s:.1f} s"
    return f"{line}  {describe_end(ended)}".rstrip()


def _describe_decision(started: TrialStarted, objective: Objective) -> str:
    """What was expected of the configuration when the trial was chosen; empty if nothing was."""
    decision = started.decision
    if decision is None:
        return ""
    expected = objective.rough(objective.value(decision.expected_loss))
    deviation = objective.rough(decision.deviation)
    return f"  expected {expected} \N{PLUS-MINUS SIGN} {deviation} after epoch {decision.epoch}"


def describe_training(started: TrialStarted, searched: Collection[str] = ()) -> str:
    """The epochs and the searched hyperparameters of a trial, in one line.

    The Keras example is shown with all of its own, which may differ from those of the search.
    """
    epochs = f"epochs {started.epoch_from + 1} to {started.epoch_to}"
    names = REFERENCE if started.hyperparameters == REFERENCE else searched
    return f"{epochs:<14}  {short_hyperparameters(started.hyperparameters, names)}"
