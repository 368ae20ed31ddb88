"""The numbers that models are ranked by: evaluations, rescored finalists, other seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vaetune.config import Binarize

POSTERIOR_SAMPLES = 32

IMPORTANCE_SAMPLES = 500

IMPORTANCE_IMAGES = 1000

NEIGHBOURS = 5

ACTIVE_VARIANCE = 0.01
"""Of z_mean over images; a dimension below it tells images not apart (Burda et al. 2016)."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a model is measured. Two evaluations by one protocol give the same numbers.

    Attributes:
        seed: Random seed of the posterior samples.
        posterior_samples: For each image, of the negative ELBO.
        importance_samples: k, for each image, of the importance-weighted bound.
        importance_images: Number of test images for that bound, the first ones.
        neighbours: Training images that vote on the class of a test image.
        active_variance: A latent dimension is active when z_mean varies more, over test images.
        binarize: Binarization of the pixels; see `DataSpec`.
    """

    seed: int
    posterior_samples: int = POSTERIOR_SAMPLES
    importance_samples: int = IMPORTANCE_SAMPLES
    importance_images: int = IMPORTANCE_IMAGES
    neighbours: int = NEIGHBOURS
    active_variance: float = ACTIVE_VARIANCE
    binarize: Binarize = "none"

    def limited_to(self, test_images: int) -> "EvaluationProtocol":
        """Returns the protocol for a number of test images."""
        return replace(self, importance_images=min(self.importance_images, test_images))


@dataclass(frozen=True)
class Estimate:
    """A mean over images, with its standard error over images; None for a single image."""

    mean: float
    standard_error: float | None


@dataclass(frozen=True)
class Evaluation:
    """A trained VAE on test images. Likelihoods are those of the loss: see `model.VAE`.

    Attributes:
        protocol: Settings of the evaluation, limited to the images there were.
        test_images: Number of test images for all but the importance-weighted bound.
        negative_elbo: Nats per image, over the posterior samples of the protocol.
        reconstruction: Binary cross-entropy part of the negative ELBO, nats per image.
        kl: The other part, in closed form, nats per image.
        entropy_floor: Nats per image that no model's reconstruction of them goes below.
        importance_weighted_bound: On the negative log-likelihood, nats per image; from above.
        kl_per_dimension: Nats per image, a value a latent dimension; they add up to `kl`.
        variance_per_dimension: Variance of z_mean over the images, one value per latent dimension.
        knn_accuracy: Share of the test images whose class the nearest z_mean of training images
            tell; None without labels.
        psnr: Decibels, mean over the images decoded from z_mean. Decoding z_mean gives no ELBO.
        ssim: Mean structural similarity of the same, at most 1.
        ssim_window: Pixels a side of its Gaussian window.
    """

    protocol: EvaluationProtocol
    test_images: int
    negative_elbo: Estimate
    reconstruction: Estimate
    kl: Estimate
    entropy_floor: float
    importance_weighted_bound: Estimate
    kl_per_dimension: tuple[float, ...]
    variance_per_dimension: tuple[float, ...]
    knn_accuracy: float | None
    psnr: float
    ssim: float
    ssim_window: int

    @property
    def above_entropy_floor(self) -> float:
        """The negative ELBO above the entropy floor, nats per image."""
        return self.negative_elbo.mean - self.entropy_floor

    @property
    def active_units(self) -> int:
        """How many latent dimensions tell images apart."""
        return sum(v > self.protocol.active_variance for v in self.variance_per_dimension)


FINALISTS = 5
"""Configurations that are judged a second time, each by its best trial."""

MIN_SAMPLES = 4

_SHARE = 0.1
"""Maximum share of the training time that rescoring may take."""

_DECODINGS = 2
"""Decoded images in the time of training on one; with one and the same model it is 2.4 to 3.1.

What is left over is for finalists that are larger than the other models.
"""

SURE = 2.0
"""A lead of this many standard errors is beyond the noise."""


@dataclass(frozen=True)
class FinalistScore:
    """A finalist on the validation images, its best epoch by many posterior samples.

    Attributes:
        epoch: Epoch of the measured weights, absolute.
        negative_elbo: Nats per image.
        reconstruction: Binary cross-entropy part of the negative ELBO, nats per image.
        kl: The other part, in closed form, nats per image.
        behind: Negative ELBO above the best finalist's: mean over the images of the difference on
            the same image, with the standard error of that mean.
    """

    trial_id: str
    epoch: int
    negative_elbo: Estimate
    reconstruction: Estimate
    kl: Estimate
    behind: Estimate


@dataclass(frozen=True)
class Lead:
    """How far the first of a ranking is before the second.

    Attributes:
        winner: A trial.
        runner_up: Another.
        nats: Their difference in nats per image, with its standard error.
    """

    winner: str
    runner_up: str
    nats: Estimate

    @property
    def is_sure(self) -> bool | None:
        """Whether it is beyond the noise: `SURE` standard errors or more; None if unknown."""
        error = self.nats.standard_error
        return None if error is None else self.nats.mean >= SURE * error


@dataclass(frozen=True)
class Rescoring:
    """The finalists of a search, the lowest negative ELBO first.

    Attributes:
        posterior_samples: For each image.
        seed: Random seed of the samples.
        images: Number of validation images.
        left_out: Finalists whose weights are not those in the journal.
    """

    posterior_samples: int
    seed: int
    images: int
    finalists: tuple[FinalistScore, ...]
    left_out: tuple[str, ...] = ()

    @property
    def lead(self) -> Lead | None:
        """Of the best over the next one; None without a next one."""
        if len(self.finalists) < 2:
            return None
        first, second, *_ = self.finalists
        return Lead(first.trial_id, second.trial_id, second.behind)


@dataclass(frozen=True)
class SeedScores:
    """A finalist's configuration, trained again from several seeds.

    Attributes:
        trial_id: The finalist.
        trainings: Names of the baselines.
        losses: Negative ELBO of each, nats per image, rescored; None of one that failed.
    """

    trial_id: str
    configuration: int
    trainings: tuple[str, ...]
    losses: tuple[float | None, ...]

    @property
    def mean(self) -> Estimate:
        """The mean over the seeds, with its standard error over them; infinite if one failed."""
        finite = [loss for loss in self.losses if loss is not None and math.isfinite(loss)]
        if len(finite) < len(self.losses):
            return Estimate(math.inf, None)
        if len(finite) == 1:
            return Estimate(finite[0], None)
        error = statistics.stdev(finite) / math.sqrt(len(finite))
        return Estimate(statistics.mean(finite), error)


@dataclass(frozen=True)
class Retraining:
    """The finalists' configurations trained from other seeds, the lowest mean first.

    Attributes:
        seeds: The same for each.
        epochs: Epochs of each training, the search's largest budget.
        posterior_samples: For each of the validation images, which the losses are of.
    """

    seeds: tuple[int, ...]
    epochs: int
    posterior_samples: int
    finalists: tuple[SeedScores, ...]

    @property
    def lead(self) -> Lead | None:
        """Of the best over the next one; None without a next one that has a mean."""
        if len(self.finalists) < 2:
            return None
        first, second, *_ = self.finalists
        ours, theirs = first.mean, second.mean
        if not math.isfinite(theirs.mean):
            return None
        errors = (ours.standard_error, theirs.standard_error)
        known = [error for error in errors if error is not None]
        error = math.hypot(*known) if len(known) == 2 else None
        return Lead(first.trial_id, second.trial_id, Estimate(theirs.mean - ours.mean, error))


def count_samples(images_trained: int, images: int, finalists: int) -> int:
    """Posterior samples an image, so that rescoring takes at most a tenth of a search's time.

    It follows from counts and not from a clock: the same search has the same numbers again.

    Args:
        images_trained: Training images of the whole search, counted in each epoch.
        images: Validation images.
        finalists: Number of finalists to rescore.

    Returns:
        At least `MIN_SAMPLES`, which a tiny search takes longer for.
    """
    affordable = int(_SHARE * _DECODINGS * images_trained / max(1, images * finalists))
    return max(MIN_SAMPLES, min(POSTERIOR_SAMPLES, affordable))


def rank_by_mean(finalists: Sequence[SeedScores]) -> tuple[SeedScores, ...]:
    """The lowest mean first; those that failed from a seed last, in the order they came in."""
    return tuple(sorted(finalists, key=lambda one: one.mean.mean))
