"""Fitting the loss that is expected of an image with a given complexity."""

import numpy as np
import pytest

from vaetune.training.correction import FEWEST_IMAGES, LOWEST_LOSS_ONLY, fit_correction

DRAWN = np.random.default_rng(0)
LOWEST, COMPRESSED = DRAWN.uniform(20, 60, 400), DRAWN.uniform(300, 900, 400)


def test_the_fit_recovers_the_weights_of_losses_without_noise():
    correction = fit_correction(5 + 2 * LOWEST + 0.1 * COMPRESSED, LOWEST, COMPRESSED)
    assert (correction.per_lowest, correction.per_compressed) == pytest.approx((2.0, 0.1))
    assert correction.offset == pytest.approx(5)
    assert correction.images == 400
    expected = correction.expected(np.array([10.0]), np.array([100.0]))
    assert expected == pytest.approx([5 + 20 + 10])


def test_noise_shrinks_the_weight_of_the_lowest_loss_slightly_towards_one():
    losses = 5 + 2 * LOWEST + 0.1 * COMPRESSED + DRAWN.normal(0, 15, 400)
    design = np.stack([np.ones(400), LOWEST, COMPRESSED], axis=1)
    free, *_ = np.linalg.lstsq(design, losses)
    found = fit_correction(losses, LOWEST, COMPRESSED)
    assert 1 < found.per_lowest < free[1]
    assert found.per_lowest == pytest.approx(free[1], rel=0.01)
    nearly_one = fit_correction(DRAWN.normal(500, 15, 400), LOWEST / 10_000, COMPRESSED)
    assert nearly_one.per_lowest == pytest.approx(1, abs=0.01), "noise hides this weight"


@pytest.mark.parametrize("constant", [LOWEST * 0, LOWEST * 0 + 7])
def test_a_weight_that_images_do_not_determine_keeps_its_default(constant):
    found = fit_correction(30 + 0.1 * COMPRESSED, constant, COMPRESSED)
    assert found.per_lowest == pytest.approx(1)
    assert found.per_compressed == pytest.approx(0.1)
    equal_sizes = fit_correction(30 + LOWEST, LOWEST, COMPRESSED * 0 + 500)
    assert (equal_sizes.per_lowest, equal_sizes.per_compressed) == pytest.approx((1, 0))


def test_losses_that_are_not_finite_are_ignored():
    losses = 5 + 2 * LOWEST
    losses[[3, 5, 7]] = np.inf, np.nan, -np.inf
    found = fit_correction(losses, LOWEST, COMPRESSED)
    assert found.images == 397
    assert found.per_lowest == pytest.approx(2)


def test_too_few_images_give_the_default_correction():
    fewest = slice(FEWEST_IMAGES)
    assert fit_correction(3 * LOWEST[fewest], LOWEST[fewest], COMPRESSED[fewest]).images == 100
    fewer = slice(FEWEST_IMAGES - 1)
    found = fit_correction(3 * LOWEST[fewer], LOWEST[fewer], COMPRESSED[fewer])
    assert found == LOWEST_LOSS_ONLY
    assert found.expected(LOWEST, COMPRESSED).tolist() == LOWEST.tolist()
