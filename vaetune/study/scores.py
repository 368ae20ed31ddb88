"""Evaluations of trained models on test images."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from vaetune.config import Binarize, Likelihood, bits_per_dimension

POSTERIOR_SAMPLES = 32
"""Posterior samples per image, at most."""

IMPORTANCE_SAMPLES = 500
"""Samples per image of the importance-weighted bound."""

IMPORTANCE_IMAGES = 1000
"""Test images of the importance-weighted bound, at most."""

NEIGHBOURS = 5
"""Training images that vote on the class of a test image."""

ACTIVE_VARIANCE = 0.01
"""Variance of z_mean over images. A latent dimension with less variance does not distinguish
images (Burda et al. 2016)."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """Settings of an evaluation. Two evaluations with one protocol give the same numbers.

    Attributes:
        seed: Random seed of the posterior samples.
        posterior_samples: Posterior samples per image for the negative ELBO.
        importance_samples: Samples per image, k, for the importance-weighted bound.
        importance_images: Number of test images for that bound; the first ones are used.
        neighbours: Training images that vote on the class of a test image.
        active_variance: Variance of z_mean over test images above which a latent dimension counts
            as active.
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
        """Returns the protocol with `importance_images` limited to the available test images."""
        return replace(self, importance_images=min(self.importance_images, test_images))


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error.

    Attributes:
        mean: Mean over images, or over seeds.
        standard_error: Standard error of the mean; None if it is of a single value.
    """

    mean: float
    standard_error: float | None


@dataclass(frozen=True)
class LevelUse:
    """How a model uses the latent maps of a lower level on test images.

    Attributes:
        size: Height and width of the maps.
        kl_per_channel: KL divergence of each channel, summed over positions, nats per image. It is
            in closed form given the sample of the levels above, and the mean over samples.
        variance_per_channel: Variance of the posterior mean over the images, relative to the
            prior and summed over positions, for each channel.
    """

    size: tuple[int, int]
    kl_per_channel: tuple[float, ...]
    variance_per_channel: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """Measurements of a trained VAE on test images. Likelihoods are those of its loss; see `VAE`.

    Attributes:
        protocol: Settings of the evaluation, with the number of images that were available.
        test_images: Number of test images, for all values except the importance-weighted bound.
        negative_elbo: Negative ELBO over the posterior samples of the protocol, nats per image.
        reconstruction: Reconstruction loss, the first part of the negative ELBO, nats per image.
        kl: KL divergence of all levels, the second part, nats per image. It is in closed form;
            that of lower levels is the mean over samples of the levels above.
        entropy_floor: Lower bound on the reconstruction loss of any model, nats per image; None
            without one.
        importance_weighted_bound: Upper bound on the negative log-likelihood, nats per image.
        kl_per_dimension: KL divergence of each latent dimension of the top level, nats per image.
            Without lower levels, the sum is `kl`.
        variance_per_dimension: Variance of z_mean over the images, for each latent dimension of
            the top level.
        knn_accuracy: Share of test images classified correctly by the nearest z_mean of training
            images; None without labels.
        psnr: Peak signal-to-noise ratio in decibels, the mean over images decoded from the
            posterior means of all levels. Decoding means gives no ELBO.
        ssim: Mean structural similarity of the same images, at most 1.
        ssim_window: Side of its Gaussian window, in pixels.
        lower_levels: Use of each lower level, from the smallest maps outwards; empty for a model
            with one level.
        likelihood: Likelihood of the pixels. Numbers of two likelihoods cannot be compared.
        pixel_values: Number of values of an image; 0 for the Bernoulli likelihood.
    """

    protocol: EvaluationProtocol
    test_images: int
    negative_elbo: Estimate
    reconstruction: Estimate
    kl: Estimate
    entropy_floor: float | None
    importance_weighted_bound: Estimate
    kl_per_dimension: tuple[float, ...]
    variance_per_dimension: tuple[float, ...]
    knn_accuracy: float | None
    psnr: float
    ssim: float
    ssim_window: int
    lower_levels: tuple[LevelUse, ...] = ()
    likelihood: Likelihood = "bernoulli"
    pixel_values: int = 0

    @property
    def above_entropy_floor(self) -> float | None:
        """Negative ELBO minus the entropy floor, nats per image; None without a floor."""
        floor = self.entropy_floor
        return None if floor is None else self.negative_elbo.mean - floor

    @property
    def bits_per_dimension(self) -> float | None:
        """Negative ELBO in bits per dimension; None for the Bernoulli likelihood."""
        return self._bits(self.negative_elbo)

    @property
    def bound_bits_per_dimension(self) -> float | None:
        """Importance-weighted bound in bits per dimension; None for the Bernoulli likelihood."""
        return self._bits(self.importance_weighted_bound)

    def _bits(self, loss: Estimate) -> float | None:
        return bits_per_dimension(loss.mean, (self.pixel_values,), self.likelihood)

    @property
    def active_units(self) -> int:
        """Number of latent dimensions of the top level that distinguish images."""
        return count_active_units(self.variance_per_dimension, self.protocol.active_variance)

    @property
    def active_channels(self) -> tuple[int, ...]:
        """Number of channels of each lower level that distinguish images."""
        least = self.protocol.active_variance
        return tuple(
            count_active_units(one.variance_per_channel, least) for one in self.lower_levels
        )


def count_active_units(variances: Iterable[float], least: float = ACTIVE_VARIANCE) -> int:
    """Returns the number of latent dimensions that distinguish images.

    Args:
        variances: Variance of z_mean over images, of each latent dimension.
        least: Variance above which a latent dimension counts as active.
    """
    return sum(variance > least for variance in variances)
