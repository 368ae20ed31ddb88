"""Likelihoods of pixels: each is a distribution, and its gradient is finite and correct."""

import math

import numpy as np
import pytest
import tensorflow as tf

from vaetune.config import LIKELIHOODS, bits_per_dimension
from vaetune.models.likelihoods import (
    SMALLEST_SCALE,
    PixelScale,
    bounded_log_scale,
    log_normalizer,
    make_scale,
    reconstruction_loss,
    spread_of,
)
from vaetune.models.losses import binary_cross_entropy

LOGITS = (-9.0, -1.0, -0.26, -0.1, 0.0, 0.2, 0.3, 2.0, 14.0)
LOG_SCALES = (-20.0, -4.0, -1.0)


def density(likelihood, pixels, logit, log_scale=None):
    """Returns p(x) of each pixel value, for one logit."""
    images = tf.constant(np.reshape(pixels, (-1, 1, 1, 1)), tf.float64)
    scale = None if log_scale is None else tf.constant(log_scale, tf.float64)
    loss = reconstruction_loss(likelihood, images, tf.fill(images.shape, logit_of(logit)), scale)
    return np.exp(-loss.numpy())


def logit_of(logit):
    return tf.constant(logit, tf.float64)


@pytest.mark.parametrize("logit", LOGITS)
def test_the_continuous_bernoulli_integrates_to_one(logit):
    pixels = np.linspace(0.0, 1.0, 20_001)
    found = density("continuous_bernoulli", pixels, logit)
    assert np.trapezoid(found, pixels) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("log_scale", LOG_SCALES)
@pytest.mark.parametrize("logit", LOGITS)
def test_the_gaussian_integrates_to_one_and_has_its_scale(logit, log_scale):
    pixels = np.linspace(-6.0, 7.0, 400_001)
    found = density("gaussian", pixels, logit, log_scale)
    location = 1.0 / (1.0 + math.exp(-logit))
    sigma = math.exp(float(bounded_log_scale("gaussian", tf.constant(log_scale, tf.float64))))
    assert np.trapezoid(found, pixels) == pytest.approx(1.0, abs=1e-6)
    assert np.trapezoid(found * pixels, pixels) == pytest.approx(location, abs=1e-6)
    variance = np.trapezoid(found * (pixels - location) ** 2, pixels)
    assert math.sqrt(variance) == pytest.approx(sigma, rel=1e-5)


@pytest.mark.parametrize("log_scale", LOG_SCALES)
@pytest.mark.parametrize("logit", LOGITS)
def test_the_discretized_logistic_sums_to_one_over_256_levels(logit, log_scale):
    found = density("discretized_logistic", np.arange(256) / 255.0, logit, log_scale)
    assert found.sum() == pytest.approx(1.0, abs=1e-9)


def test_the_discretized_logistic_is_a_difference_of_logistic_functions():
    log_scale = tf.constant(-2.5, tf.float64)
    scale = math.exp(float(bounded_log_scale("discretized_logistic", log_scale)))
    location, x, half = 1.0 / (1.0 + math.exp(-0.7)), 100 / 255, 0.5 / 255
    upper, lower = (1.0 / (1.0 + math.exp(-(x + h - location) / scale)) for h in (half, -half))
    assert density("discretized_logistic", [x], 0.7, -2.5)[0] == pytest.approx(upper - lower)


def test_the_discretized_logistic_rounds_pixels_between_two_levels():
    near, exact = density("discretized_logistic", [(100.4) / 255, 100 / 255], 0.3, -2.0)
    assert near == exact


def test_float32_images_from_bytes_keep_their_levels():
    images = np.arange(256, dtype=np.float32).reshape(-1, 1, 1, 1) / np.float32(255.0)
    logits = tf.zeros(images.shape)
    loss = reconstruction_loss("discretized_logistic", images, logits, tf.constant(-3.0))
    exact = density("discretized_logistic", np.arange(256) / 255.0, 0.0, -3.0)
    np.testing.assert_allclose(np.exp(-loss.numpy()), exact, rtol=1e-4)


def test_bernoulli_equals_binary_cross_entropy_bit_for_bit():
    rng = np.random.default_rng(0)
    images, logits = (tf.constant(rng.random((3, 5, 4, 2)), tf.float32) for _ in range(2))
    np.testing.assert_array_equal(
        reconstruction_loss("bernoulli", images, logits), binary_cross_entropy(images, logits)
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_losses_are_sums_over_pixels_and_channels(likelihood):
    rng = np.random.default_rng(1)
    images = tf.constant(rng.integers(0, 256, (2, 3, 4, 3)) / 255.0, tf.float64)
    logits = tf.constant(rng.normal(size=images.shape), tf.float64)
    scale = tf.constant(-1.5, tf.float64)
    parts = [
        reconstruction_loss(
            likelihood,
            images[:, i : i + 1, j : j + 1, c : c + 1],
            logits[:, i : i + 1, j : j + 1, c : c + 1],
            scale,
        )
        for i in range(3)
        for j in range(4)
        for c in range(3)
    ]
    found = reconstruction_loss(likelihood, images, logits, scale)
    np.testing.assert_allclose(found, np.sum(parts, axis=0), rtol=1e-9)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_gradients_agree_with_finite_differences(likelihood):
    rng = np.random.default_rng(2)
    pixels = np.concatenate([[0.0, 1.0, 1.0, 0.0], rng.integers(0, 256, 5) / 255.0])
    images = tf.constant(pixels.reshape(-1, 1, 1, 1), tf.float64)
    logits = tf.constant(np.reshape(LOGITS, images.shape), tf.float64)
    scale = tf.constant(-3.0, tf.float64)

    def loss(logits, scale):
        return reconstruction_loss(likelihood, images, logits, scale)

    with tf.GradientTape() as tape:
        tape.watch([logits, scale])
        total = tf.reduce_sum(loss(logits, scale))
    by_logits, by_scale = tape.gradient(total, [logits, scale])
    step = 1e-5
    differences = (loss(logits + step, scale) - loss(logits - step, scale)) / (2 * step)
    np.testing.assert_allclose(np.ravel(by_logits), differences, rtol=1e-5, atol=1e-7)
    if LIKELIHOODS[likelihood].scale:
        change = tf.reduce_sum(loss(logits, scale + step) - loss(logits, scale - step))
        np.testing.assert_allclose(by_scale, change / (2 * step), rtol=1e-5)
    else:
        assert by_scale is None


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_losses_and_gradients_are_finite_for_extreme_numbers(likelihood):
    images = tf.constant(np.reshape([0.0, 1.0, 0.5] * 3, (9, 1, 1, 1)), tf.float32)
    logits = tf.constant(np.reshape(np.repeat([-200.0, 0.0, 200.0], 3), (9, 1, 1, 1)), tf.float32)
    scale = tf.constant(-30.0)
    with tf.GradientTape() as tape:
        tape.watch([logits, scale])
        loss = reconstruction_loss(likelihood, images, logits, scale)
    gradients = [each for each in tape.gradient(loss, [logits, scale]) if each is not None]
    assert all(np.isfinite(each).all() for each in (loss, *gradients))


def test_the_normalizer_of_the_continuous_bernoulli_is_smooth_near_zero():
    logits = tf.constant(np.linspace(-0.3, 0.3, 601), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = log_normalizer(logits)
    slopes = tape.gradient(values, logits)
    exact = [math.log(x / math.tanh(x / 2)) if x else math.log(2) for x in logits.numpy()]
    np.testing.assert_allclose(values, exact, rtol=1e-8, atol=1e-8)
    assert np.abs(np.diff(slopes)).max() < 2e-4


def test_the_scale_has_a_lower_bound():
    weight = tf.constant([-50.0, -1.0])
    found = np.exp(bounded_log_scale("gaussian", weight))
    assert found[0] == pytest.approx(SMALLEST_SCALE)
    assert found[1] == pytest.approx(math.exp(-1.0) + SMALLEST_SCALE, rel=1e-5)


def test_the_scale_of_a_likelihood_starts_from_the_spread():
    assert [make_scale(name) is not None for name in LIKELIHOODS] == [
        bool(words.scale) for words in LIKELIHOODS.values()
    ]
    assert math.exp(make_scale("gaussian", 0.2).log_scale) == pytest.approx(0.2)
    logistic = math.exp(make_scale("discretized_logistic", 0.2).log_scale)
    assert logistic * math.pi / math.sqrt(3.0) == pytest.approx(0.2)
    assert math.exp(make_scale("gaussian", 0.0).log_scale) == pytest.approx(2 * SMALLEST_SCALE)
    assert PixelScale.from_config(make_scale("gaussian", 0.2).get_config()).start == 0.2


def test_the_spread_of_pixels_leaves_out_differences_between_channels():
    images = np.stack([np.full((2, 3, 4), 0.2), np.full((2, 3, 4), 0.9)], axis=-1)
    assert spread_of(images) == pytest.approx(0.0, abs=1e-12)
    images[0] += 0.1
    assert spread_of(images) == pytest.approx(0.05)


def test_bits_per_dimension_of_a_density_are_those_of_256_levels():
    # A uniform density on [0, 1] has 0 nats: 8 bits for each value of 8 bits.
    assert bits_per_dimension(0.0, (4, 5, 3), "gaussian") == 8.0
    nats = 60 * math.log(256)
    assert bits_per_dimension(nats, (4, 5, 3), "discretized_logistic") == pytest.approx(8.0)
    assert bits_per_dimension(-60 * math.log(2), (4, 5, 3), "continuous_bernoulli") == 7.0
    assert bits_per_dimension(10.0, (4, 5, 3), "bernoulli") is None


def test_the_density_of_the_continuous_bernoulli_is_at_most_255():
    found = density("continuous_bernoulli", [0.0, 1.0], 1e4)
    assert found[1] == pytest.approx(255.0)
    logit = 2.0
    exact = math.exp(logit) / (1 + math.exp(logit)) * logit / math.tanh(logit / 2)
    assert density("continuous_bernoulli", [1.0], logit)[0] == pytest.approx(exact, rel=1e-4)
