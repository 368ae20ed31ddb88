"""A search and what it found, in plain text."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vaetune.device import ChosenDevice
from vaetune.evaluation import Binarize, Estimate, Evaluation
from vaetune.journal import DataSummary, Rung, TrialEvaluated
from vaetune.rescoring import FINALISTS
from vaetune.search_file import Origin
from vaetune.space import Number
from vaetune.spec import SearchSpec, flatten
from vaetune.study import TRIAL_COLUMNS, Study, Trial, trial_row


def describe_search(
    spec: SearchSpec, data: DataSummary, origins: Mapping[str, Origin], trainers: str
) -> str:
    """The resolved search and where each value came from.

    Args:
        spec: The search.
        data: Its images.
        origins: Where its values came from.
        trainers: On what it trains, such as "CPU, 2 threads".
    """
    rows = [row for row in list_settings(spec) if row[0] != "description"]
    width = max(len(key) for key, _ in rows)
    extra = {
        "data.dataset": describe_data(data),
        "device": trainers,
    }
    lines = [
        f"  {key:<{width}}  {value:<24}  {origins.get(key, 'default'):<9}{extra.get(key, '')}"
        for key, value in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def describe_device(device: ChosenDevice) -> str:
    """What this process trains on."""
    return f"{device.name}, {counted(device.threads, 'thread')}"


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


def describe_retraining(plan: Sequence[Rung], spec: SearchSpec) -> str:
    """What is trained to choose among the finalists of a search."""
    drawn = sum(rung.trials for rung in plan if rung.rung == 0)
    trainings = min(FINALISTS, drawn) * spec.limits.final_seeds
    return (
        f"{counted(min(FINALISTS, drawn), 'finalist')} trained from "
        f"{counted(spec.limits.final_seeds, 'other seed')} each, "
        f"{counted(trainings * spec.budget.max_epochs, 'epoch')} at the most"
    )


def describe_winner(study: Study, trial: Trial, reference: Study | None) -> str:
    """A trial's losses, hyperparameters and origin, beside the Keras example's."""
    best = trial.best
    if best is None:
        return f"Trial {trial.trial_id} has no finished epoch."
    data = study.started.data
    excess = best.val_loss - data.entropy_floor
    floor = f", {excess:.2f} above the entropy floor of the data" if data.entropy_floor else ""
    duration_s = sum(part.duration_s for part in study.lineage(trial))
    told = {
        "validation loss": f"{best.val_loss:.2f} nats per image (negative ELBO{floor})",
        "reconstruction": f"{best.val_reconstruction_loss:.2f}",
        "KL": f"{best.val_kl_loss:.2f}",
        "hyperparameters": short_hyperparameters(trial.hyperparameters),
        "parameters": f"{trial.parameters:,}" if trial.parameters else "unknown",
        "trained": f"{counted(best.epoch, 'epoch')}, {duration_s:.1f} s",
        "found by": _origin(study, trial),
        "measured on": f"{counted(data.validation_images, 'validation image')}, one posterior "
        f"sample of each, {PIXELS[study.search.data.binarize].partition(':')[0]}",
    }
    if reference and reference.winner and reference.winner.best:
        theirs = reference.winner.best
        told["Keras example"] = (
            f"{theirs.val_loss:.2f} after {counted(theirs.epoch, 'epoch')}: "
            f"{_difference(theirs.val_loss - best.val_loss)}"
        )
    width = max(map(len, told))
    return "\n".join(f"  {key:<{width}}  {value}" for key, value in told.items())


def _origin(study: Study, trial: Trial) -> str:
    if study.search.algorithm == "single":
        return study.search.description or f"vaetune train, in {study.address}"
    return (
        f"{study.name}: trial {trial.trial_id}, configuration {trial.configuration}, "
        f"bracket {trial.bracket}, rung {trial.rung}"
    )


def short_hyperparameters(values: Mapping[str, Number]) -> str:
    """A configuration in a few words."""
    words = (
        f"filters {values['filters_1']}/{values['filters_2']}, dense {values['dense_units']}, "
        f"latent {values['latent_dim']}, rate {values['learning_rate']:.2g}"
    )
    named = {"batch_size": "batch", "beta": "beta"}
    return words + "".join(f", {named[key]} {values[key]:.4g}" for key in named if key in values)


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


def evaluations_as_table(judged: Mapping[str, TrialEvaluated]) -> str:
    """What the test images say of models, a column each, under the protocol that they share.

    Args:
        judged: The evaluations by one protocol on the same images, by what to call the models.
    """
    told = [evaluation_rows(event) for event in judged.values()]
    rows = [("", *judged), *((key, *(each[key] for each in told)) for key in told[0])]
    first, *others = zip(*rows, strict=True)
    widths = [max(map(len, column)) for column in others]
    table = [
        f"  {key:<{max(map(len, first))}}  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        for key, *cells in rows
    ]
    details = [
        f"  {name}: {', '.join(f'{kl:.2f}' for kl in event.evaluation.kl_per_dimension)}"
        for name, event in judged.items()
    ]
    lines = [
        describe_protocol(next(iter(judged.values())).evaluation),
        *table,
        "KL of each latent dimension, nats",
        *details,
    ]
    return "\n".join(line.rstrip() for line in lines)


PIXELS: Mapping[Binarize, str] = {
    "none": "pixels as they are: no comparison with likelihoods of binarised images",
    "threshold": "pixels binarised at one half: 1 from there on, else 0",
    "stochastic": "pixels drawn once: 1 with the probability that is their value, else 0",
}
"""What likelihoods are of."""


def describe_protocol(evaluation: Evaluation) -> str:
    """How models were measured, in a few lines."""
    protocol, window = evaluation.protocol, evaluation.ssim_window
    return (
        f"  {counted(evaluation.test_images, 'test image')}; "
        f"{counted(protocol.posterior_samples, 'posterior sample')} of each, seed "
        f"{protocol.seed}; +- is the standard error over images\n"
        f"  {PIXELS[protocol.binarize]}\n"
        f"  importance-weighted bound: k = {protocol.importance_samples:,} on the first "
        f"{counted(protocol.importance_images, 'test image')}\n"
        f"  active: z_mean varies by more than {protocol.active_variance:g}; kNN: the "
        f"{protocol.neighbours} nearest z_mean of training images; SSIM in windows of "
        f"{window} x {window}"
    )


def evaluations_as_json(judged: Mapping[str, TrialEvaluated]) -> str:
    """An array of objects, one a model; what is not finite is null."""
    rows = []
    for name, event in judged.items():
        evaluation = event.evaluation
        derived = {
            "above_entropy_floor": evaluation.above_entropy_floor,
            "active_units": evaluation.active_units,
        }
        where = event.model_dump(mode="json", exclude={"event", "evaluation"})
        rows.append({"model": name, **where, **asdict(evaluation), **derived})
    return json.dumps(_finite_throughout(rows), indent=2, allow_nan=False)


def evaluation_rows(event: TrialEvaluated) -> dict[str, str]:
    """What was measured of a model, by what to call it; what is part of another is indented."""
    evaluation = event.evaluation
    bound = evaluation.importance_weighted_bound
    accuracy = evaluation.knn_accuracy
    dimensions = len(evaluation.kl_per_dimension)
    return {
        "judged": f"{event.time:%Y-%m-%d %H:%M} UTC, {event.duration_s:.0f} s",
        "best epoch": str(event.epoch),
        "negative ELBO, nats per image": with_error(evaluation.negative_elbo),
        "  reconstruction": with_error(evaluation.reconstruction),
        "  KL": with_error(evaluation.kl),
        f"  above the entropy floor, {evaluation.entropy_floor:.2f}": (
            f"{evaluation.above_entropy_floor:.2f}"
        ),
        "negative log-likelihood, bound": with_error(bound),
        "active units": f"{evaluation.active_units} of {dimensions}",
        "kNN accuracy of z_mean": "no labels" if accuracy is None else f"{accuracy:.1%}",
        "z_mean decoded (no ELBO), PSNR": f"{evaluation.psnr:.2f} dB",
        "z_mean decoded (no ELBO), SSIM": f"{evaluation.ssim:.3f}",
    }


def with_error(estimate: Estimate) -> str:
    """A mean and its standard error."""
    error = estimate.standard_error
    return f"{estimate.mean:.2f}" + ("" if error is None else f" +- {error:.2f}")


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


def _finite_throughout(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite_throughout(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite_throughout(part) for part in value]
        case float() if not math.isfinite(value):
            return None
    return value


def _difference(nats: float) -> str:
    side = "below" if nats >= 0 else "above"
    return f"the winner is {abs(nats):.2f} nats {side} it"
