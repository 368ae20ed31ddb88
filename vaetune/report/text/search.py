"""Describes a search before it runs, and its winner afterwards."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vaetune.config import (
    KERAS_EXAMPLE,
    Compilation,
    Objective,
    Origin,
    SearchSpec,
    flatten,
    short_hyperparameters,
)
from vaetune.report.text.collapse import describe_collapsed
from vaetune.report.text.compilation import describe_compilation
from vaetune.report.text.evaluations import PIXELS
from vaetune.report.text.images import describe_data
from vaetune.report.text.trials import best_epoch
from vaetune.report.text.units import counted
from vaetune.study import (
    FINALISTS,
    DataSummary,
    Rung,
    Study,
    Trial,
    is_open,
)


def describe_search(
    spec: SearchSpec,
    data: DataSummary,
    origins: Mapping[str, Origin],
    trainers: str,
    compilation: Compilation | None = None,
) -> str:
    """The values of a resolved search and their origins, one per line.

    Args:
        spec: Search to describe.
        data: Summary of the images.
        origins: Origin of the values, such as "file" or "flag", by dotted key.
        trainers: Device or workers that train, such as "CPU, 2 threads".
        compilation: Compiled programs of the search, if they are known.
    """
    rows = [row for row in list_settings(spec) if row[0] != "description"]
    width = max(len(key) for key, _ in rows)
    extra = {
        "data.dataset": describe_data(data),
        "device": trainers,
        "training.compile": describe_compilation(compilation) if compilation else "",
    }
    lines = [
        f"  {key:<{width}}  {value:<24}  {origins.get(key, 'default'):<9}{extra.get(key, '')}"
        for key, value in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def list_settings(spec: SearchSpec) -> list[tuple[str, str]]:
    """The dotted keys and the values of a resolved search; values that are None are left out."""
    flat = flatten(spec.model_dump(exclude_none=True))
    if (bounds := flat.get("data.range")) is not None:
        flat["data.range"] = f"{bounds[0]:g}..{bounds[1]:g}"
    if (size := flat.get("data.image_size")) is not None:
        flat["data.image_size"] = " x ".join(map(str, size))
    if spec.start_with:
        points = (short_hyperparameters(point, point) for point in spec.start_with)
        flat["start_with"] = "; ".join(points)
    return [(key, _format_setting(value)) for key, value in flat.items()]


def describe_plan(plan: Sequence[Rung]) -> str:
    """The numbers of trials, configurations and epochs of a plan."""
    trials = sum(rung.trials for rung in plan)
    configurations = sum(rung.trials for rung in plan if rung.rung == 0)
    epochs = sum(rung.epochs for rung in plan)
    if is_open(plan):
        limit = f", at most {counted(trials, 'trial')}" if trials < epochs else ""
        return f"at most {counted(epochs, 'epoch')}{limit}"
    return (
        f"{counted(trials, 'trial')} of {counted(configurations, 'configuration')}, "
        f"{counted(epochs, 'epoch')}"
    )


def describe_share(plan: Sequence[Rung], trials: int, epochs: int) -> str:
    """The done part of a plan: its trials, such as "4 of 23", or "9 of at most 75 epochs".

    Args:
        plan: Trials of the whole search.
        trials: Number of trials that have ended.
        epochs: Number of epochs that are trained.
    """
    if is_open(plan):
        return f"{epochs:,} of at most {counted(sum(rung.epochs for rung in plan), 'epoch')}"
    return f"{trials:,} of {sum(rung.trials for rung in plan):,}"


def describe_small_space(spec: SearchSpec, plan: Sequence[Rung]) -> str:
    """A sentence about a space with fewer configurations than the budget allows; else empty.

    Args:
        spec: Search to describe.
        plan: Trials of the whole search.
    """
    size, limit = spec.space.size(), spec.budget.max_trials
    drawn = sum(rung.trials for rung in plan if rung.rung == 0)
    if spec.algorithm == "single":
        return ""
    if size == 1:
        return "Every hyperparameter is pinned, so the space holds one configuration."
    is_unlimited = spec.algorithm == "hyperband" or (is_open(plan) and limit is None)
    if not (drawn >= size if is_unlimited else limit is not None and drawn < limit):
        return ""
    if spec.algorithm == "grid":
        size = drawn  # A grid has ten values of a range.
    fewer = f", fewer than max_trials = {limit}" if limit is not None and size < limit else ""
    repeated = f"; random draws find {drawn:,} before they repeat" if drawn < size else ""
    return f"The space holds {counted(int(size), 'configuration')}{fewer}{repeated}."


def describe_structures(spec: SearchSpec, plan: Sequence[Rung]) -> str:
    """A sentence about the model structures that a search may meet; empty if there is one.

    Args:
        spec: Search to describe.
        plan: Trials of the whole search.
    """
    configurations = sum(rung.trials for rung in plan if rung.rung == 0)
    met = min(spec.space.structures(), configurations)
    if met <= 1:
        return ""
    return f"Model structures: at most {met:,}, each with a computation graph of its own."


def describe_retraining(plan: Sequence[Rung], spec: SearchSpec) -> str:
    """The trainings from other seeds that choose among the finalists of a search."""
    configurations = sum(rung.trials for rung in plan if rung.rung == 0)
    finalists = min(FINALISTS, configurations)
    epochs = finalists * spec.limits.final_seeds * spec.budget.max_epochs
    return (
        f"{counted(finalists, 'finalist')} trained from "
        f"{counted(spec.limits.final_seeds, 'other seed')} each, at most "
        f"{counted(epochs, 'epoch')}"
    )


def describe_winner(
    study: Study, trial: Trial, reference: Study | None, example: Study | None = None
) -> str:
    """A trial's losses, hyperparameters and origin, and the loss of the Keras example.

    Args:
        study: Search or baseline that the trial belongs to.
        trial: Trial to describe.
        reference: Run of the Keras example, from `find_baseline`, or None.
        example: Run of the Keras example with its own likelihood, from `find_example`, or None.
    """
    best = trial.best
    if best is None:
        return f"Trial {trial.trial_id} has no finished epoch."
    data = study.started.data
    last, duration_s = trial.epochs[-1].epoch, sum(part.duration_s for part in study.lineage(trial))
    collapsed = {"collapsed": describe_collapsed(trial)} if trial.collapsed else {}
    objective = trial.objective
    use = {} if objective.is_loss else {objective.title: objective.text(best.value)}
    facts = {
        **use,
        "validation loss": f"{best.val_loss:.2f} nats per image (negative ELBO"
        f"{_describe_scale_of_loss(study, best.val_loss)})",
        "reconstruction": f"{best.val_reconstruction_loss:.2f}",
        "KL": f"{best.val_kl_loss:.2f}",
        **collapsed,
        "hyperparameters": trial.words,
        "parameters": f"{trial.parameters:,}" if trial.parameters else "unknown",
        "trained": f"{counted(last, 'epoch')}, {duration_s:.1f} s"
        + (f"; best epoch {best.epoch}" if best.epoch < last else ""),
        "found by": _origin(study, trial),
        "measured on": f"{counted(data.validation_images, 'validation image')}, one posterior "
        f"sample of each, {PIXELS[study.search.data.binarize].partition(':')[0]}",
    }
    rival = reference.winner if reference else None
    if reference and rival and rival.best:
        other = rival.best
        facts[reference.reference_name] = (
            f"{objective.number(other.value)} at its best epoch, {best_epoch(rival)}: "
            f"the winner is {describe_lead_over(objective, best.value, other.value)} it"
        )
    if note := describe_example(example):
        facts[KERAS_EXAMPLE] = note
    width = max(map(len, facts))
    return "\n".join(f"  {key:<{width}}  {value}" for key, value in facts.items())


def _describe_scale_of_loss(study: Study, loss: float) -> str:
    """The loss above its lower bound, or in bits per dimension."""
    if floor := study.entropy_floor:
        return f", {loss - floor:.2f} above the entropy floor of the data"
    bits = study.bits(loss)
    return "" if bits is None else f", {bits:.3f} bits per dimension"


def describe_example(example: Study | None) -> str:
    """What the Keras example reached in a search with another likelihood; empty without one.

    Losses of two likelihoods are not comparable, but accuracies are.

    Args:
        example: Run of the Keras example, from `find_example`, or None.
    """
    trained = example.winner if example else None
    if trained is None or trained.best is None:
        return ""
    objective = trained.objective
    reached = objective.number(trained.best.value)
    place = f"at its best epoch, {best_epoch(trained)}, with the Bernoulli likelihood"
    return f"{reached} {place}{': not comparable' * objective.is_loss}"


def _origin(study: Study, trial: Trial) -> str:
    if study.search.algorithm == "single":
        return study.search.description or f"vaetune train, in {study.address}"
    return f"{study.name}: trial {trial.trial_id}, {describe_place(study, trial)}"


def describe_place(study: Study, trial: Trial) -> str:
    """Returns the configuration of a trial and, for Hyperband, its bracket and rung.

    Args:
        study: Search of the trial.
        trial: The trial.
    """
    place = f"configuration {trial.configuration}"
    if study.search.algorithm != "hyperband":
        return place
    return f"{place}, bracket {trial.bracket}, rung {trial.rung}"


def list_searches(searches: Iterable[tuple[str, str]]) -> str:
    """Lists the names and descriptions of searches, one search per line."""
    rows = list(searches)
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {description}".rstrip() for name, description in rows)


def _format_setting(value: Any) -> str:
    """A value of a search file in short, such as "0.0001 to 0.01, log"."""
    match value:
        case bool():
            return str(value).lower()
        case {"when": conditions, **dimension}:
            return f"{_format_setting(dimension)}, only where {_format_conditions(conditions)}"
        case {"values": values}:
            return ", ".join(map(str, values))
        case {"min": low, "max": high, "scale": scale}:
            return f"{low} to {high}, {scale}"
        case {"value": pinned}:
            return f"{pinned}, pinned"
        case tuple():
            return ", ".join(map(str, value))
    return str(value)


def _format_conditions(conditions: Mapping[str, Sequence[Any]]) -> str:
    """Conditions on other hyperparameters, such as "latent_dim is 2 or 4"."""
    parts = (f"{name} is {' or '.join(map(str, one))}" for name, one in conditions.items())
    return " and ".join(parts)


def describe_lead_over(objective: Objective, value: float, other: float) -> str:
    """Says how far a value lies above or below another one, such as "3.20 nats below"."""
    lead = objective.lead(value, other)
    return f"{objective.difference(lead)} {objective.better if lead >= 0 else objective.worse}"
