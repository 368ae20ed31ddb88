"""The finalists of a search judged a second time: rescored, and trained from other seeds.

A trial's score is the lowest of its epochs by one posterior sample an image, and the same sample
in each: the best of many such scores is too good. Rescoring draws other samples, and many.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.checkpoint import Arrays, Checkpoint
from vaetune.evaluate import PerImage, estimate
from vaetune.rescoring import (
    FinalistScore,
    Rescoring,
    Retraining,
    SeedScores,
    count_samples,
    rank_by_mean,
)
from vaetune.spec import SearchSpec, single_configuration
from vaetune.study import Study, Trial
from vaetune.training import VALIDATION_BATCH_SIZE, EpochRunner, OnProgress, to_unit_interval

_RESCORING = 2
"""Goes with the seed of the search: other samples than those of an evaluation."""

Train = Callable[[SearchSpec, str], Study]
"""Trains one configuration to its end, or finds that done; with a word of what it is."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Losses of each validation image, nats, (n,)."""

    reconstruction: PerImage
    kl: PerImage

    @property
    def negative_elbo(self) -> PerImage:
        return self.reconstruction + self.kl


class Rescorer:
    """Measures weights on the validation images by many samples of each posterior.

    The noise of an image and a sample is the same for every model: what a finalist is rescored
    at does not depend on which others there are. Nothing more is made of it. The axes of two
    latent spaces have nothing to do with each other, so it does not cancel in a difference; the
    standard error of the difference is over images, whose noise is independent, and includes it.

    Args:
        runner: Trained the models; what it compiled serves all of them.
        images: The validation images on the device.
        samples: Of each image's posterior.
        seed: Of the samples.
    """

    def __init__(self, runner: EpochRunner, images: tf.Tensor, samples: int, seed: int) -> None:
        self.samples = samples
        self.seed = seed
        self.images = int(images.shape[0])
        self._runner = runner
        self._measure = _compile(runner, images)

    def measure(self, weights: Arrays, on_progress: OnProgress | None = None) -> Measured:
        """Measures a model; that of the runner is another one afterwards."""
        self._runner.restore(weights)
        words = np.random.SeedSequence([self.seed, _RESCORING]).generate_state(2)
        first, second = (int(word) & 0x3FFFFFFF for word in words)  # what is added fits too
        parts: list[tuple[PerImage, PerImage]] = []
        for start in range(0, self.images, VALIDATION_BATCH_SIZE):
            seed = tf.constant([first + start, second], tf.int32)
            reconstruction, kl = self._measure(start, self.samples, seed)
            parts.append((reconstruction.numpy(), kl.numpy()))
            if on_progress:
                on_progress(min(1.0, (start + VALIDATION_BATCH_SIZE) / self.images))
        return Measured(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _compile(runner: EpochRunner, images: tf.Tensor) -> Callable[..., tuple[tf.Tensor, ...]]:
    def measure(
        start: tf.Tensor, samples: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        batch = images[start : start + VALIDATION_BATCH_SIZE]
        return runner.steps.rescore(to_unit_interval(batch), samples, seed)

    number, pair = tf.TensorSpec((), tf.int32), tf.TensorSpec((2,), tf.int32)
    return tf.function(  # type: ignore[no-any-return]
        measure, input_signature=(number, number, pair), autograph=False
    ).get_concrete_function()


def samples_due(study: Study) -> int:
    """Posterior samples that the finalists of a search are rescored with."""
    data = study.started.data
    trained = study.epochs_trained * data.train_images
    return count_samples(trained, data.validation_images, len(study.finalists))


def is_rescored(study: Study) -> bool:
    """Whether the finalists that there are now were judged, with the samples they are due."""
    known = study.rescored
    return known is not None and known.rescoring.posterior_samples == samples_due(study)


def is_judged(study: Study, final_seeds: int) -> bool:
    """Whether nothing is left to judge of a search whose trials are done.

    Args:
        study: A search; there is nothing to judge of a baseline.
        final_seeds: From how many seeds the finalists are to be trained anew.
    """
    if study.started.kind == "baseline" or not study.finalists:
        return True
    return is_rescored(study) and is_retrained(study, final_seeds)


def is_retrained(study: Study, final_seeds: int) -> bool:
    """Whether the finalists that there are now were trained from so many seeds."""
    known = study.retrained
    return final_seeds <= (len(known.retraining.seeds) if known else 0)


def rescore(study: Study, rescorer: Rescorer, on_progress: OnProgress | None = None) -> Rescoring:
    """Measures the best epoch of each finalist again.

    Args:
        study: A search; the weights of its finalists are kept.
        rescorer: Measures them.
        on_progress: Called with the share that is done; may raise.

    Raises:
        ResultsError: A checkpoint is missing or damaged.
    """
    measured: dict[str, Measured] = {}
    count = len(study.finalists)
    for done, trial in enumerate(study.finalists):
        checkpoint = Checkpoint.load(study.trial_folder(trial.trial_id))
        # Trained again on another machine, a lost one may be at its best in another epoch.
        if trial.best and checkpoint.best_epoch == trial.best.epoch:
            tell = partial(_tell_share, on_progress, done, count) if on_progress else None
            measured[trial.trial_id] = rescorer.measure(checkpoint.best_weights, tell)
    return Rescoring(
        posterior_samples=rescorer.samples,
        seed=rescorer.seed,
        images=rescorer.images,
        finalists=tuple(_rank(study, measured)),
        left_out=tuple(t.trial_id for t in study.finalists if t.trial_id not in measured),
    )


def _tell_share(on_progress: OnProgress, done: int, count: int, share: float) -> None:
    on_progress((done + share) / count)


def _rank(study: Study, measured: dict[str, Measured]) -> Iterator[FinalistScore]:
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


def retrain(study: Study, final_seeds: int, rescorer: Rescorer, train: Train) -> Retraining:
    """Trains the configuration of each finalist from other seeds, at the largest budget.

    The search's own trial is not among them: it was chosen for its luck too.

    Args:
        study: A search whose trials are done.
        final_seeds: From how many seeds.
        rescorer: Measures what comes of it, at its best epoch.
        train: Trains a configuration outside the search.

    Raises:
        ResultsError: A checkpoint is missing or damaged, or cannot be written.
    """
    seeds = tuple((study.search.seed + n) % 2**31 for n in range(1, final_seeds + 1))
    epochs = study.search.budget.max_epochs
    scored = []
    finalists = {trial.trial_id for trial in study.finalists}
    for trial in (one for one in study.preference if one.trial_id in finalists):
        single = single_configuration(trial.hyperparameters, epochs, like=study.search)
        trained = [
            train(
                single.model_copy(update={"seed": seed, "description": _describe(study, trial)}),
                f"{trial.configuration}-seed-{seed}",
            )
            for seed in seeds
        ]
        scored.append(
            SeedScores(
                trial_id=trial.trial_id,
                configuration=trial.configuration,
                trainings=tuple(one.name for one in trained),
                losses=tuple(_loss_of(one, rescorer) for one in trained),
            )
        )
    return Retraining(
        seeds=seeds,
        epochs=epochs,
        posterior_samples=rescorer.samples,
        finalists=rank_by_mean(scored),
    )


def _describe(study: Study, trial: Trial) -> str:
    return f"Configuration {trial.configuration} of {study.name}, trained from another seed"


def _loss_of(trained: Study, rescorer: Rescorer) -> float | None:
    """The rescored loss of a baseline's best epoch; None if it failed."""
    if trained.winner is None:
        return None
    checkpoint = Checkpoint.load(trained.trial_folder(trained.winner.trial_id))
    return float(rescorer.measure(checkpoint.best_weights).negative_elbo.mean())
