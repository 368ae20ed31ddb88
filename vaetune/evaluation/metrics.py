"""Evaluation of a trained VAE on test images: likelihoods, latent use and image quality.

Random numbers come from NumPy, with a fixed stream for each sample over all images. So the results
depend, except for rounding, neither on the batch size nor on the device.

References:
    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
"""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import Images, Split, entropy_floor
from vaetune.evaluation.levels import describe_levels, posterior_sampler
from vaetune.evaluation.likelihood import (
    Batches,
    Latent,
    closed_form_kl,
    compile_once,
    encode,
    estimate,
    expectation,
    image_spec,
    importance_weighted_bound,
    latent_spec,
)
from vaetune.evaluation.partial import PartialSums
from vaetune.models import VAE
from vaetune.study import Evaluation, EvaluationProtocol, variance_per_dimension
from vaetune.training import OnProgress, nearest_neighbours, to_unit_tensor

SSIM_WINDOW = 11
"""Side of the SSIM window in pixels, as in Wang et al. 2004."""


def evaluate(
    vae: VAE,
    test: Split,
    train: Split,
    protocol: EvaluationProtocol,
    on_progress: OnProgress | None = None,
    batches: Batches | None = None,
    partial: PartialSums | None = None,
) -> Evaluation:
    """Evaluates a model on test images. The model does not change.

    Args:
        vae: The trained model.
        test: Test images, uint8 or floats in [0, 1].
        train: Training images, among which nearest neighbours are searched.
        protocol: Sample counts and other evaluation settings.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.
        batches: Batches in which to run the model.
        partial: Sums of an earlier, interrupted evaluation, which is continued.

    Raises:
        DeviceError: There is not enough memory for a single image.
    """
    batches = batches or Batches()
    protocol = protocol.limited_to(len(test))
    count, k = protocol.importance_images, protocol.importance_samples
    partial = partial or PartialSums()
    decoded = _Counter(protocol.posterior_samples * len(test) + k * count, on_progress)
    decoded.skip(partial.get("elbo")[0] * len(test) + partial.get("bound")[0] * count)
    z_mean, z_log_var = encode(vae, test.images, batches)
    sampler = posterior_sampler(vae, test.images, (z_mean, z_log_var), batches, decoded.add)
    expected = expectation(sampler, protocol.posterior_samples, protocol.seed, partial)
    reconstruction = -expected.log_likelihood
    first = test.take(slice(count)).images
    bound = -importance_weighted_bound(
        posterior_sampler(vae, first, (z_mean[:count], z_log_var[:count]), batches, decoded.add),
        *(k, protocol.seed, partial),
    )
    top_kl = closed_form_kl(z_mean, z_log_var)
    kl = sum((each.sum(axis=1) for each in expected.lower_kl), start=top_kl.sum(axis=1))
    window = ssim_window(*vae.image_shape[:2])
    psnr, ssim = compare_reconstructions(vae, test.images, z_mean, window, batches)
    return Evaluation(
        protocol=protocol,
        test_images=len(test),
        negative_elbo=estimate(reconstruction + kl),
        reconstruction=estimate(reconstruction),
        kl=estimate(kl),
        entropy_floor=entropy_floor(test.images) if vae.likelihood == "bernoulli" else None,
        importance_weighted_bound=estimate(bound),
        kl_per_dimension=tuple(top_kl.mean(axis=0).tolist()),
        variance_per_dimension=variance_per_dimension(z_mean),
        knn_accuracy=_encode_and_classify(vae, train, test, z_mean, protocol.neighbours, batches),
        psnr=psnr,
        ssim=ssim,
        ssim_window=window,
        lower_levels=describe_levels(vae, test.images, expected.lower_kl, batches),
        likelihood=vae.likelihood,
        pixel_values=0 if vae.likelihood == "bernoulli" else math.prod(vae.image_shape),
    )


def knn_accuracy(
    train_z: Latent,
    train_labels: NDArray[np.int64],
    test_z: Latent,
    test_labels: NDArray[np.int64],
    neighbours: int,
) -> float | None:
    """Returns the share of test images that a k-nearest-neighbour classifier gets right.

    It takes the majority class of the nearest training images, by Euclidean distance of z_mean.

    Args:
        train_z: Latent means of the training images, (n, latent_dim).
        train_labels: Their class indices, (n,).
        test_z: Latent means of the test images, (m, latent_dim).
        test_labels: Their class indices, (m,).
        neighbours: Number k of neighbours.

    Returns:
        Accuracy in [0, 1]; None if a latent mean is not finite.
    """
    if not (np.isfinite(train_z).all() and np.isfinite(test_z).all()):
        return None
    predicted = nearest_neighbours(train_z, train_labels, test_z, neighbours)
    return float(np.mean(predicted == test_labels))


def compare_reconstructions(
    vae: VAE, images: Images, z_mean: Latent, window: int, batches: Batches
) -> tuple[float, float]:
    """Returns mean PSNR in decibels and mean SSIM of images decoded from the posterior means.

    They measure how reconstructions look. They are unrelated to the ELBO: nothing is sampled.

    Args:
        vae: The trained model.
        images: Images, (n, height, width, channels), uint8 or floats in [0, 1].
        z_mean: Latent means of the images, (n, latent_dim).
        window: Side of the SSIM window in pixels.
        batches: Batches in which to decode.
    """

    def compare(x: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = to_unit_tensor(x)
        decoded = vae.reconstruct(images) if vae.level_shapes else vae.decoder(z, training=False)
        return similarity(images, decoded, window)

    specs = image_spec(vae, images), latent_spec(vae)
    compiled = compile_once(vae, f"similarity {window}", compare, *specs)
    psnr, ssim = batches.run(
        lambda batch: compiled(tf.constant(images[batch]), tf.constant(z_mean[batch])), len(images)
    )
    return float(psnr.mean(dtype=np.float64)), float(ssim.mean(dtype=np.float64))


def similarity(images: tf.Tensor, others: tf.Tensor, window: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns PSNR in decibels and SSIM of pairs of images in [0, 1], each (batch,)."""
    psnr = tf.image.psnr(images, others, max_val=1.0)
    return psnr, tf.image.ssim(images, others, max_val=1.0, filter_size=window)


def ssim_window(height: int, width: int) -> int:
    """Returns the side of the largest odd SSIM window, up to 11, that fits into the images."""
    side = min(height, width, SSIM_WINDOW)
    return side if side % 2 else side - 1


def _encode_and_classify(
    vae: VAE, train: Split, test: Split, z_mean: Latent, neighbours: int, batches: Batches
) -> float | None:
    if train.labels is None or test.labels is None:
        return None
    train_z, _ = encode(vae, train.images, batches)
    return knn_accuracy(train_z, train.labels, z_mean, test.labels, neighbours)


class _Counter:
    """Counts decoded images and reports the completed share."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._left = self._total = total
        self._on_progress = on_progress

    def skip(self, images: int) -> None:
        """Counts images that an earlier evaluation decoded."""
        self._left -= images

    def add(self, images: int) -> None:
        """Counts images that were decoded."""
        self._left -= images
        if self._on_progress:
            self._on_progress(1.0 - self._left / self._total)
