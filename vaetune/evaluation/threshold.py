"""The score above which images are flagged, and how sure the share of flagged images is."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import ResultsError

QUANTILE = 0.99
"""Default share of the held-out images that are not flagged."""

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Threshold:
    """A score above which images are flagged.

    Attributes:
        value: The score, one of those of the held-out images, in nats.
        quantile: Share of images of the same kind that is not to be flagged.
        images: Number of held-out images.
        rank: Number of held-out images with this score or a lower one, if no two are equal.
    """

    value: float
    quantile: float
    images: int
    rank: int

    @property
    def expected_share(self) -> float:
        """Expected share of images of the same kind that are flagged, in (0, 1)."""
        return (self.images - self.rank + 1) / (self.images + 1)

    @property
    def has_too_few(self) -> bool:
        """Whether even the largest score of so few images flags more than 1 - quantile."""
        return self.quantile * (self.images + 1) > self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Limits of the share of flagged images of the same kind, with 95% confidence.

        The share above an order statistic has a Beta distribution, whatever the distribution of
        the scores.
        """
        from scipy.special import betaincinv

        above = self.images - self.rank + 1
        tail = (1 - _CONFIDENCE) / 2
        low, high = (float(betaincinv(above, self.rank, share)) for share in (tail, 1 - tail))
        return low, high


def check_quantile(quantile: float) -> None:
    """Checks a quantile.

    Raises:
        ResultsError: It is not between 0 and 1.
    """
    if not 0 < quantile < 1:
        raise ResultsError(
            f"The quantile must be above 0 and below 1, such as {QUANTILE}. Received: {quantile:g}."
        )


def find_threshold(scores: NDArray[np.float64], quantile: float = QUANTILE) -> Threshold:
    """Returns the threshold that flags an expected share of 1 - quantile of other images.

    Args:
        scores: Scores of images on which the model was not trained, (n,), n at least 1.
        quantile: Share that is not flagged, in (0, 1). With too few images for it, the threshold
            is the largest score.
    """
    count = len(scores)
    # Rounding first keeps 0.99 * 100 from being above 99.
    rank = min(count, max(1, math.ceil(round(quantile * (count + 1), 9))))
    return Threshold(float(np.sort(scores)[rank - 1]), quantile, count, rank)
