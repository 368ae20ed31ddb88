"""Example images are training images of all classes, prepared as for training."""

from dataclasses import replace

import numpy as np
import pytest
from image_sets import make_images

from vaetune.config.spec import DataSpec
from vaetune.data.examples import choose_examples, spread_over_classes
from vaetune.data.for_training import prepare_images
from vaetune.data.images import Split


def test_examples_alternate_between_classes():
    labels = np.array([2, 2, 2, 0, 0, 1])
    assert labels[spread_over_classes(labels)].tolist() == [0, 1, 2, 0, 2, 2]


def test_examples_are_training_images_of_all_classes():
    images = make_images(train=60)
    chosen = choose_examples(images, 6)
    rows = [int(np.flatnonzero((images.train.images == one).all((1, 2, 3)))[0]) for one in chosen]
    assert images.train.labels[rows].tolist() == [0, 1, 2, 0, 1, 2]
    assert len(choose_examples(images, 100)) == 60


def test_examples_of_floats_are_bytes_and_need_no_labels():
    images = make_images(train=20)
    unit = Split(images.train.images.astype(np.float32) / 255, None)
    shown = choose_examples(replace(images, train=unit), 40)
    np.testing.assert_array_equal(shown, images.train.images)


@pytest.mark.parametrize("how", ["threshold", "stochastic"])
def test_examples_are_black_and_white_if_training_images_are(how):
    images = make_images()
    assert set(np.unique(choose_examples(prepare_images(images, DataSpec(binarize=how)), 40))) == {
        0,
        255,
    }
