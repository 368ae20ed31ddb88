"""Measures the finalists of a search again: rescored, and trained from other seeds.

The score of a trial is the lowest validation loss of its epochs, with one posterior sample per
image, the same in each epoch. The best of many such scores is too optimistic. Rescoring therefore
draws many other samples. Another objective is measured with all training images instead of some.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vaetune.config import (
    VALIDATION_LOSS,
    Objective,
    ObjectiveName,
    SearchSpec,
    single_configuration,
)
from vaetune.evaluation import estimate
from vaetune.study import (
    Checkpoint,
    FinalistScore,
    Rescoring,
    Retraining,
    SeedScores,
    Study,
    Trial,
    rank_by_mean,
)
from vaetune.training import TrainedModel

if TYPE_CHECKING:
    from vaetune.evaluation import ImageLosses
    from vaetune.search.executors.base import Executor
    from vaetune.training import OnProgress

TrainAll = Callable[[Sequence[tuple[SearchSpec, str]]], Sequence[Study]]
"""Trains single configurations, each with a label for its folder, unless that was done before."""


def rescore(
    study: Study,
    executor: "Executor",
    measure: Objective = VALIDATION_LOSS,
    on_progress: "OnProgress | None" = None,
) -> Rescoring:
    """Measures the best epoch of each finalist again, and keeps its worst reconstructions.

    Args:
        study: A search with finalists that have kept their weights.
        executor: Measures the models.
        measure: Measure that decides between them. Another one than the loss is taken with all
            training images.
        on_progress: Called with the share of the work that is done, in [0, 1]; may raise.

    Raises:
        ResultsError: A checkpoint is missing or damaged, or the images cannot be written.
    """
    samples, seed = study.samples_due, study.search.seed
    models = {}
    for trial in study.finalists:
        checkpoint = Checkpoint.load(study.trial_folder(trial.trial_id))
        # A lost finalist that was trained again on another machine may have another best epoch.
        if trial.best and checkpoint.best_epoch == trial.best.epoch:
            models[trial.trial_id] = _model(study, trial, checkpoint, measure)
    losses = executor.measure(list(models.values()), samples, seed, on_progress)
    measured = dict(zip(models, losses, strict=True))
    for trial_id, of_trial in measured.items():
        if of_trial.worst:
            of_trial.worst.save(study.trial_folder(trial_id))
    return Rescoring(
        posterior_samples=samples,
        seed=seed,
        images=study.started.data.validation_images,
        finalists=tuple(_rank(study, measured, measure)),
        left_out=tuple(t.trial_id for t in study.finalists if t.trial_id not in measured),
        chosen_by=_recorded(measure),
    )


def _recorded(measure: Objective) -> ObjectiveName | None:
    return None if measure.is_loss else measure.name


def _rank(
    study: Study, measured: "dict[str, ImageLosses]", measure: Objective
) -> Iterator[FinalistScore]:
    """Yields the scores of the finalists, the best first; of equal ones the lower loss."""

    def place(trial_id: str) -> tuple[bool, float, float, str]:
        losses = measured[trial_id]
        mean = float(losses.negative_elbo.mean())
        cost = mean if losses.use is None else measure.cost(float(losses.use.mean()))
        return not math.isfinite(cost), cost, mean, trial_id

    order = sorted(measured, key=place)
    for trial_id in order:
        losses, best = measured[trial_id], measured[order[0]]
        with np.errstate(invalid="ignore"):  # The difference of two infinite losses is NaN.
            behind: NDArray[np.float64] = losses.negative_elbo - best.negative_elbo
            less_use = None if losses.use is None or best.use is None else best.use - losses.use
            yield FinalistScore(
                trial_id=trial_id,
                epoch=_best_epoch(study.trial(trial_id)),
                negative_elbo=estimate(losses.negative_elbo),
                reconstruction=estimate(losses.reconstruction),
                kl=estimate(losses.kl),
                behind=estimate(behind),
                use=None if losses.use is None else estimate(losses.use),
                use_behind=None if less_use is None else estimate(less_use),
            )


def _best_epoch(trial: Trial) -> int:
    return trial.best.epoch if trial.best else trial.epoch_to


def retrain(
    study: Study, final_seeds: int, executor: "Executor", measure: Objective, train: TrainAll
) -> Retraining:
    """Trains the configuration of each finalist from other seeds, and measures the best epochs.

    Each training takes the largest number of epochs of the search. The trial of the search itself
    is not used, because it was selected for a low loss, which may be luck.

    Args:
        study: A search in which all trials have ended.
        final_seeds: Number of seeds.
        executor: Measures the models.
        measure: Measure that decides between the configurations.
        train: Trains configurations outside the search.

    Raises:
        ResultsError: A checkpoint is missing or damaged, or cannot be written.
    """
    seeds = tuple((study.search.seed + n) % 2**31 for n in range(1, final_seeds + 1))
    samples = study.samples_due
    ids = {trial.trial_id for trial in study.finalists}
    finalists = [trial for trial in study.preference if trial.trial_id in ids]
    trained = train([_single(study, trial, seed) for trial in finalists for seed in seeds])
    take = partial(executor.measure, samples=samples, seed=study.search.seed)
    measured = _measure_winners(trained, measure, take)
    losses = tuple(None if one is None else float(one.negative_elbo.mean()) for one in measured)
    uses = tuple(None if one is None else one.mean_use for one in measured)
    scored = []
    for number, trial in enumerate(finalists):
        own = slice(number * final_seeds, (number + 1) * final_seeds)
        scored.append(
            SeedScores(
                trial_id=trial.trial_id,
                configuration=trial.configuration,
                trainings=tuple(baseline.name for baseline in trained[own]),
                losses=losses[own],
                uses=None if measure.is_loss else uses[own],
            )
        )
    return Retraining(
        seeds=seeds,
        epochs=study.search.budget.max_epochs,
        posterior_samples=samples,
        finalists=rank_by_mean(scored, measure),
        chosen_by=_recorded(measure),
    )


def _single(study: Study, trial: Trial, seed: int) -> tuple[SearchSpec, str]:
    """Returns the training of a finalist's configuration from a seed, and a label for it."""
    epochs = study.search.budget.max_epochs
    single = single_configuration(trial.hyperparameters, epochs, like=study.search)
    description = f"Configuration {trial.configuration} of {study.name}, trained from another seed"
    changed = {"seed": seed, "description": description}
    return single.model_copy(update=changed), f"{trial.configuration}-seed-{seed}"


def _measure_winners(
    trained: Sequence[Study],
    measure: Objective,
    take: "Callable[[Sequence[TrainedModel]], list[ImageLosses]]",
) -> "list[ImageLosses | None]":
    """Returns the measurements of each baseline's best epoch; None if it failed."""
    models = {
        number: _winner(baseline, baseline.winner, measure)
        for number, baseline in enumerate(trained)
        if baseline.winner is not None
    }
    measured = dict(zip(models, take(list(models.values())), strict=True))
    return [measured.get(number) for number in range(len(trained))]


def _winner(baseline: Study, winner: Trial, measure: Objective) -> TrainedModel:
    checkpoint = Checkpoint.load(baseline.trial_folder(winner.trial_id))
    return _model(baseline, winner, checkpoint, measure)


def _model(study: Study, trial: Trial, checkpoint: Checkpoint, measure: Objective) -> TrainedModel:
    weights = checkpoint.best_weights
    return TrainedModel(trial.hyperparameters, weights, study.likelihood, _recorded(measure))
