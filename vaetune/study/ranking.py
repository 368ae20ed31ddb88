"""Ranks completed trials, and chooses those that keep their weights."""

from collections.abc import Iterable
from dataclasses import dataclass

from vaetune.errors import ResultsError
from vaetune.study.finalists import FINALISTS
from vaetune.study.study import Study
from vaetune.study.trial import Trial


@dataclass(frozen=True)
class RankedTrial:
    """A completed trial with the values that decide whether it keeps its weights.

    Attributes:
        rank: Cost and validation loss of its best epoch; see `Trial.rank`.
        configuration: Number of its configuration.
    """

    trial_id: str
    rank: tuple[float, float]
    latent_dim: int
    configuration: int


def ranked_trials(study: Study) -> list[RankedTrial]:
    """Returns the completed trials of a study, best objective first."""
    return [
        RankedTrial(trial.trial_id, trial.rank, trial.latent_dim, trial.configuration)
        for trial in study.ranking
    ]


def leaders(trials: Iterable[RankedTrial], keep_best: int) -> list[RankedTrial]:
    """Returns the trials that keep their trained weights.

    These are the best trials, the best trial of each latent size, and the finalists: the best
    trial of each of the best configurations.

    The leaders can be updated incrementally: pass the previous leaders and the trials completed
    since then.

    Args:
        trials: Completed trials, in any order.
        keep_best: Number of best trials to include.

    Returns:
        The leaders, the best first.
    """
    ranked = sorted(trials, key=lambda trial: (trial.rank, trial.trial_id))
    best_of_size: dict[int, RankedTrial] = {}
    best_of_configuration: dict[int, RankedTrial] = {}
    for trial in ranked:
        best_of_size.setdefault(trial.latent_dim, trial)
        best_of_configuration.setdefault(trial.configuration, trial)
    finalists = list(best_of_configuration.values())[:FINALISTS]
    chosen = (*ranked[:keep_best], *best_of_size.values(), *finalists)
    ids = {trial.trial_id for trial in chosen}
    return [trial for trial in ranked if trial.trial_id in ids]


def pick(study: Study, trial_id: str | None = None, latent_dim: int | None = None) -> Trial:
    """Returns a trial of a study: the winner, a given trial, or the best of a latent size.

    Args:
        study: The study.
        trial_id: Id of the trial to return. None: the winner.
        latent_dim: Latent size to choose from. None: any.

    Raises:
        ResultsError: There is no such trial, or it has no finished epoch.
    """
    if trial_id is not None:
        trial = study.trial(trial_id)
        if trial.best is None:
            raise ResultsError(f"Trial {trial_id} has no finished epoch: it is {trial.status}.")
        return trial
    if not study.ranking and study.is_complete:
        raise ResultsError(
            f'No trial of "{study.name}" completed. See `vaetune trials {study.address} --failed`.'
        )
    if not study.ranking:
        raise ResultsError(
            f'"{study.name}" has no completed trial yet. Wait for the first one, or run the search '
            "again to continue it if it was stopped."
        )
    for trial in study.preference:
        if latent_dim in (None, trial.latent_dim):
            return trial
    sizes = sorted({trial.latent_dim for trial in study.ranking})
    raise ResultsError(
        f'"{study.name}" has no completed trial of latent_dim {latent_dim}. '
        f"There are: {', '.join(map(str, sizes))}."
    )


def winner_by_loss(study: Study) -> Trial | None:
    """Returns the trial that the validation loss chooses; None if it has chosen the winner.

    If the loss ranks the trials, it is the first of the finalists by the loss, as they were
    measured again. Otherwise it is the completed trial with the lowest validation loss.
    """
    if study.objective.is_loss and study.measure.is_loss:
        return None
    losses = {trial.trial_id: trial.lowest_loss for trial in study.ranking}
    if study.objective.is_loss and study.retrained:
        losses = {one.trial_id: one.mean_loss for one in study.retrained.retraining.finalists}
    elif study.objective.is_loss and study.rescored:
        finalists = study.rescored.rescoring.finalists
        losses = {one.trial_id: one.negative_elbo.mean for one in finalists}
    known = {key: loss for key, loss in losses.items() if loss is not None}
    lowest = min(known, key=lambda key: (known[key], key), default=None)
    return None if lowest is None else study.trial(lowest)
