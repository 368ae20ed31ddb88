"""A trained VAE measured on test images: likelihoods, latent use, neighbours, pictures.

What is sampled is drawn by NumPy, a fixed stream for each sample over all images: the numbers
depend neither on the size of the batches nor on the device, beyond rounding.

References:
    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
"""

import math
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import Split, entropy_floor
from vaetune.errors import DeviceError
from vaetune.evaluation import Estimate, Evaluation, EvaluationProtocol
from vaetune.model import VAE, binary_cross_entropy, kl_per_dimension
from vaetune.training import OnProgress, to_unit_interval

BATCH_SIZE = 250
"""Images that go through the model at once, to begin with."""

SSIM_WINDOW = 11
"""Pixels a side, as Wang et al. 2004 have it."""

Latent = NDArray[np.float32]
PerImage = NDArray[np.float64]

LogLikelihood = Callable[[Latent], PerImage]
"""log p(x | z) of each image, in nats, (n,), for a z of each, (n, latent_dim)."""


class _Stream(IntEnum):
    """Keeps the samples of two estimates independent."""

    ELBO = 0
    IMPORTANCE = 1


class Batches:
    """Sends images through a model some at a time, fewer once memory has run out.

    Args:
        size: How many at a time, to begin with.
    """

    def __init__(self, size: int = BATCH_SIZE) -> None:
        self.size = size

    def run(self, step: Callable[[slice], tuple[Any, ...]], count: int) -> list[NDArray[Any]]:
        """Calls a step for one slice of `count` images after the other.

        Returns:
            What the step returned, an array for each part of its tuple, joined over the images.

        Raises:
            DeviceError: There is not even memory for a single image.
        """
        parts, start = [], 0
        while start < count:
            where = slice(start, min(start + self.size, count))
            try:
                parts.append([np.asarray(each) for each in step(where)])
            except tf.errors.ResourceExhaustedError as error:
                if where.stop - start == 1:
                    raise DeviceError(
                        "There is not enough memory to send a single image through the model. "
                        "End what else uses it, then give the same command again."
                    ) from error
                self.size = (where.stop - start) // 2
                continue
            start = where.stop
        return [np.concatenate(each) for each in zip(*parts, strict=True)]


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
        protocol: How much of what to do.
        on_progress: Called with the share that is done; may raise.
        batches: How many images at a time.

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


def encode(vae: VAE, images: NDArray[Any], batches: Batches) -> tuple[Latent, Latent]:
    """z_mean and z_log_var, each (n, latent_dim), of images (n, height, width, channels)."""
    posterior = _compiled(lambda x: vae.posterior(to_unit_interval(x)), _images_of(vae, images))
    z_mean, z_log_var = batches.run(lambda at: posterior(tf.constant(images[at])), len(images))
    return z_mean, z_log_var


def image_likelihood(
    vae: VAE,
    images: NDArray[Any],
    batches: Batches,
    on_decoded: Callable[[int], None] | None = None,
) -> LogLikelihood:
    """log p(x | z) of images: less the binary cross-entropy that the model is trained on.

    Logits are in float32, as in training, all that follows in float64.

    Args:
        vae: The model.
        images: (n, height, width, channels), uint8 or floats in [0, 1].
        batches: How many images at a time.
        on_decoded: Called after each batch with how many images it was of.
    """

    def negative_loss(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        logits = vae.to_logits(z, training=False)
        targets = to_unit_interval(x)
        return -binary_cross_entropy(*(tf.cast(each, tf.float64) for each in (targets, logits)))

    compiled = _compiled(negative_loss, _images_of(vae, images), _latent_of(vae))

    def of_latent(z: Latent) -> PerImage:
        def step(at: slice) -> tuple[PerImage]:
            values = compiled(tf.constant(images[at]), tf.constant(z[at])).numpy()
            if on_decoded:
                on_decoded(len(values))
            return (values,)

        (values,) = batches.run(step, len(images))
        return values

    return of_latent


def mean_log_likelihood(
    log_likelihood: LogLikelihood, z_mean: Latent, z_log_var: Latent, samples: int, seed: int
) -> PerImage:
    """E_q(z|x) log p(x | z) of each image, (n,) in nats, by so many samples of the posterior."""
    drawn = _draw(z_mean, z_log_var, samples, (seed, _Stream.ELBO))
    total = np.zeros(len(z_mean))
    for z, _ in drawn:
        total += log_likelihood(z)
    return total / samples


def importance_weighted_bound(
    log_likelihood: LogLikelihood, z_mean: Latent, z_log_var: Latent, samples: int, seed: int
) -> PerImage:
    """L_k: log (1/k) sum_i p(x, z_i) / q(z_i | x), a lower bound on log p(x) in expectation.

    With k = 1 it is the ELBO of one sample; it rises with k towards log p(x). The sum is kept as
    its logarithm, so that weights of any size neither overflow nor vanish.

    Args:
        log_likelihood: log p(x | z) of the images.
        z_mean: (n, latent_dim).
        z_log_var: Likewise.
        samples: k.
        seed: Of the samples; those of a smaller k are the first ones of a larger.

    Returns:
        Nats, (n,).

    References:
        Burda et al. 2016, equation 8.
    """
    log_sum = np.full(len(z_mean), -math.inf)
    for z, log_prior_ratio in _draw(z_mean, z_log_var, samples, (seed, _Stream.IMPORTANCE)):
        log_sum = np.logaddexp(log_sum, log_likelihood(z) + log_prior_ratio)
    return log_sum - math.log(samples)


def _draw(
    z_mean: Latent, z_log_var: Latent, samples: int, stream: tuple[int, int]
) -> Iterator[tuple[Latent, PerImage]]:
    """Yields samples z of the posterior, (n, latent_dim), with log p(z) - log q(z | x), (n,)."""
    deviation = np.exp(np.float32(0.5) * z_log_var)
    for sample in range(samples):
        generator = np.random.default_rng([*stream, sample])
        epsilon = generator.standard_normal(z_mean.shape, dtype=np.float32)
        z = z_mean + deviation * epsilon
        # The constants of the two normal densities cancel.
        terms = np.square(epsilon, dtype=np.float64) + z_log_var - np.square(z, dtype=np.float64)
        yield z, 0.5 * terms.sum(axis=1)


def closed_form_kl(z_mean: Latent, z_log_var: Latent) -> NDArray[np.float64]:
    """KL(q(z | x) || p(z)) of each image and latent dimension, (n, latent_dim) in nats."""
    exact = (tf.constant(each, tf.float64) for each in (z_mean, z_log_var))
    return np.asarray(kl_per_dimension(*exact))


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

    compiled = _compiled(compare, _images_of(vae, images), _latent_of(vae))
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


def estimate(per_image: PerImage) -> Estimate:
    """The mean over images and its standard error."""
    count = len(per_image)
    error = float(per_image.std(ddof=1)) / math.sqrt(count) if count > 1 else None
    return Estimate(float(per_image.mean()), error)


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


def _images_of(vae: VAE, images: NDArray[Any]) -> tf.TensorSpec:
    return tf.TensorSpec((None, *vae.image_shape), images.dtype)


def _latent_of(vae: VAE) -> tf.TensorSpec:
    return tf.TensorSpec((None, vae.latent_dim), tf.float32)


def _compiled(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
    """Compiled once: the last batch, or a smaller one, is not traced again."""
    return tf.function(  # type: ignore[no-any-return]
        function, input_signature=signature, autograph=False
    ).get_concrete_function()
