"""Describes the result and the state of a search, and compares it with the Keras example."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vaetune.config import FAMILY, KERAS_EXAMPLE, Objective, is_used, value_of
from vaetune.report.text.trials import best_epoch
from vaetune.report.text.units import (
    NOTHING,
    counted,
    difference,
    duration,
    hyperparameter,
    integer,
    nats,
    percent,
    plus_minus,
    rough,
    rough_difference,
    titled,
)
from vaetune.study import Evaluation, Study, Trial, winner_by_loss

_MOST_LETTERS = 20
"""Letters of a row in large type, in all its cells together."""

_VALIDATION = "Validation loss at the best epoch, nats per image"
_TEST = "Test images; losses in nats per image"


@dataclass(frozen=True)
class Row:
    """A row of the comparison. All cells are text.

    Attributes:
        name: Name of the row.
        winner: Cell of the winner.
        reference: Cell of the Keras example.
        difference: Difference between the two, or empty.
        same: True if both have the same hyperparameter.
        is_objective: True if the row is the objective of the search.
    """

    name: str
    winner: str
    reference: str
    difference: str = ""
    same: bool = False
    is_objective: bool = False


@dataclass(frozen=True)
class Comparison:
    """A comparison of the winner with the Keras example.

    Attributes:
        winner: Winner of the search.
        reference: Trial of the Keras example, or None.
        reference_name: Name of the Keras example in the table.
        groups: Rows by heading.
        protocol: Protocol of the evaluation on the test images; empty without an evaluation.
    """

    winner: Trial
    reference: Trial | None
    reference_name: str
    groups: Mapping[str, tuple[Row, ...]]
    protocol: str

    @property
    def has_long_numbers(self) -> bool:
        """Whether the values of the objective leave no room for large type."""
        rows = [row for group in self.groups.values() for row in group if row.is_objective]
        return any(len(r.winner + r.reference + r.difference) > _MOST_LETTERS for r in rows)


def headline(study: Study, baseline: Study | None) -> str:
    """The result of a search in one sentence.

    Args:
        study: Search to summarise.
        baseline: Run of the Keras example, or None.
    """
    winner = study.winner
    if winner is None or winner.score is None:
        return _no_winner(study)
    so_far = "" if study.is_complete else " so far"
    found = (
        f"Trial {winner.trial_id} (configuration {winner.configuration}) reaches "
        f"{titled(study.objective, winner.score)}{so_far}"
    )
    by_loss = winner_by_loss(study)
    same = "it as well" if by_loss == winner else f"trial {by_loss.trial_id if by_loss else ''}"
    others = f" Chosen by {study.measure.title}; the loss would choose {same}." if by_loss else ""
    epochs = counted(winner.epoch_to, "epoch")
    reference = baseline.winner if baseline else None
    if reference is None or reference.score is None:
        return f"{found} after {epochs}.{others}"
    gap = _gap(study.objective, winner.score, reference.score)
    name = f"the {study.reference_name}{',' * (study.likelihood != 'bernoulli')}"
    if winner.epoch_to == reference.epoch_to:
        return f"{found}, {gap} {name} after the same {epochs}.{others}"
    return f"{found} after {epochs}, {gap} {name} after {reference.epoch_to}.{others}"


def _gap(objective: Objective, ours: float, theirs: float) -> str:
    """How far a value lies above or below another one; "equal to" if they are written the same."""
    lead = objective.lead(ours, theirs)
    size = rough(objective, abs(lead))
    if size == rough(objective, 0.0):
        return "equal to"
    unit = "" if objective.is_loss else f" {objective.unit_of_difference}".rstrip()
    number = size.removesuffix("\N{NO-BREAK SPACE}%")
    return f"{number}{unit} {objective.better if lead > 0 else objective.worse}"


def compare(study: Study, baseline: Study | None) -> Comparison | None:
    """Compares the winner with the Keras example; None if there is no winner.

    Args:
        study: Search to describe.
        baseline: Run of the Keras example, or None.
    """
    winner = study.winner
    if winner is None:
        return None
    reference = baseline.winner if baseline else None
    event = study.evaluation(winner)
    groups: dict[str, tuple[Row, ...]] = {}
    if not study.objective.is_loss:
        groups["Objective"] = (_objective(study.objective, winner, reference),)
    groups[_VALIDATION] = tuple(_losses(study, winner, reference))
    if event:
        ours = event.evaluation
        other = baseline.evaluation(reference, ours.protocol) if baseline and reference else None
        groups[_TEST] = tuple(_test_rows(ours, other.evaluation if other else None))
    groups["Hyperparameters"] = tuple(_hyperparameters(study, winner, reference))
    groups["Cost"] = tuple(_costs(study, winner, baseline, reference))
    protocol = _describe_protocol(event.evaluation) if event else ""
    return Comparison(winner, reference, study.reference_name, groups, protocol)


def describe_example(study: Study, example: Study | None) -> str:
    """The losses of the Keras example itself, for a search with another likelihood; else empty.

    Args:
        study: Search to describe.
        example: Run of the Keras example, from `find_example`, or None.
    """
    trained = example.winner if example else None
    best = trained.best if trained else None
    if best is None or study.likelihood == "bernoulli":
        return ""
    return (
        f"The Keras example itself, with the Bernoulli likelihood, reaches {nats(best.val_loss)} "
        f"nats per image ({nats(best.val_reconstruction_loss)} binary cross-entropy, "
        f"{nats(best.val_kl_loss)} KL) at its best epoch, {best_epoch(trained)}. Losses of two "
        "likelihoods cannot be compared."
    )


def no_reference(study: Study) -> str:
    """Explains why the winner is not compared with the Keras example."""
    if not study.search.baseline:
        return (
            f"There is no comparison with the {KERAS_EXAMPLE}, because this search does not train "
            "it (baseline = false)."
        )
    return (
        f"There is no comparison with the {study.reference_name}, because it has not been trained "
        "on these data with the same seed, batch size and maximum number of epochs."
    )


def hyperparameter_names(study: Study) -> tuple[str, ...]:
    """The names of the search space, and of any other hyperparameters of the trials."""
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


def _objective(objective: Objective, winner: Trial, reference: Trial | None) -> Row:
    ours, theirs = winner.score, reference.score if reference else None
    gap = rough_difference(objective, ours, theirs)
    cells = rough(objective, ours), rough(objective, theirs)
    return Row(objective.heading, *cells, gap, is_objective=True)


def _losses(study: Study, winner: Trial, reference: Trial | None) -> Iterator[Row]:
    ours, theirs = winner.best, reference.best if reference else None
    floor = study.entropy_floor
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
    }
    if floor is not None:
        above = None if their_loss is None else their_loss - floor
        pairs["Above the entropy floor"] = (ours.val_loss - floor, above)
    for name, (our, their) in pairs.items():
        is_objective = name == "Negative ELBO" and study.objective.is_loss
        yield Row(name, nats(our), nats(their), difference(our, their), is_objective=is_objective)
    our_bits = study.bits(ours.val_loss)
    their_bits = None if their_loss is None else study.bits(their_loss)
    if our_bits is not None:
        gap = difference(our_bits, their_bits, decimals=3)
        yield Row("Bits per dimension", nats(our_bits, 3), nats(their_bits, 3), gap)


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
    most = max(len(one.lower_levels) for one in (ours, theirs) if one)
    for index in range(most):
        name = f"Active channels, level {2 + index}"
        yield Row(name, _channels(ours, index), _channels(theirs, index))
    if ours.knn_accuracy is not None:
        yield Row("kNN accuracy", percent(ours.knn_accuracy), _accuracy(theirs))


def _units(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return NOTHING
    return f"{evaluation.active_units} of {len(evaluation.kl_per_dimension)}"


def _channels(evaluation: Evaluation | None, index: int) -> str:
    """The active channels of a lower level, by its index."""
    if evaluation is None or index >= len(evaluation.lower_levels):
        return NOTHING
    channels = len(evaluation.lower_levels[index].kl_per_channel)
    return f"{evaluation.active_channels[index]} of {channels}"


def _accuracy(evaluation: Evaluation | None) -> str:
    known = evaluation.knn_accuracy if evaluation else None
    return NOTHING if known is None else percent(known)


def _describe_protocol(evaluation: Evaluation) -> str:
    protocol = evaluation.protocol
    return (
        f"Test: {counted(evaluation.test_images, 'image')}, "
        f"{counted(protocol.posterior_samples, 'posterior sample')} of each, at the best epoch; "
        "\N{PLUS-MINUS SIGN} is the standard error over images. The likelihood bound is the "
        "importance-weighted bound on the negative log-likelihood, with "
        f"k = {protocol.importance_samples:,} on the first "
        f"{counted(protocol.importance_images, 'image')}. kNN accuracy uses the "
        f"{protocol.neighbours} nearest z_mean of training images. Seed {protocol.seed}."
    )


def _hyperparameters(study: Study, winner: Trial, reference: Trial | None) -> Iterator[Row]:
    for name in hyperparameter_names(study):
        ours = winner.hyperparameters.get(name)
        example = reference.hyperparameters if reference else {}
        is_known = name in FAMILY and is_used(example, name)
        theirs = value_of(example, name) if is_known else example.get(name)
        text = hyperparameter(theirs) if reference else NOTHING
        yield Row(name, hyperparameter(ours), text, same=ours == theirs)


def _costs(
    study: Study, winner: Trial, baseline: Study | None, reference: Trial | None
) -> Iterator[Row]:
    ours, theirs = winner.parameters, reference.parameters if reference else None
    yield Row("Parameters", integer(ours), integer(theirs), difference(ours, theirs, decimals=0))
    yield Row("Best epoch", best_epoch(winner), best_epoch(reference))
    yield Row("Training time", _trained(study, winner), _trained(baseline, reference))


def _trained(study: Study | None, trial: Trial | None) -> str:
    if study is None or trial is None:
        return NOTHING
    return duration(sum(part.duration_s for part in study.lineage(trial)))
