"""Training contexts: statistics of images, drawn weights, and runners that stay in memory."""

import random
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_sets import make_images
from shared_contexts import SharedContext
from tiny_searches import IMAGES, TINY_REFERENCE

from vaetune.models.likelihoods import spread_of
from vaetune.training import context as context_module
from vaetune.training.context import TrainingContext

VALUES = {**TINY_REFERENCE, "latent_dim": 2, "learning_rate": 0.01}


def test_means_and_spread_of_images_do_not_depend_on_the_part_size(monkeypatch):
    images = make_images(train=60, shape=(9, 10, 3))
    pixels = images.train.images / 255.0
    for part in (7, 1000):
        monkeypatch.setattr(context_module, "_PART_IMAGES", part)
        context = TrainingContext(images)
        assert context.pixel_means == pytest.approx(pixels.mean(axis=(0, 1, 2)).tolist())
        assert context.pixel_spread == pytest.approx(spread_of(pixels))


def test_many_images_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr(context_module, "_MEAN_IMAGES", 10)
    images = make_images(train=60)
    every_sixth = images.train.images[::6] / 255.0
    assert TrainingContext(images).pixel_means == pytest.approx([every_sixth.mean()])


def test_images_are_read_only_if_drawn_weights_depend_on_them(monkeypatch):
    def refuse(images):
        raise AssertionError("the images were read")

    monkeypatch.setattr(context_module, "to_unit_interval", refuse)
    context = TrainingContext(IMAGES)
    assert len(context.draw_weights(VALUES, "bernoulli")) > 9
    with pytest.raises(AssertionError, match="were read"):
        context.draw_weights({**VALUES, "output_bias": "mean"}, "bernoulli")
    with pytest.raises(AssertionError, match="were read"):
        context.draw_weights(VALUES, "gaussian")


@pytest.mark.parametrize("kind", [TrainingContext, SharedContext])
def test_drawn_weights_depend_only_on_the_random_state_of_python(kind):
    """The contexts shared by tests cache drawn weights by this state."""
    context = kind(IMAGES)

    def draw(seed, other):
        keras.utils.set_random_seed(seed)
        np.random.seed(other)
        tf.random.set_seed(other)
        weights = context.draw_weights({**VALUES, "output_bias": "mean"}, "gaussian")
        return np.concatenate([array.ravel() for array in weights]), random.random()

    (first, following), *same = [draw(5, other) for other in (1, 2, 2)]
    for weights, number in same:
        np.testing.assert_array_equal(weights, first)
        assert number == following
    assert not np.array_equal(draw(6, 1)[0], first)


def test_only_the_runners_that_were_used_last_stay_in_memory(monkeypatch):
    monkeypatch.setattr(context_module, "MAX_RUNNERS", 2)
    context = TrainingContext(IMAGES)
    relu, elu, gelu = ({**VALUES, "activation": name} for name in ("relu", "elu", "gelu"))
    first = context.runner(relu)
    second = weakref.ref(context.runner(elu))
    assert context.runner({**relu, "filters_1": 5, "learning_rate": 0.1}) is first
    context.runner(gelu)
    assert context.runner(relu) is first
    assert second() is None
    assert np.isfinite(first.steps.state.read()[0][0]).all()
