"""Accuracies of classifiers of latent means, and the separation of images of left-out classes."""

import numpy as np
import pytest
from image_sets import make_images
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaetune.data.compressed import compressed_sizes
from vaetune.data.images import ImageSet, Split, to_pixels
from vaetune.training import objectives as objectives_module
from vaetune.training.objectives import (
    Effort,
    area_under_curve,
    encode_all,
    linear_probe,
    measure_use,
    nearest_neighbours,
    separate,
)


class FirstPixels:
    """Encodes an image as its first pixels, and records the number of images per call."""

    def __init__(self, latent_dim=3):
        self.latent_dim = latent_dim
        self.calls = []

    def encode(self, images):
        self.calls.append(len(images))
        assert images.dtype == np.float32
        assert images.max() <= 1
        return images.reshape(len(images), -1)[:, : self.latent_dim]


def make_clusters(count, seed):
    """Overlapping clusters of three classes, with a different width in each dimension."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    z = generator.normal(size=(count, 4)) * [1, 10, 0.1, 1] + labels[:, None] * [1, 5, 0.1, 0]
    return z.astype(np.float32), labels


def test_the_classes_of_neighbours_equal_those_of_scikit_learn():
    (train, labels), (test, _) = make_clusters(200, 1), make_clusters(80, 2)
    expected = KNeighborsClassifier(5).fit(train, labels).predict(test)
    np.testing.assert_array_equal(nearest_neighbours(train, labels, test), expected)


def test_a_linear_probe_equals_scikit_learn_on_standardised_means():
    (train, labels), (test, _) = make_clusters(200, 1), make_clusters(80, 2)
    expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    expected.fit(train.astype(float), labels)
    np.testing.assert_array_equal(linear_probe(train, labels, test), expected.predict(test))


def test_a_linear_probe_works_with_a_dimension_without_variance():
    (train, labels), (test, classes) = make_clusters(200, 1), make_clusters(80, 2)
    train[:, 0] = test[:, 0] = 7
    assert (linear_probe(train, labels, test) == classes).mean() > 1 / 2


@pytest.mark.parametrize("name", ["knn_accuracy", "probe_accuracy"])
def test_each_validation_image_counts_as_right_or_wrong(name):
    images = make_images()
    found = measure_use(name, FirstPixels(60), images)
    assert found.shape == (len(images.validation),)
    assert set(found) <= {0.0, 1.0}
    assert found.mean() > 1 / 3


def test_a_subset_of_the_training_images_is_spread_over_all():
    labels = np.repeat([0, 1, 2], 4)
    pixels = np.repeat(labels * 100, 64).reshape(12, 8, 8, 1).astype(np.uint8)
    split = Split(pixels, labels)
    images = ImageSet("sorted", "sorted", split, split, split, ("a", "b", "c"), "f" * 64)
    # All three neighbours vote.
    assert measure_use("knn_accuracy", FirstPixels(), images, Effort(3)).mean() <= 1 / 3
    model = FirstPixels()
    assert measure_use("probe_accuracy", model, images, Effort(6)).mean() == 1.0
    assert model.calls == [6, 12]


def test_images_are_encoded_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(objectives_module, "_PART_VALUES", 3 * 9 * 10)
    model, images = FirstPixels(), make_images().validation.images
    whole = images.reshape(len(images), -1)[:, :3] / np.float32(255)
    np.testing.assert_allclose(encode_all(model, images), whole)
    assert model.calls == [3, 3, 3, 3, 2]


def test_a_model_with_infinite_latent_means_has_no_value():
    class InfiniteMeans(FirstPixels):
        def encode(self, images):
            return np.full((len(images), 2), np.inf, np.float32)

    assert np.isnan(measure_use("knn_accuracy", InfiniteMeans(), make_images()).mean())


def scores(seed, usual=40, odd=25):
    """Scores of usual and of odd images, with ties."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 20, usual) * 1.0, generator.integers(8, 28, odd) * 1.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mean_is_the_area_under_the_curve_of_scikit_learn(seed):
    usual, odd = scores(seed)
    truth = np.repeat([0, 1], [len(usual), len(odd)])
    expected = roc_auc_score(truth, np.concatenate([usual, odd]))
    assert area_under_curve(usual, odd).mean() == pytest.approx(expected, abs=1e-12)


def test_the_standard_error_is_that_of_delong():
    usual, odd = scores(3, usual=400, odd=250)
    below = [(usual < one).mean() + (usual == one).mean() / 2 for one in odd]
    above = [(odd > one).mean() + (odd == one).mean() / 2 for one in usual]
    expected = np.sqrt(np.var(below, ddof=1) / 250 + np.var(above, ddof=1) / 400)
    numbers = area_under_curve(usual, odd)
    assert numbers.std(ddof=1) / np.sqrt(650) == pytest.approx(expected, rel=0.01)


def test_odd_images_that_all_score_higher_give_an_area_of_one():
    assert area_under_curve(np.array([1.0, 2.0]), np.array([3.0])).tolist() == [1.0, 1.0, 1.0]


def test_a_score_that_is_nan_gives_no_area():
    assert np.isnan(area_under_curve(np.array([1.0, np.nan]), np.array([3.0]))).all()


def test_left_out_images_are_scored_with_their_own_noise():
    class Loss(FirstPixels):
        def losses_of_images(self, images, samples, seed):
            self.calls.append((len(images), samples, seed))
            return images.mean(axis=(1, 2, 3)).astype(float), np.zeros(len(images))

    dark, bright = make_images().validation, make_images().test
    bright = Split(np.maximum(bright.images, 200), bright.labels)
    model = Loss()
    assert separate(model, dark, bright, samples=3).mean() == 1.0
    assert model.calls == [(14, 3, (0, 0)), (14, 3, (0, 1))]


def test_losses_that_complexity_explains_do_not_count_as_odd():
    class Loss(FirstPixels):
        """The loss of an image is its compressed size, plus one nat for odd images."""

        def losses_of_images(self, images, samples, seed):
            sizes = compressed_sizes(to_pixels(images))
            return sizes + seed[1], np.zeros(len(images))

    shades = np.random.default_rng(0).integers(1, 256, 300)
    drawn = np.random.default_rng(1).integers(0, shades[:, None, None, None], (300, 8, 8, 1))
    usual, odd = (Split(each.astype(np.uint8), None) for each in (drawn[:200], drawn[200:]))
    assert separate(Loss(), usual, odd, samples=1).mean() == 1.0
    sizes = usual.compressed_sizes, odd.compressed_sizes
    assert area_under_curve(sizes[0], sizes[1] + 1).mean() < 0.7
