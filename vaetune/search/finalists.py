"""The finalists of a search judged a second time: rescored, and trained from other seeds.

A trial's score is the lowest of its epochs by one posterior sample an image, and the same sample
in each: the best of many such scores is too good. Rescoring draws other samples, and many.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vaetune.config import SearchSpec, single_configuration
from vaetune.evaluation import estimate
from vaetune.search.resume import samples_due
from vaetune.study import (
    Arrays,
    Checkpoint,
    FinalistScore,
    Rescoring,
    Retraining,
    SeedScores,
    Study,
    Trial,
    rank_by_mean,
)

if TYPE_CHECKING:
    from vaetune.evaluation import ImageLosses
    from vaetune.search.executors.base import Executor
    from vaetune.training import OnProgress


TrainAll = Callable[[Sequence[tuple[SearchSpec, str]]], Sequence[Study]]
"""Trains single configurations, each with a label, unless that was done before."""


def rescore(
    study: Study, executor: "Executor", on_progress: "OnProgress | None" = None
) -> Rescoring:
    """Measures the best epoch of each finalist again.

    Args:
        study: A search; the weights of its finalists are kept.
        executor: Measures them.
        on_progress: Called with the share that is done; may raise.

    Raises:
        ResultsError: A checkpoint is missing or damaged.
    """
    samples, seed = samples_due(study), study.search.seed
    models = {}
    for trial in study.finalists:
        checkpoint = Checkpoint.load(study.trial_folder(trial.trial_id))
        # Trained again on another machine, a lost one may be at its best in another epoch.
        if trial.best and checkpoint.best_epoch == trial.best.epoch:
            models[trial.trial_id] = checkpoint.best_weights
    found = executor.measure(list(models.values()), samples, seed, on_progress)
    measured = dict(zip(models, found, strict=True))
    return Rescoring(
        posterior_samples=samples,
        seed=seed,
        images=study.started.data.validation_images,
        finalists=tuple(_rank(study, measured)),
        left_out=tuple(t.trial_id for t in study.finalists if t.trial_id not in measured),
    )


def _rank(study: Study, measured: "dict[str, ImageLosses]") -> Iterator[FinalistScore]:
    """The finalists with their differences to the best one, the best first."""
    means = {trial_id: float(one.negative_elbo.mean()) for trial_id, one in measured.items()}
    order = sorted(means, key=lambda one: (not math.isfinite(means[one]), means[one], one))
    for trial_id in order:
        ours, best = measured[trial_id], measured[order[0]]
        with np.errstate(invalid="ignore"):  # a loss may be infinite
            behind: NDArray[np.float64] = ours.negative_elbo - best.negative_elbo
            yield FinalistScore(
                trial_id=trial_id,
                epoch=_best_epoch(study.trial(trial_id)),
                negative_elbo=estimate(ours.negative_elbo),
                reconstruction=estimate(ours.reconstruction),
                kl=estimate(ours.kl),
                behind=estimate(behind),
            )


def _best_epoch(trial: Trial) -> int:
    return trial.best.epoch if trial.best else trial.epoch_to


def retrain(study: Study, final_seeds: int, executor: "Executor", train: TrainAll) -> Retraining:
    """Trains the configuration of each finalist from other seeds, at the largest budget.

    The search's own trial is not among them: it was chosen for its luck too.

    Args:
        study: A search whose trials are done.
        final_seeds: From how many seeds.
        executor: Measures each training at its best epoch.
        train: Trains configurations outside the search.

    Raises:
        ResultsError: A checkpoint is missing or damaged, or cannot be written.
    """
    seeds = tuple((study.search.seed + n) % 2**31 for n in range(1, final_seeds + 1))
    samples = samples_due(study)
    finalists = {trial.trial_id for trial in study.finalists}
    trials = [trial for trial in study.preference if trial.trial_id in finalists]
    pairs = [(trial, seed) for trial in trials for seed in seeds]
    trained = train([_single(study, trial, seed) for trial, seed in pairs])
    losses = _losses_of(trained, partial(executor.measure, samples=samples, seed=study.search.seed))
    scored = []
    for number, trial in enumerate(trials):
        own = slice(number * final_seeds, (number + 1) * final_seeds)
        scored.append(
            SeedScores(
                trial_id=trial.trial_id,
                configuration=trial.configuration,
                trainings=tuple(one.name for one in trained[own]),
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
    """The training of a finalist's configuration from a seed, with a word of what it is."""
    epochs = study.search.budget.max_epochs
    single = single_configuration(trial.hyperparameters, epochs, like=study.search)
    described = f"Configuration {trial.configuration} of {study.name}, trained from another seed"
    changed = {"seed": seed, "description": described}
    return single.model_copy(update=changed), f"{trial.configuration}-seed-{seed}"


def _losses_of(
    trained: Sequence[Study], measure: "Callable[[Sequence[Arrays]], list[ImageLosses]]"
) -> list[float | None]:
    """The rescored loss of each baseline's best epoch; None if it failed."""
    models = {
        number: Checkpoint.load(one.trial_folder(one.winner.trial_id)).best_weights
        for number, one in enumerate(trained)
        if one.winner is not None
    }
    found = dict(zip(models, measure(list(models.values())), strict=True))
    means = {number: float(one.negative_elbo.mean()) for number, one in found.items()}
    return [means.get(number) for number in range(len(trained))]
