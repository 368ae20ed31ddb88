"""Measures of a model by its use: how well it serves a classifier, or finds odd images.

Each measure is a mean over images, so it has a standard error, and so has the difference of two
models on the same images.

References:
    DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver
    Operating Characteristic Curves", Biometrics 44, 1988.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vaetune.config import ObjectiveName
from vaetune.data import Images, ImageSet, Split, to_unit_interval
from vaetune.study import NEIGHBOURS
from vaetune.training.correction import fit_correction

_PART_VALUES = 2**22
"""Number of pixel values that are encoded at a time, to limit memory."""

_MAX_STEPS = 200
"""Steps of the optimizer of a logistic regression, at most."""

PerImage = NDArray[np.float64]
"""One number per image; the mean is the value of a measure."""

Latent = NDArray[np.floating]

Classify = Callable[[Latent, NDArray[np.int64], Latent], NDArray[np.int64]]


class Model(Protocol):
    """A model that is measured, such as an `EpochRunner`."""

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns latent means (n, latent_dim) of images in [0, 1]."""

    def losses_of_images(
        self, images: NDArray[np.float32], samples: int, seed: tuple[int, int]
    ) -> tuple[PerImage, PerImage]:
        """Returns negative ELBO and lowest loss of images in [0, 1]; see `EpochRunner`."""


@dataclass(frozen=True)
class Effort:
    """Numbers of images and samples with which a model is measured.

    Attributes:
        train_images: Number of training images to use, spread over all, at most. None: all.
        samples: Posterior samples per image for anomaly scores.
    """

    train_images: int | None = None
    samples: int = 1


EACH_EPOCH = Effort(train_images=10_000)
"""Effort for an epoch, which must stay small next to its training."""


def measure_use(
    name: ObjectiveName, model: Model, images: ImageSet, effort: Effort = EACH_EPOCH
) -> PerImage:
    """Measures a model by its use, on the validation images.

    Args:
        name: The measure.
        model: The model. It does not change.
        images: The image set.
        effort: Numbers of images and samples to measure with.

    Returns:
        Numbers with the value as their mean; NaN if something about an image is not finite.
    """
    method = _CLASSIFIERS.get(name)
    if method is None:
        return separate(model, images.validation, images.left_out[1], effort.samples)
    train, most = images.train, effort.train_images
    if most is not None and len(train) > most:
        train = train.take(np.linspace(0, len(train) - 1, most).round().astype(np.int64))
    return classify(method, model, train, images.validation)


def classify(method: Classify, model: Model, train: Split, test: Split) -> PerImage:
    """Returns 1 for each test image that a classifier of z_mean gets right, and 0 for others."""
    if train.labels is None or test.labels is None:
        raise ValueError("A classifier of z_mean needs labels.")
    train_z, test_z = (encode_all(model, split.images) for split in (train, test))
    if not (np.isfinite(train_z).all() and np.isfinite(test_z).all()):
        return np.full(len(test), math.nan)
    is_right: PerImage = (method(train_z, train.labels, test_z) == test.labels).astype(np.float64)
    return is_right


def encode_all(model: Model, images: Images) -> NDArray[np.float32]:
    """Returns the latent means of any number of images, (n, latent_dim)."""
    return np.concatenate([model.encode(part) for _, part in _parts(images)])


def separate(model: Model, usual: Split, odd: Split, samples: int) -> PerImage:
    """Returns numbers with the area under the ROC curve of anomaly scores as their mean.

    Args:
        model: The model.
        usual: Images of the classes that the model was trained on.
        odd: Images of the classes that were left out.
        samples: Posterior samples per image.
    """
    losses = [_losses_of(model, split, samples, k) for k, split in enumerate((usual, odd))]
    correction = fit_correction(*losses[0])
    scores = [correction.score(*each) for each in losses]
    if not np.isfinite(np.concatenate(scores)).all():
        return np.full(len(usual) + len(odd), math.nan)
    return area_under_curve(*scores)


def _losses_of(
    model: Model, split: Split, samples: int, number: int
) -> tuple[PerImage, PerImage, PerImage]:
    """Returns negative ELBO, lowest loss and compressed size of images, (n,) each."""
    parts = [
        model.losses_of_images(part, samples, (start, number))
        for start, part in _parts(split.images)
    ]
    elbo, lowest = (np.concatenate(each) for each in zip(*parts, strict=True))
    return elbo, lowest, split.compressed_sizes


def area_under_curve(usual: PerImage, odd: PerImage) -> PerImage:
    """Returns numbers with the area under the ROC curve as their mean.

    The share of usual images below an odd one, and the share of odd images above a usual one, both
    have the area as their mean (DeLong et al. 1988). Their differences from it are weighted so
    that the standard error of the mean over all images is that of the area.

    Args:
        usual: Scores of usual images, (n,). Infinite ones are allowed.
        odd: Scores of odd images, which should be larger, (m,).

    Returns:
        Numbers of the usual and then of the odd images, (n + m,); NaN if a score is NaN.
    """
    count = len(usual) + len(odd)
    if np.isnan(usual).any() or np.isnan(odd).any():
        return np.full(count, math.nan)
    above, below = 1.0 - _share_below(odd, usual), _share_below(usual, odd)
    area = float(below.mean())
    weighted = [count / len(shares) * (shares - area) for shares in (above, below)]
    return area + np.concatenate(weighted)


def _share_below(scores: PerImage, limits: PerImage) -> PerImage:
    """Returns the share of scores below each limit; equal ones count half."""
    ranked = np.sort(scores)
    sides = [np.searchsorted(ranked, limits, side) for side in ("left", "right")]
    shares: PerImage = (sides[0] + sides[1]) / (2 * len(scores))
    return shares


def _parts(images: Images) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yields the index of the first image of each part, and the part in [0, 1]."""
    step = max(1, _PART_VALUES // math.prod(images.shape[1:]))
    for start in range(0, len(images), step):
        yield start, to_unit_interval(images[start : start + step])


def nearest_neighbours(
    train_z: Latent, labels: NDArray[np.int64], test_z: Latent, neighbours: int = NEIGHBOURS
) -> NDArray[np.int64]:
    """Returns the majority class of the nearest training images, by Euclidean distance.

    Args:
        train_z: Latent means of the training images, (n, latent_dim).
        labels: Their class indices, (n,).
        test_z: Latent means of the images to classify, (m, latent_dim).
        neighbours: Number k of neighbours.
    """
    # The import takes a second, and only labelled images need it.
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=min(neighbours, len(train_z)))
    predicted: NDArray[np.int64] = classifier.fit(train_z, labels).predict(test_z)
    return predicted


def linear_probe(train_z: Latent, labels: NDArray[np.int64], test_z: Latent) -> NDArray[np.int64]:
    """Returns the classes that a multinomial logistic regression predicts.

    Each latent dimension is standardised by the training images. The arguments are those of
    `nearest_neighbours`.

    The products are small: threads would only wait for one another, for seconds on a busy machine.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    mean, deviation = (np.asarray(one, np.float64) for one in (train_z.mean(0), train_z.std(0)))
    scale = np.where(deviation > 0, deviation, 1.0)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(max_iter=_MAX_STEPS).fit((train_z - mean) / scale, labels)
    predicted: NDArray[np.int64] = probe.predict((test_z - mean) / scale)
    return predicted


_CLASSIFIERS: Mapping[ObjectiveName, Classify] = {
    "knn_accuracy": nearest_neighbours,
    "probe_accuracy": linear_probe,
}
