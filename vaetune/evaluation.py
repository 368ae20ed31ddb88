"""What the test images say of a trained VAE, and how it was measured: plain numbers.

Needs neither Keras nor TensorFlow, so that a journal that holds it reads back at once.
"""

from dataclasses import dataclass, replace
from typing import Literal

Binarize = Literal["none", "threshold", "stochastic"]
"""What may be made of pixels; see `spec.DataSpec`."""

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
        seed: Of the posterior samples.
        posterior_samples: For each image, of the negative ELBO.
        importance_samples: k, for each image, of the importance-weighted bound.
        importance_images: How many of the test images, the first ones, that bound is of.
        neighbours: Training images that vote on the class of a test image.
        active_variance: A latent dimension is active when z_mean varies more, over test images.
        binarize: What was made of the pixels; see `spec.DataSpec`.
    """

    seed: int
    posterior_samples: int = POSTERIOR_SAMPLES
    importance_samples: int = IMPORTANCE_SAMPLES
    importance_images: int = IMPORTANCE_IMAGES
    neighbours: int = NEIGHBOURS
    active_variance: float = ACTIVE_VARIANCE
    binarize: Binarize = "none"

    def limited_to(self, test_images: int) -> "EvaluationProtocol":
        """The protocol where there are so many test images."""
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
        protocol: How it was measured, with as many images as there were.
        test_images: How many all but the importance-weighted bound are of.
        negative_elbo: Nats per image, over the posterior samples of the protocol.
        reconstruction: The part of it that is binary cross-entropy, nats per image.
        kl: The other part, in closed form, nats per image.
        entropy_floor: Nats per image that no model's reconstruction of them goes below.
        importance_weighted_bound: On the negative log-likelihood, nats per image; from above.
        kl_per_dimension: Nats per image, a value a latent dimension; they add up to `kl`.
        variance_per_dimension: Of z_mean over the images, likewise.
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
