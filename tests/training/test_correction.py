"""The expected loss of an image of some complexity, fitted to images."""

import numpy as np
import pytest

from vaetune.training.correction import FEWEST_IMAGES, LOWEST_LOSS_ONLY, fit_correction

DRAWN = np.random.default_rng(0)
LOWEST, COMPRESSED = DRAWN.uniform(20, 60, 400), DRAWN.uniform(300, 900, 400)


def test_weights_are_those_of_the_losses():
    correction = fit_correction(5 + 2 * LOWEST + 0.1 * COMPRESSED, LOWEST, COMPRESSED)
    assert (correction.per_lowest, correction.per_compressed) == pytest.approx((2.0, 0.1))
    assert correction.offset == pytest.approx(5)
    assert correction.images == 400
    expected = correction.expected(np.array([10.0]), np.array([100.0]))
    assert expected == pytest.approx([5 + 20 + 10])


def test_noise_moves_weights_by_little_and_towards_the_lowest_loss():
    losses = 5 + 2 * LOWEST + 0.1 * COMPRESSED + DRAWN.normal(0, 15, 400)
    design = np.stack([np.ones(400), LOWEST, COMPRESSED], axis=1)
    free, *_ = np.linalg.lstsq(design, losses)
    found = fit_correction(losses, LOWEST, COMPRESSED)
    assert 1 < found.per_lowest < free[1]
    assert found.per_lowest == pytest.approx(free[1], rel=0.01)
    alike = fit_correction(DRAWN.normal(500, 15, 400), LOWEST / 10_000, COMPRESSED)
    assert alike.per_lowest == pytest.approx(1, abs=0.01), "these images say too little about it"


@pytest.mark.parametrize("constant", [LOWEST * 0, LOWEST * 0 + 7])
def test_a_weight_about_which_images_say_nothing_stays(constant):
    found = fit_correction(30 + 0.1 * COMPRESSED, constant, COMPRESSED)
    assert found.per_lowest == pytest.approx(1)
    assert found.per_compressed == pytest.approx(0.1)
    alike = fit_correction(30 + LOWEST, LOWEST, COMPRESSED * 0 + 500)
    assert (alike.per_lowest, alike.per_compressed) == pytest.approx((1, 0))


def test_losses_that_are_not_finite_do_not_count():
    losses = 5 + 2 * LOWEST
    losses[[3, 5, 7]] = np.inf, np.nan, -np.inf
    found = fit_correction(losses, LOWEST, COMPRESSED)
    assert found.images == 397
    assert found.per_lowest == pytest.approx(2)


def test_a_few_images_fit_nothing():
    fewest = slice(FEWEST_IMAGES)
    assert fit_correction(3 * LOWEST[fewest], LOWEST[fewest], COMPRESSED[fewest]).images == 100
    fewer = slice(FEWEST_IMAGES - 1)
    found = fit_correction(3 * LOWEST[fewer], LOWEST[fewer], COMPRESSED[fewer])
    assert found == LOWEST_LOSS_ONLY
    assert found.expected(LOWEST, COMPRESSED).tolist() == LOWEST.tolist()
