"""Measures the finalists of a search again: rescored, and trained from other seeds.

The score of a trial is the lowest validation loss of its epochs, with one posterior sample per
image, the same in each epoch. The best of many such scores is too optimistic. Rescoring therefore
draws many other samples.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vaetune.config import SearchSpec, single_configuration
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
    study: Study, executor: "Executor", on_progress: "OnProgress | None" = None
) -> Rescoring:
    """Measures the best epoch of each finalist again, and keeps its worst reconstructions.

    Args:
        study: A search with finalists that have kept their weights.
        executor: Measures the models.
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
            models[trial.trial_id] = _model(study, trial, checkpoint)
    losses = executor.measure(list(models.values()), samples, seed, on_progress)
    measured = dict(zip(models, losses, strict=True))
    for trial_id, of_trial in measured.items():
        if of_trial.worst:
            of_trial.worst.save(study.trial_folder(trial_id))
    return Rescoring(
        posterior_samples=samples,
        seed=seed,
        images=study.started.data.validation_images,
        finalists=tuple(_rank(study, measured)),
        left_out=tuple(t.trial_id for t in study.finalists if t.trial_id not in measured),
    )


def _rank(study: Study, measured: "dict[str, ImageLosses]") -> Iterator[FinalistScore]:
    """Yields the scores of the finalists, the best first."""
    means = {trial_id: float(losses.negative_elbo.mean()) for trial_id, losses in measured.items()}
    order = sorted(means, key=lambda key: (not math.isfinite(means[key]), means[key], key))
    for trial_id in order:
        losses, best = measured[trial_id], measured[order[0]]
        with np.errstate(invalid="ignore"):  # The difference of two infinite losses is NaN.
            behind: NDArray[np.float64] = losses.negative_elbo - best.negative_elbo
            yield FinalistScore(
                trial_id=trial_id,
                epoch=_best_epoch(study.trial(trial_id)),
                negative_elbo=estimate(losses.negative_elbo),
                reconstruction=estimate(losses.reconstruction),
                kl=estimate(losses.kl),
                behind=estimate(behind),
            )


def _best_epoch(trial: Trial) -> int:
    return trial.best.epoch if trial.best else trial.epoch_to


def retrain(study: Study, final_seeds: int, executor: "Executor", train: TrainAll) -> Retraining:
    """Trains the configuration of each finalist from other seeds, and measures the best epochs.

    Each training takes the largest number of epochs of the search. The trial of the search itself
    is not used, because it was selected for a low loss, which may be luck.

    Args:
        study: A search in which all trials have ended.
        final_seeds: Number of seeds.
        executor: Measures the models.
        train: Trains configurations outside the search.

    Raises:
        ResultsError: A checkpoint is missing or damaged, or cannot be written.
    """
    seeds = tuple((study.search.seed + n) % 2**31 for n in range(1, final_seeds + 1))
    samples = study.samples_due
    ids = {trial.trial_id for trial in study.finalists}
    finalists = [trial for trial in study.preference if trial.trial_id in ids]
    trained = train([_single(study, trial, seed) for trial in finalists for seed in seeds])
    measure = partial(executor.measure, samples=samples, seed=study.search.seed)
    losses = _measure_winners(trained, measure)
    scored = []
    for number, trial in enumerate(finalists):
        own = slice(number * final_seeds, (number + 1) * final_seeds)
        scored.append(
            SeedScores(
                trial_id=trial.trial_id,
                configuration=trial.configuration,
                trainings=tuple(baseline.name for baseline in trained[own]),
                losses=tuple(losses[own]),
            )
        )
    return Retraining(
        seeds=seeds,
        epochs=study.search.budget.max_epochs,
        posterior_samples=samples,
        finalists=rank_by_mean(scored),
    )


def _single(study: Study, trial: Trial, seed: int) -> tuple[SearchSpec, str]:
    """Returns the training of a finalist's configuration from a seed, and a label for it."""
    epochs = study.search.budget.max_epochs
    single = single_configuration(trial.hyperparameters, epochs, like=study.search)
    description = f"Configuration {trial.configuration} of {study.name}, trained from another seed"
    changed = {"seed": seed, "description": description}
    return single.model_copy(update=changed), f"{trial.configuration}-seed-{seed}"


def _measure_winners(
    trained: Sequence[Study], measure: "Callable[[Sequence[TrainedModel]], list[ImageLosses]]"
) -> list[float | None]:
    """Returns the loss of each baseline's best epoch, nats per image; None if it failed."""
    models = {
        number: _winner(baseline, baseline.winner)
        for number, baseline in enumerate(trained)
        if baseline.winner is not None
    }
    measured = dict(zip(models, measure(list(models.values())), strict=True))
    means = {number: float(losses.negative_elbo.mean()) for number, losses in measured.items()}
    return [means.get(number) for number in range(len(trained))]


def _winner(baseline: Study, winner: Trial) -> TrainedModel:
    checkpoint = Checkpoint.load(baseline.trial_folder(winner.trial_id))
    return _model(baseline, winner, checkpoint)


def _model(study: Study, trial: Trial, checkpoint: Checkpoint) -> TrainedModel:
    return TrainedModel(trial.hyperparameters, checkpoint.best_weights, study.likelihood)
