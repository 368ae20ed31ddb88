"""A search and what it found, in plain text."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vaetune.journal import DataSummary, Rung
from vaetune.spec import Number, Origin, SearchSpec, flatten
from vaetune.study import TRIAL_COLUMNS, Study, Trial, trial_row


def describe_search(
    spec: SearchSpec, data: DataSummary, origins: Mapping[str, Origin], device: str, threads: int
) -> str:
    """The resolved search and where each value came from."""
    rows = [row for row in list_settings(spec) if row[0] != "description"]
    width = max(len(key) for key, _ in rows)
    extra = {
        "data.dataset": describe_data(data),
        "device": f"{device}, {counted(threads, 'thread')}",
    }
    lines = [
        f"  {key:<{width}}  {value:<24}  {origins.get(key, 'default'):<9}{extra.get(key, '')}"
        for key, value in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def list_settings(spec: SearchSpec) -> list[tuple[str, str]]:
    """The values of a resolved search, by dotted key; without those that are not set."""
    flat = flatten(spec.model_dump(exclude_none=True))
    return [(key, _written(value)) for key, value in flat.items()]


def describe_data(data: DataSummary) -> str:
    """How many images of what shape."""
    height, width, channels = data.image_shape
    return (
        f"{data.train_images:,} training and {data.validation_images:,} validation images "
        f"of {height} x {width} x {channels}"
    )


def describe_plan(plan: Sequence[Rung]) -> str:
    """How many trials, configurations and epochs a plan holds."""
    trials = sum(rung.trials for rung in plan)
    configurations = sum(rung.trials for rung in plan if rung.rung == 0)
    epochs = sum(rung.epochs for rung in plan)
    return (
        f"{counted(trials, 'trial')} of {counted(configurations, 'configuration')}, "
        f"{counted(epochs, 'epoch')}"
    )


def describe_winner(study: Study, trial: Trial, reference: Study | None) -> str:
    """A trial's losses, hyperparameters and origin, beside the Keras example's."""
    best = trial.best
    if best is None:
        return f"Trial {trial.trial_id} has no finished epoch."
    floor = best.val_loss - study.started.data.entropy_floor
    duration_s = sum(part.duration_s for part in study.lineage(trial))
    told = {
        "validation loss": f"{best.val_loss:.2f} nats per image (negative ELBO, {floor:.2f} above "
        "the entropy floor of the data)",
        "reconstruction": f"{best.val_reconstruction_loss:.2f}",
        "KL": f"{best.val_kl_loss:.2f}",
        "hyperparameters": short_hyperparameters(trial.hyperparameters),
        "parameters": f"{trial.parameters:,}" if trial.parameters else "unknown",
        "trained": f"{counted(best.epoch, 'epoch')}, {duration_s:.1f} s",
        "found by": f"{study.name}: trial {trial.trial_id}, configuration {trial.configuration}, "
        f"bracket {trial.bracket}, rung {trial.rung}",
    }
    if reference and reference.winner and reference.winner.best:
        theirs = reference.winner.best
        told["Keras example"] = (
            f"{theirs.val_loss:.2f} after {counted(theirs.epoch, 'epoch')}: "
            f"{_difference(theirs.val_loss - best.val_loss)}"
        )
    width = max(map(len, told))
    return "\n".join(f"  {key:<{width}}  {value}" for key, value in told.items())


def short_hyperparameters(values: Mapping[str, Number]) -> str:
    """A configuration in a few words."""
    return (
        f"filters {values['filters_1']}/{values['filters_2']}, dense {values['dense_units']}, "
        f"latent {values['latent_dim']}, rate {values['learning_rate']:.2g}"
    )


def trials_as_table(study: Study) -> str:
    """One line a trial, in the order they started."""
    header = (
        "trial",
        "config",
        "from",
        "bracket",
        "rung",
        "status",
        "epochs",
        "val_loss",
        "recon",
        "KL",
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
    """An array of objects with `study.TRIAL_COLUMNS`; what is not finite is null."""
    rows = [_finite(trial_row(trial)) for trial in study.trials]
    return json.dumps(rows, indent=2, allow_nan=False)


def trials_as_csv(study: Study) -> str:
    """A header and one line a trial; each hyperparameter is a column of its own."""
    table = study.trials_table()
    names = [name for name, _ in study.space.dimensions()]
    for name in names:
        table[name] = [trial.hyperparameters.get(name) for trial in study.trials]
    apart = ("hyperparameters", "error", "traceback")
    columns = [name for name in TRIAL_COLUMNS if name not in apart]
    text: str = table[[*columns, *names, "error"]].to_csv(index=False, lineterminator="\n")
    return text.rstrip("\n")


def failures_in_full(study: Study) -> str:
    """Every failed trial: what it tried, in which epoch it failed, message and traceback."""
    if not study.failures:
        return f"No trial of {study.name} failed."
    return "\n\n".join(_failure(trial) for trial in study.failures)


def _failure(trial: Trial) -> str:
    where = "before its first epoch" if trial.failed_in is None else f"in epoch {trial.failed_in}"
    told = {
        "hyperparameters": short_hyperparameters(trial.hyperparameters),
        "error": trial.error or "no message",
        **{f"retry {retry.attempt} after": retry.error for retry in trial.retries},
    }
    width = max(map(len, told))
    lines = [f"Trial {trial.trial_id} (configuration {trial.configuration}) failed {where}"]
    lines += [f"  {key:<{width}}  {value}" for key, value in told.items()]
    return "\n".join([*lines, (trial.traceback or "").rstrip()]).rstrip()


def counted(number: int, thing: str) -> str:
    """A number of things, in the singular where it is one."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def list_searches(described: Iterable[tuple[str, str]]) -> str:
    """Names and descriptions of searches, a line each."""
    rows = list(described)
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {description}".rstrip() for name, description in rows)


def _written(value: Any) -> str:
    """A value as a person would write it in a search file."""
    match value:
        case bool():
            return str(value).lower()
        case {"values": values}:
            return ", ".join(map(str, values))
        case {"min": low, "max": high, "scale": scale}:
            return f"{low} to {high}, {scale}"
        case {"value": pinned}:
            return f"{pinned}, pinned"
    return str(value)


def _table_row(trial: Trial) -> tuple[str, ...]:
    best = trial.best
    return (
        trial.trial_id,
        str(trial.configuration),
        trial.parent or "-",
        str(trial.bracket),
        str(trial.rung),
        trial.status,
        f"{trial.epoch_from + 1}-{trial.epoch_to}",
        f"{best.val_loss:.2f}" if best else "-",
        f"{best.val_reconstruction_loss:.2f}" if best else "-",
        f"{best.val_kl_loss:.2f}" if best else "-",
        f"{trial.duration_s:.1f}",
        f"{trial.parameters:,}" if trial.parameters else "-",
        short_hyperparameters(trial.hyperparameters) + (f" | {trial.error}" if trial.error else ""),
    )


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _difference(nats: float) -> str:
    side = "below" if nats >= 0 else "above"
    return f"the winner is {abs(nats):.2f} nats {side} it"
