"""A trained VAE measured on test images: likelihoods, latent use, neighbours, pictures.

What is sampled is drawn by NumPy, a fixed stream for each sample over all images: the numbers
depend neither on the size of the batches nor on the device, beyond rounding.

References:
    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import Split, entropy_floor
from vaetune.evaluation.likelihood import (
    Batches,
    Latent,
    closed_form_kl,
    compile_function,
    encode,
    estimate,
    image_likelihood,
    images_of,
    importance_weighted_bound,
    latent_of,
    mean_log_likelihood,
)
from vaetune.models import VAE
from vaetune.study import Evaluation, EvaluationProtocol
from vaetune.training import OnProgress, to_unit_interval

SSIM_WINDOW = 11
"""Pixels a side, as Wang et al. 2004 have it."""


def evaluate(
    vae: VAE,
    test: Split,
    train: Split,
    protocol: EvaluationProtocol,
    on_progress: OnProgress | None = None,
    batches: Batches | None = None,
) -> Evaluation:
    """Measures a model on test images. The model stays as it is.

    Args:
        vae: The model.
        test: The images to judge by, uint8 or floats in [0, 1].
        train: Those it was trained on: neighbours of the test images are looked for among them.
        protocol: Sample counts and other evaluation settings.
        on_progress: Called with the share that is done; may raise.
        batches: Batches of images.

    Raises:
        DeviceError: There is not even memory for a single image.
    """
    batches = batches or Batches()
    protocol = protocol.limited_to(len(test))
    first, k = protocol.importance_images, protocol.importance_samples
    decoded = _Counter(protocol.posterior_samples * len(test) + k * first, on_progress)
    z_mean, z_log_var = encode(vae, test.images, batches)
    likelihood = image_likelihood(vae, test.images, batches, decoded.add)
    reconstruction = -mean_log_likelihood(
        likelihood, z_mean, z_log_var, protocol.posterior_samples, protocol.seed
    )
    bound = -importance_weighted_bound(
        image_likelihood(vae, test.images[:first], batches, decoded.add),
        *(z_mean[:first], z_log_var[:first], k, protocol.seed),
    )
    kl = closed_form_kl(z_mean, z_log_var)
    window = ssim_window(*vae.image_shape[:2])
    psnr, ssim = compare_decoded_means(vae, test.images, z_mean, window, batches)
    return Evaluation(
        protocol=protocol,
        test_images=len(test),
        negative_elbo=estimate(reconstruction + kl.sum(axis=1)),
        reconstruction=estimate(reconstruction),
        kl=estimate(kl.sum(axis=1)),
        entropy_floor=entropy_floor(test.images),
        importance_weighted_bound=estimate(bound),
        kl_per_dimension=tuple(kl.mean(axis=0).tolist()),
        variance_per_dimension=variance_per_dimension(z_mean),
        knn_accuracy=_accuracy(vae, train, test, z_mean, protocol.neighbours, batches),
        psnr=psnr,
        ssim=ssim,
        ssim_window=window,
    )


def variance_per_dimension(z_mean: Latent) -> tuple[float, ...]:
    """Var_x E[z_d | x] of each latent dimension d, over the images.

    References:
        Burda et al. 2016, section 5.2.
    """
    return tuple(np.var(z_mean, axis=0, dtype=np.float64).tolist())


def knn_accuracy(
    train_z: Latent,
    train_labels: NDArray[np.int64],
    test_z: Latent,
    test_labels: NDArray[np.int64],
    neighbours: int,
) -> float | None:
    """Share of test images whose class most of their nearest training images have.

    Nearest by Euclidean distance of z_mean. None where a z_mean is not finite.
    """
    from sklearn.neighbors import KNeighborsClassifier  # a second, only where there are labels

    if not (np.isfinite(train_z).all() and np.isfinite(test_z).all()):
        return None
    classifier = KNeighborsClassifier(n_neighbors=min(neighbours, len(train_z)))
    return float(classifier.fit(train_z, train_labels).score(test_z, test_labels))


def compare_decoded_means(
    vae: VAE, images: NDArray[Any], z_mean: Latent, window: int, batches: Batches
) -> tuple[float, float]:
    """PSNR in decibels and SSIM of the images decoded from z_mean, means over the images.

    Says how pictures look. It is no ELBO: nothing is sampled.
    """

    def compare(x: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return similarity(to_unit_interval(x), vae.decoder(z, training=False), window)

    compiled = compile_function(compare, images_of(vae, images), latent_of(vae))
    psnr, ssim = batches.run(
        lambda at: compiled(tf.constant(images[at]), tf.constant(z_mean[at])), len(images)
    )
    return float(psnr.mean(dtype=np.float64)), float(ssim.mean(dtype=np.float64))


def similarity(images: tf.Tensor, others: tf.Tensor, window: int) -> tuple[tf.Tensor, tf.Tensor]:
    """PSNR in decibels and SSIM of pairs of images in [0, 1], each (batch,)."""
    psnr = tf.image.psnr(images, others, max_val=1.0)
    return psnr, tf.image.ssim(images, others, max_val=1.0, filter_size=window)


def ssim_window(height: int, width: int) -> int:
    """The largest odd window, up to the usual one, that fits into images of this size."""
    side = min(height, width, SSIM_WINDOW)
    return side if side % 2 else side - 1


def _accuracy(
    vae: VAE, train: Split, test: Split, z_mean: Latent, neighbours: int, batches: Batches
) -> float | None:
    if train.labels is None or test.labels is None:
        return None
    train_z, _ = encode(vae, train.images, batches)
    return knn_accuracy(train_z, train.labels, z_mean, test.labels, neighbours)


class _Counter:
    """Counts decoded images, and tells the share that is done."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._left = self._total = total
        self._on_progress = on_progress

    def add(self, images: int) -> None:
        self._left -= images
        if self._on_progress:
            self._on_progress(1.0 - self._left / self._total)
