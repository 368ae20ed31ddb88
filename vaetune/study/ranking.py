"""Ranks completed trials, and chooses those that keep their weights."""

from collections.abc import Iterable
from dataclasses import dataclass

from vaetune.errors import ResultsError
from vaetune.study.scores import FINALISTS
from vaetune.study.study import Study
from vaetune.study.trial import Trial


@dataclass(frozen=True)
class RankedTrial:
    """A completed trial with the values that decide whether it keeps its weights.

    Attributes:
        score: Lowest validation loss, nats per image.
        configuration: Number of its configuration.
    """

    trial_id: str
    score: float
    latent_dim: int
    configuration: int


def ranked_trials(study: Study) -> list[RankedTrial]:
    """Returns the completed trials of a study, lowest score first."""
    return [
        RankedTrial(trial.trial_id, trial.score, trial.latent_dim, trial.configuration)
        for trial in study.ranking
        if trial.score is not None
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
        The leaders, lowest score first.
    """
    ranked = sorted(trials, key=lambda trial: (trial.score, trial.trial_id))
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
            f'"{study.name}" has no completed trial yet. Run the search again to continue it.'
        )
    for trial in study.preference:
        if latent_dim in (None, trial.latent_dim):
            return trial
    sizes = sorted({trial.latent_dim for trial in study.ranking})
    raise ResultsError(
        f'"{study.name}" has no completed trial of latent_dim {latent_dim}. '
        f"There are: {', '.join(map(str, sizes))}."
    )
