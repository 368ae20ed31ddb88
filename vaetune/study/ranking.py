"""How completed trials are ranked, and which of them keep their weights."""

from collections.abc import Iterable
from dataclasses import dataclass

from vaetune.config import Number
from vaetune.errors import ResultsError
from vaetune.study.scores import FINALISTS
from vaetune.study.study import Study
from vaetune.study.trial import Trial


@dataclass(frozen=True)
class RankedTrial:
    """A completed trial among the others."""

    trial_id: str
    score: float
    latent_dim: Number
    configuration: int


def ranked_trials(study: Study) -> list[RankedTrial]:
    """The completed trials of a study."""
    return [
        RankedTrial(
            trial.trial_id, trial.score, trial.hyperparameters["latent_dim"], trial.configuration
        )
        for trial in study.ranking
        if trial.score is not None
    ]


def leaders(ranked_trials: Iterable[RankedTrial], most: int) -> list[RankedTrial]:
    """The trials whose trained weights are kept.

    They are the best ones, the best of each latent size, and the finalists: the best of each of
    the best configurations.

    Those of all trials are those of the leaders so far and the trials since.

    Args:
        ranked_trials: Completed trials.
        most: Number of best trials to keep.

    Returns:
        The best first.
    """
    ranked = sorted(ranked_trials, key=lambda standing: (standing.score, standing.trial_id))
    best_of_size: dict[Number, RankedTrial] = {}
    best_of_configuration: dict[int, RankedTrial] = {}
    for standing in ranked:
        best_of_size.setdefault(standing.latent_dim, standing)
        best_of_configuration.setdefault(standing.configuration, standing)
    finalists = list(best_of_configuration.values())[:FINALISTS]
    kept = {s.trial_id for s in (*ranked[:most], *best_of_size.values(), *finalists)}
    return [standing for standing in ranked if standing.trial_id in kept]


def pick(study: Study, trial_id: str | None = None, latent_dim: int | None = None) -> Trial:
    """The winner of a study, or the trial of an id, or the best of a latent size.

    Raises:
        ResultsError: There is none, or the trial asked for has no finished epoch.
    """
    if trial_id is not None:
        trial = study.trial(trial_id)
        if trial.best is None:
            raise ResultsError(f"Trial {trial_id} has no finished epoch: it is {trial.status}.")
        return trial
    if not study.ranking and study.is_complete:
        raise ResultsError(
            f'No trial of "{study.name}" completed. See `vaetune trials {study.name} --failed`.'
        )
    if not study.ranking:
        raise ResultsError(
            f'"{study.name}" has no completed trial yet. Go on with its search command.'
        )
    for trial in study.preference:
        if latent_dim in (None, trial.hyperparameters["latent_dim"]):
            return trial
    sizes = sorted({trial.hyperparameters["latent_dim"] for trial in study.ranking})
    raise ResultsError(
        f'"{study.name}" has no completed trial of latent_dim {latent_dim}. '
        f"There are: {', '.join(map(str, sizes))}."
    )
