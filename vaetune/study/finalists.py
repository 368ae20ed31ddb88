"""The measurements that decide among the finalists: rescored, and trained from other seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from vaetune.config import OBJECTIVES, VALIDATION_LOSS, Objective, ObjectiveName
from vaetune.study.scores import POSTERIOR_SAMPLES, Estimate

FINALISTS = 5
"""Configurations that are measured a second time, each by its best trial."""

MIN_SAMPLES = 4
"""Posterior samples per image, at least."""

_RESCORING_SHARE = 0.1
"""Share of the training time of a search that rescoring may take."""

_DECODED_PER_TRAINED = 2
"""Images decoded in the time of training on one. Measured for one model: 2.4 to 3.1.

The margin allows for finalists that are larger than the other models.
"""

SURE = 2.0
"""Number of standard errors from which a lead counts as larger than the noise."""


@dataclass(frozen=True)
class FinalistScore:
    """Losses of a finalist's best epoch on the validation images, with many posterior samples.

    Attributes:
        epoch: The best epoch, absolute.
        negative_elbo: Negative ELBO, nats per image.
        reconstruction: Reconstruction loss, the first part of the negative ELBO, nats per image.
        kl: KL divergence of all levels, the second part, nats per image. It is in closed form;
            that of lower levels is the mean over samples of the levels above.
        behind: Difference of its negative ELBO to that of the best finalist, nats per image: the
            mean of the differences on each image, with the standard error of that mean.
        use: Value of the measure that decides, with all training images; None if the negative
            ELBO decides.
        use_behind: Difference of `use` to that of the best finalist, positive if it is worse; see
            `behind`.
    """

    trial_id: str
    epoch: int
    negative_elbo: Estimate
    reconstruction: Estimate
    kl: Estimate
    behind: Estimate
    use: Estimate | None = None
    use_behind: Estimate | None = None


@dataclass(frozen=True)
class Lead:
    """Distance between the first and the second of a ranking.

    Attributes:
        winner: Id of the first trial.
        runner_up: Id of the second trial.
        difference: Difference of their values, with its standard error.
        measure: Measure that decides between them, by default the negative ELBO.
    """

    winner: str
    runner_up: str
    difference: Estimate
    measure: Objective = VALIDATION_LOSS

    @property
    def is_sure(self) -> bool | None:
        """Whether it is at least `SURE` standard errors, beyond the noise; None if unknown.

        Two models with equal values, such as the same accuracy, have a lead of zero.
        """
        lead, error = self.difference.mean, self.difference.standard_error
        return None if error is None else lead > 0 and lead >= SURE * error


@dataclass(frozen=True)
class Rescoring:
    """The finalists of a search, measured with many posterior samples.

    Attributes:
        posterior_samples: Posterior samples per image.
        seed: Random seed of these samples.
        images: Number of validation images.
        finalists: Losses of the finalists, the best first: the lowest negative ELBO, or the best
            value of the measure that decides.
        left_out: Ids of finalists that were not measured: the weights found are not those of the
            best epoch in the journal.
        chosen_by: The measure that decides; None for the negative ELBO.
    """

    posterior_samples: int
    seed: int
    images: int
    finalists: tuple[FinalistScore, ...]
    left_out: tuple[str, ...] = ()
    chosen_by: ObjectiveName | None = None

    @property
    def measure(self) -> Objective:
        """The measure that decides."""
        return OBJECTIVES[self.chosen_by or VALIDATION_LOSS.name]

    @property
    def lead(self) -> Lead | None:
        """Lead of the best finalist over the second; None with fewer than two."""
        if len(self.finalists) < 2:
            return None
        first, second, *_ = self.finalists
        behind = second.use_behind or second.behind
        return Lead(first.trial_id, second.trial_id, behind, self.measure)


@dataclass(frozen=True)
class SeedScores:
    """Losses of a finalist's configuration, trained from several other seeds.

    Attributes:
        trial_id: Id of the finalist.
        configuration: Number of its configuration.
        trainings: Names of the baselines, one per seed.
        losses: Rescored negative ELBO per seed, nats per image; None where the training failed.
        uses: Value per seed of the measure that decides, as `losses`; None if these decide.
    """

    trial_id: str
    configuration: int
    trainings: tuple[str, ...]
    losses: tuple[float | None, ...]
    uses: tuple[float | None, ...] | None = None

    @property
    def values(self) -> tuple[float | None, ...]:
        """The values that decide: of the measure, or the losses."""
        return self.losses if self.uses is None else self.uses

    @property
    def mean(self) -> Estimate:
        """Mean of the values with its standard error; infinite if a training failed."""
        return self._mean(self.values)

    @property
    def mean_loss(self) -> float:
        """Mean of the losses, nats per image; infinite if a training failed."""
        return self._mean(self.losses).mean

    @staticmethod
    def _mean(values: Sequence[float | None]) -> Estimate:
        finite = [value for value in values if value is not None and math.isfinite(value)]
        if len(finite) < len(values):
            return Estimate(math.inf, None)
        if len(finite) == 1:
            return Estimate(finite[0], None)
        error = statistics.stdev(finite) / math.sqrt(len(finite))
        return Estimate(statistics.mean(finite), error)


@dataclass(frozen=True)
class Retraining:
    """The configurations of the finalists, trained from other seeds.

    Attributes:
        seeds: Random seeds, the same for each configuration.
        epochs: Epochs of each training: the largest number of epochs of the search.
        posterior_samples: Posterior samples per validation image.
        finalists: Losses of the configurations, the best mean first.
        chosen_by: As for `Rescoring`.
    """

    seeds: tuple[int, ...]
    epochs: int
    posterior_samples: int
    finalists: tuple[SeedScores, ...]
    chosen_by: ObjectiveName | None = None

    @property
    def measure(self) -> Objective:
        """The measure that decides."""
        return OBJECTIVES[self.chosen_by or VALIDATION_LOSS.name]

    @property
    def lead(self) -> Lead | None:
        """Lead of the best configuration over the second; None if there is no finite second."""
        if len(self.finalists) < 2:
            return None
        first, second, *_ = self.finalists
        best, next_best = first.mean, second.mean
        if not math.isfinite(next_best.mean):
            return None
        errors = (best.standard_error, next_best.standard_error)
        known = [error for error in errors if error is not None]
        error = math.hypot(*known) if len(known) == 2 else None
        difference = Estimate(self.measure.lead(best.mean, next_best.mean), error)
        return Lead(first.trial_id, second.trial_id, difference, self.measure)


def count_samples(images_trained: int, images: int, finalists: int) -> int:
    """Returns the posterior samples per image that rescoring can afford.

    Rescoring may take a tenth of the training time of a search. The number depends on counts
    and not on a clock, so the same search always gets the same number.

    Args:
        images_trained: Training images of the whole search, counted in each epoch.
        images: Number of validation images.
        finalists: Number of finalists to rescore.

    Returns:
        A number between `MIN_SAMPLES` and `POSTERIOR_SAMPLES`. With `MIN_SAMPLES`, rescoring a
        tiny search may take longer than a tenth.
    """
    budget = _RESCORING_SHARE * _DECODED_PER_TRAINED * images_trained
    affordable = int(budget / max(1, images * finalists))
    return max(MIN_SAMPLES, min(POSTERIOR_SAMPLES, affordable))


def rank_by_mean(
    finalists: Sequence[SeedScores], measure: Objective = VALIDATION_LOSS
) -> tuple[SeedScores, ...]:
    """Sorts finalists by the mean of the values that decide, the best first.

    Equal ones are sorted by the mean loss. Those with a failed training come last, in the given
    order.

    Args:
        finalists: Configurations trained from other seeds.
        measure: The measure that decides.
    """

    def place(one: SeedScores) -> tuple[bool, float, float]:
        mean = one.mean.mean
        has_failed = not math.isfinite(mean)
        return has_failed, math.inf if has_failed else measure.cost(mean), one.mean_loss

    return tuple(sorted(finalists, key=place))


def measured_again(
    rescoring: Rescoring | None, retraining: Retraining | None
) -> dict[str, dict[str, str]]:
    """Returns the measurements of finalists as text: columns of a table, by id of the trial."""
    columns: dict[str, dict[str, str]] = {}
    if rescoring:
        means = {one.trial_id: one.use or one.negative_elbo for one in rescoring.finalists}
        number = rescoring.measure.number
        columns["rescored"] = {key: number(one.mean) for key, one in means.items()}
    if retraining:
        complete = [one for one in retraining.finalists if None not in one.values]
        number = retraining.measure.number
        columns["other seeds"] = {one.trial_id: number(one.mean.mean) for one in complete}
    return columns
