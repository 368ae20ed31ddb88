"""What a search found, in a sentence and a table, whatever state it is in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from vaetune.report.analysis.timeline import study_moments
from vaetune.report.text.units import (
    NOTHING,
    counted,
    difference,
    duration,
    hyperparameter,
    nats,
    percent,
    plus_minus,
    whole,
)
from vaetune.study import Evaluation, Study, Trial, command

_TEST = "Test images; losses in nats per image"

LEVEL = 0.05
"""Nats per image that no page of one decimal shows."""


@dataclass(frozen=True)
class State:
    """How far a search is.

    Attributes:
        summary: A few words.
        advice: Advice to the reader; empty if there is nothing to do.
        go_on: The command that does it; empty where there is nothing to do.
    """

    summary: str
    advice: str = ""
    go_on: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the comparison: cells are written out.

    Attributes:
        same: Whether the two models do not differ in it.
        lead: Whether it is the objective.
    """

    name: str
    winner: str
    reference: str
    difference: str = ""
    same: bool = False
    lead: bool = False


@dataclass(frozen=True)
class Comparison:
    """The winner compared with the reference: rows under headings.

    Attributes:
        protocol: Settings of the evaluation on the test images; empty if there is none.
    """

    winner: Trial
    reference: Trial | None
    groups: Mapping[str, tuple[Row, ...]]
    protocol: str


def headline(study: Study, baseline: Study | None) -> str:
    """The answer in one sentence."""
    winner = study.winner
    if winner is None or winner.score is None:
        return _no_winner(study)
    who = f"Trial {winner.trial_id} (configuration {winner.configuration})"
    so_far = "" if study.is_complete else " so far"
    found = f"{who} reaches {nats(winner.score)} nats per image{so_far}"
    reference = baseline.winner if baseline else None
    if reference is None or reference.score is None:
        return f"{found} after {counted(winner.epoch_to, 'epoch')}."
    lead = reference.score - winner.score
    side = "below" if lead > 0 else "above"
    gap = f"{nats(abs(lead))} {side}" if abs(lead) >= LEVEL else "level with"
    if winner.epoch_to == reference.epoch_to:
        return f"{found}, {gap} the Keras example at the same {counted(winner.epoch_to, 'epoch')}."
    return (
        f"{found} after {counted(winner.epoch_to, 'epoch')}, {gap} the Keras example "
        f"after {reference.epoch_to}."
    )


def state(study: Study, now: datetime, is_running: bool = False) -> State:
    """Says whether a search is complete, stopped or running, and how to continue it.

    Args:
        study: The search.
        now: Time at which the page is written.
        is_running: Whether it is known to be under way; its journal alone cannot tell.
    """
    ended = sum(trial.ended is not None for trial in study.trials)
    planned = study.trials_planned
    failed = f", {len(study.failures)} failed" if study.failures else ""
    if study.is_complete:
        summary = f"Complete: {counted(ended, 'trial')}{failed}"
        if study.winner:
            return State(summary)
        return State(
            summary,
            "Mend what the messages below tell of, then search again:",
            command("search", study, "--overwrite"),
        )
    so_far = f"{ended} of {counted(planned, 'trial')}{failed}"
    running = sum(trial.status == "running" for trial in study.trials)
    under_way = f", {running} under way" if running > 1 else ""
    go_on = command("search", study)
    if study.last_end is None and is_running:
        return State(f"Running: {so_far}{under_way}")
    if study.last_end is None:
        silent = duration((now - max(study_moments(study))).total_seconds())
        advice = (
            "The journal records no end: the search is running, or it was killed. Its last news "
            f"is {silent} old. Should it no longer run, this goes on with it:"
        )
        return State(f"In progress: {so_far}", advice, go_on)
    said = study.last_end.message or "no message"
    match study.last_end.reason:
        case "error":
            advice = f"The error: {said}. This goes on with it:"
            return State(f"Stopped by an error: {so_far}", advice, go_on)
        case "failures":
            advice = f"{said} The messages below tell why. Should it go on all the same:"
            go_on = command("search", study, "--max-failure-rate", "1")
            return State(f"Stopped, too many trials failed: {so_far}", advice, go_on)
        case "time_budget":
            advice = f"{said} What was found is kept. This goes on with it:"
            return State(f"Stopped by its time budget: {so_far}", advice, go_on)
    return State(f"Interrupted: {so_far}", "What was found is kept. This goes on with it:", go_on)


def compare(study: Study, baseline: Study | None) -> Comparison | None:
    """Compares the winner with the reference; None while there is no winner."""
    winner = study.winner
    if winner is None:
        return None
    reference = baseline.winner if baseline else None
    judged = study.evaluation(winner)
    groups = {"Validation loss, nats per image": tuple(_losses(study, winner, reference))}
    if judged:
        ours = judged.evaluation
        alike = baseline.evaluation(reference, ours.protocol) if baseline and reference else None
        groups[_TEST] = tuple(_test_rows(ours, alike.evaluation if alike else None))
    groups["Hyperparameters"] = tuple(_hyperparameters(study, winner, reference))
    groups["Cost"] = tuple(_costs(study, winner, baseline, reference))
    protocol = _describe_protocol(judged.evaluation) if judged else ""
    return Comparison(winner, reference, groups, protocol)


def no_reference(study: Study) -> str:
    """Explains why a search has no Keras example to compare with."""
    if not study.search.baseline:
        return (
            "There is no Keras example beside it, because this search leaves it out "
            "(baseline = false)."
        )
    return (
        "There is no Keras example beside it: none has been trained on these data with the same "
        "seed, batch size and largest number of epochs."
    )


def hyperparameter_names(study: Study) -> tuple[str, ...]:
    """The names of the space, and any others that a trial has."""
    names = dict.fromkeys(name for name, _ in study.space.dimensions())
    for trial in study.trials:
        names |= dict.fromkeys(trial.hyperparameters)
    return tuple(names)


def _no_winner(study: Study) -> str:
    if study.failures and len(study.failures) == len(study.trials):
        count = len(study.trials)
        if study.is_complete:
            return "The only trial failed." if count == 1 else f"All {count} trials failed."
        return f"No trial has completed yet; {counted(count, 'trial')} failed."
    if study.is_complete:
        return "No trial has a loss to compare."
    return "No trial has completed yet."


def _losses(study: Study, winner: Trial, reference: Trial | None) -> Iterator[Row]:
    ours, theirs = winner.best, reference.best if reference else None
    floor = study.started.data.entropy_floor
    if ours is None:
        return
    their_loss = theirs.val_loss if theirs else None
    pairs = {
        "Negative ELBO": (ours.val_loss, their_loss),
        "Reconstruction": (
            ours.val_reconstruction_loss,
            theirs.val_reconstruction_loss if theirs else None,
        ),
        "KL": (ours.val_kl_loss, theirs.val_kl_loss if theirs else None),
        "Above the entropy floor": (
            ours.val_loss - floor,
            None if their_loss is None else their_loss - floor,
        ),
    }
    for name, (our, their) in pairs.items():
        lead = name == "Negative ELBO"
        yield Row(name, nats(our), nats(their), difference(our, their), lead=lead)


def _test_rows(ours: Evaluation, theirs: Evaluation | None) -> Iterator[Row]:
    pairs = {
        "Negative ELBO": (ours.negative_elbo, theirs.negative_elbo if theirs else None),
        "Likelihood bound": (
            ours.importance_weighted_bound,
            theirs.importance_weighted_bound if theirs else None,
        ),
    }
    for name, (our, their) in pairs.items():
        gap = difference(our.mean, their.mean if their else None)
        yield Row(name, plus_minus(our, 1), plus_minus(their, 1), gap)
    yield Row("Active units", _units(ours), _units(theirs))
    if ours.knn_accuracy is not None:
        yield Row("kNN accuracy", percent(ours.knn_accuracy), _accuracy(theirs))


def _units(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return NOTHING
    return f"{evaluation.active_units} of {len(evaluation.kl_per_dimension)}"


def _accuracy(evaluation: Evaluation | None) -> str:
    known = evaluation.knn_accuracy if evaluation else None
    return NOTHING if known is None else percent(known)


def _describe_protocol(evaluation: Evaluation) -> str:
    told = evaluation.protocol
    return (
        f"Test: {counted(evaluation.test_images, 'image')}, "
        f"{counted(told.posterior_samples, 'posterior sample')} of each, at the best epoch; "
        "\N{PLUS-MINUS SIGN} is the standard error over images. The bound on the negative "
        f"log-likelihood is importance-weighted, k = {told.importance_samples:,} on the first "
        f"{counted(told.importance_images, 'image')}. kNN: the {told.neighbours} nearest z_mean of "
        f"training images. Seed {told.seed}."
    )


def _hyperparameters(study: Study, winner: Trial, reference: Trial | None) -> Iterator[Row]:
    for name in hyperparameter_names(study):
        ours = winner.hyperparameters.get(name)
        theirs = reference.hyperparameters.get(name) if reference else None
        yield Row(name, hyperparameter(ours), hyperparameter(theirs), same=ours == theirs)


def _costs(
    study: Study, winner: Trial, baseline: Study | None, reference: Trial | None
) -> Iterator[Row]:
    ours, theirs = winner.parameters, reference.parameters if reference else None
    yield Row("Parameters", whole(ours), whole(theirs), difference(ours, theirs, decimals=0))
    yield Row("Best epoch", _best_epoch(winner), _best_epoch(reference))
    yield Row("Training time", _trained(study, winner), _trained(baseline, reference))


def _best_epoch(trial: Trial | None) -> str:
    if trial is None or trial.best is None:
        return NOTHING
    return f"{trial.best.epoch} of {trial.epoch_to}"


def _trained(study: Study | None, trial: Trial | None) -> str:
    if study is None or trial is None:
        return NOTHING
    return duration(sum(part.duration_s for part in study.lineage(trial)))
