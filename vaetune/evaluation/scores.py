"""Scores of images as anomalies, with the threshold and the columns of their table."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaetune.evaluation.classes import compare_classes
from vaetune.evaluation.image_table import ImageTable, name_classes
from vaetune.evaluation.threshold import Threshold
from vaetune.training import LOWEST_LOSS_ONLY, Correction

if TYPE_CHECKING:
    import pandas as pd

PerImage = NDArray[np.float64]

LOSSES = ("reconstruction", "kl", "reconstruction_error", "lowest_loss", "compressed_size")
"""Names of what is measured of an image, in the order of the fields of `Scores`."""


@dataclass(frozen=True, eq=False)
class Scores(ImageTable):
    """Scores of images, one row per image. The higher a score, the odder is the image.

    Attributes:
        reconstruction: Reconstruction loss, a mean over samples of the posterior, (n,) in nats.
        kl: KL divergence, (n,) in nats.
        reconstruction_error: Mean squared error of the reconstruction through the posterior means,
            (n,), of pixels in [0, 1].
        lowest_loss: Lowest reconstruction loss that any reconstruction of the image could have,
            (n,) in nats.
        compressed_size: Size of the image after lossless compression, (n,) in nats.
        are_new: Whether the model saw the image neither in training nor when the threshold was
            set, (n,).
        correction: Loss that is expected of an image of this complexity.
        threshold: Score above which images are flagged; None if none could be set.
        no_threshold: Reason why there is no threshold; empty with one.
    """

    reconstruction: PerImage
    kl: PerImage
    reconstruction_error: PerImage
    lowest_loss: PerImage
    compressed_size: PerImage
    are_new: NDArray[np.bool_]
    correction: Correction = LOWEST_LOSS_ONLY
    threshold: Threshold | None = None
    no_threshold: str = ""

    @property
    def negative_elbo(self) -> PerImage:
        """Negative ELBO, (n,) in nats."""
        return self.reconstruction + self.kl

    @property
    def expected_loss(self) -> PerImage:
        """Negative ELBO that is expected of an image of this complexity, (n,) in nats."""
        return self.correction.expected(self.lowest_loss, self.compressed_size)

    @cached_property
    def score(self) -> PerImage:
        """Negative ELBO above `expected_loss`, (n,) in nats. NaN counts as infinite."""
        return self.correction.score(self.negative_elbo, self.lowest_loss, self.compressed_size)

    @cached_property
    def flagged(self) -> NDArray[np.bool_] | None:
        """Whether the score is above the threshold, (n,); None without a threshold."""
        return None if self.threshold is None else self.score > self.threshold.value

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of numbers, in the order of the table of `vaetune score`."""
        names = ("score", "negative_elbo", "expected_loss", *LOSSES)
        columns = {name: getattr(self, name) for name in names}
        return columns if self.flagged is None else {**columns, "flagged": self.flagged}

    def highest(self, count: int) -> NDArray[np.int64]:
        """Returns the rows of the images with the highest scores, highest first.

        Args:
            count: Number of images, at most.
        """
        return np.argsort(-self.score, kind="stable")[:count]

    def middle(self, count: int, besides: int = 0) -> NDArray[np.int64]:
        """Returns the rows of images with scores around the median, in order.

        Args:
            count: Number of images, at most.
            besides: Number of images with the highest scores that are left out.
        """
        order = np.argsort(-self.score, kind="stable")
        start = max(besides, (len(order) - count) // 2)
        return order[start : start + count]

    def class_of(self, row: int) -> str | None:
        """Returns the name of an image's class, or None if it has none."""
        if self.labels is None:
            return None
        (found,) = name_classes(self.labels[row : row + 1], self.class_names)
        return found

    def auroc(self, odd: str | int | None = None, normal: str | int | None = None) -> float:
        """Returns the area under the ROC curve: how well scores separate odd from normal images.

        It is the probability that an odd image has a higher score than a normal one. Images of the
        search count only if they are test images or were left out.

        Args:
            odd: Class of the odd images. All other classes are normal.
            normal: Class of the normal images. All other classes are odd.

        Raises:
            ResultsError: There are no labels, no such class or no images of both kinds.
        """
        facts = self.labels, self.class_names, self.are_new
        found = compare_classes(*facts, odd, normal, self.splits)
        return found.auroc(self.score)

    def to_frame(self) -> "pd.DataFrame":
        """Returns a pandas table with the columns of `vaetune score`."""
        return self.frame_with(self.columns)
