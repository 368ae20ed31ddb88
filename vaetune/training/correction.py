"""The part of an image's loss that its complexity explains, which scores of anomalies leave out.

A complex image has a large loss, however usual it is. On images that the model was not trained on,
a linear regression says how much of the loss comes from complexity.

References:
    Serrà et al., "Input Complexity and Out-of-distribution Detection with Likelihood-based
    Generative Models", 2020, subtract a compressed size from the loss.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PerImage = NDArray[np.float64]

FEWEST_IMAGES = 100
"""Fewest images to which a correction is fitted."""


@dataclass(frozen=True)
class Correction:
    """Loss that is expected of an image, as a linear function of its complexity.

    The default is the lowest loss itself, for a model without images to fit.

    Attributes:
        offset: Loss in nats where the others are zero.
        per_lowest: Weight of the lowest reconstruction loss that any reconstruction could have.
        per_compressed: Weight of the compressed size.
        images: Number of images to which it was fitted; 0 for the default.
    """

    offset: float = 0.0
    per_lowest: float = 1.0
    per_compressed: float = 0.0
    images: int = 0

    def expected(self, lowest: PerImage, compressed: PerImage) -> PerImage:
        """Returns the expected negative ELBO of images, (n,) in nats.

        Args:
            lowest: Lowest reconstruction loss that any reconstruction could have, (n,) in nats.
            compressed: Compressed sizes, (n,) in nats.
        """
        return self.offset + self.per_lowest * lowest + self.per_compressed * compressed

    def score(self, negative_elbo: PerImage, lowest: PerImage, compressed: PerImage) -> PerImage:
        """Returns the loss above the expected one, (n,) in nats. NaN becomes infinite.

        Args:
            negative_elbo: Negative ELBO of each image, (n,) in nats.
            lowest: As for `expected`.
            compressed: As for `expected`.
        """
        above = negative_elbo - self.expected(lowest, compressed)
        return np.where(np.isnan(above), np.inf, above)


LOWEST_LOSS_ONLY = Correction()


def fit_correction(negative_elbo: PerImage, lowest: PerImage, compressed: PerImage) -> Correction:
    """Fits the expected loss to images on which the model was not trained.

    It is a Bayesian linear regression. Before the images are seen, the weight of the lowest loss is
    1 and that of the compressed size 0, each with a standard deviation of 1, because all are in
    nats. So a weight about which the images say nothing, because all are equally complex, stays
    what it is in `LOWEST_LOSS_ONLY`. Losses that are not finite do not count.

    Args:
        negative_elbo: Negative ELBO of each image, (n,) in nats.
        lowest: Lowest reconstruction loss that any reconstruction could have, (n,) in nats.
        compressed: Compressed sizes, (n,) in nats.

    Returns:
        The correction; `LOWEST_LOSS_ONLY` with fewer than `FEWEST_IMAGES` finite losses.
    """
    finite = np.isfinite(negative_elbo)
    if finite.sum() < FEWEST_IMAGES:
        return LOWEST_LOSS_ONLY
    features = np.stack([lowest, compressed], axis=1)[finite]
    target = (negative_elbo - lowest)[finite]
    centre, level = features.mean(axis=0), target.mean()
    design, above = features - centre, target - level
    free, *_ = np.linalg.lstsq(design, above)
    noise = np.std(above - design @ free)  # In its units, the standard deviation of a weight is 1.
    weights, *_ = np.linalg.lstsq(np.r_[design, noise * np.eye(2)], np.r_[above, 0.0, 0.0])
    per_lowest, per_compressed = float(1 + weights[0]), float(weights[1])
    offset = float(level - weights @ centre)
    return Correction(offset, per_lowest, per_compressed, int(finite.sum()))
