"""The finalists of a search judged a second time, and the winner's lead: plain numbers.

Needs neither Keras nor TensorFlow nor NumPy, so that a journal that holds it reads back at once.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from vaetune.evaluation import POSTERIOR_SAMPLES, Estimate

FINALISTS = 5
"""Configurations that are judged a second time, each by its best trial."""

FEWEST_SAMPLES = 4

_SHARE = 0.1
"""Of the time that a search trains, which rescoring may take at the most."""

_DECODINGS = 2
"""Decoded images in the time of training on one; with one and the same model it is 2.4 to 3.1.

What is left over is for finalists that are larger than the other models.
"""

SURE = 2.0
"""A lead of so many standard errors is beyond the noise."""


@dataclass(frozen=True)
class FinalistScore:
    """A finalist on the validation images, its best epoch by many posterior samples.

    Attributes:
        epoch: That epoch, absolute.
        negative_elbo: Nats per image.
        reconstruction: The part of it that is binary cross-entropy, nats per image.
        kl: The other part, in closed form, nats per image.
        behind: How far its negative ELBO is above the best one's: the mean over the images of the
            difference on one and the same image, with the standard error of that mean.
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
        seed: Of these samples.
        images: How many validation images.
        left_out: Finalists whose weights are not those that the journal tells of.
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
    """A finalist's configuration, trained anew from several seeds.

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
        epochs: That each was trained for, the search's largest budget.
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
        finalists: How many are rescored.

    Returns:
        At least `FEWEST_SAMPLES`, which a tiny search takes longer for.
    """
    affordable = int(_SHARE * _DECODINGS * images_trained / max(1, images * finalists))
    return max(FEWEST_SAMPLES, min(POSTERIOR_SAMPLES, affordable))


def rank_by_mean(finalists: Sequence[SeedScores]) -> tuple[SeedScores, ...]:
    """The lowest mean first; those that failed from a seed last, in the order they came in."""
    return tuple(sorted(finalists, key=lambda one: one.mean.mean))
