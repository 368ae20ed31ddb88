"""Estimates agree with closed forms and depend only on model, images and protocol."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_sets import make_split

from vaetune.data.images import Split, entropy_floor, to_unit_interval
from vaetune.errors import DeviceError
from vaetune.evaluation.likelihood import (
    Batches,
    closed_form_kl,
    encode,
    estimate,
    expectation,
    image_likelihood,
    importance_weighted_bound,
    top_level_sampler,
)
from vaetune.evaluation.metrics import (
    compare_reconstructions,
    evaluate,
    knn_accuracy,
    similarity,
    ssim_window,
)
from vaetune.models.build import build_vae
from vaetune.models.losses import binary_cross_entropy
from vaetune.models.vae import CompiledFunctions
from vaetune.study.collapse import variance_per_dimension
from vaetune.study.scores import EvaluationProtocol

SHAPE = (9, 10, 1)
TRAIN, TEST = make_split(40, SHAPE, 1), make_split(14, SHAPE, 3)
PROTOCOL = EvaluationProtocol(seed=3, posterior_samples=4, importance_samples=6)
VALUES = {"filters_1": 2, "filters_2": 3, "dense_units": 4, "latent_dim": 3, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def vae():
    keras.utils.set_random_seed(5)
    return build_vae(SHAPE, VALUES)


@pytest.fixture
def changeable(vae):
    """The shared model. A test may change its weights, which are restored afterwards."""
    before = [variable.numpy() for variable in vae.variables]
    yield vae
    for variable, value in zip(vae.variables, before, strict=True):
        variable.assign(value)


@pytest.fixture(scope="module")
def whole(vae):
    """An evaluation of the model, with all test images in one batch."""
    return evaluate(vae, TEST, TRAIN, PROTOCOL)


# A linear Gaussian model with known solution: z ~ N(0, 1), x = SLOPE z + N(0, NOISE^2).

SLOPE, NOISE, X = 1.5, 0.8, 1.2
COPIES = 20_000
"""Copies of one image with independent samples. Their mean estimates an expectation."""


def gaussian_log_likelihood(z):
    residual = X - SLOPE * z[:, 0].astype(np.float64)
    return -0.5 * (math.log(2 * math.pi * NOISE**2) + residual**2 / NOISE**2)


def gaussian(z_mean, z_log_var):
    return top_level_sampler(gaussian_log_likelihood, z_mean, z_log_var)


def true_log_likelihood():
    variance = SLOPE**2 + NOISE**2
    return -0.5 * (math.log(2 * math.pi * variance) + X**2 / variance)


def posterior(mean, variance, copies=COPIES):
    shape = (copies, 1)
    return np.full(shape, mean, np.float32), np.full(shape, math.log(variance), np.float32)


def true_posterior(copies):
    variance = NOISE**2 / (SLOPE**2 + NOISE**2)
    return posterior(SLOPE * X / (SLOPE**2 + NOISE**2), variance, copies)


MEAN, VARIANCE = 0.3, 0.4


def expected_reconstruction():
    squares = (X - SLOPE * MEAN) ** 2 + SLOPE**2 * VARIANCE
    return -0.5 * (math.log(2 * math.pi * NOISE**2) + squares / NOISE**2)


def expected_kl():
    return 0.5 * (MEAN**2 + VARIANCE - 1 - math.log(VARIANCE))


def is_near(values, expected):
    """Whether the mean of values is within four standard errors of the expected one."""
    found = estimate(values)
    return abs(found.mean - expected) < 4 * found.standard_error


def test_the_reconstruction_equals_the_closed_form():
    values = expectation(gaussian(*posterior(MEAN, VARIANCE)), 4, seed=0).log_likelihood
    assert is_near(values, expected_reconstruction())


def test_the_kl_divergence_equals_the_closed_form():
    kl = closed_form_kl(*posterior(MEAN, VARIANCE, 2))
    assert kl.shape == (2, 1)
    np.testing.assert_allclose(kl, expected_kl(), rtol=1e-6)


def test_the_bound_of_the_true_posterior_is_the_log_likelihood_for_every_k():
    for k in (1, 2, 50):
        values = importance_weighted_bound(gaussian(*true_posterior(7)), k, seed=0)
        np.testing.assert_allclose(values, true_log_likelihood(), atol=2e-6)


def test_one_importance_sample_gives_the_elbo_in_expectation():
    values = importance_weighted_bound(gaussian(*posterior(MEAN, VARIANCE)), 1, 0)
    assert is_near(values, expected_reconstruction() - expected_kl())
    assert not is_near(values, true_log_likelihood()), "the two values differ clearly"


def test_the_bound_rises_with_k_to_the_log_likelihood():
    means = [
        importance_weighted_bound(gaussian(*posterior(MEAN, VARIANCE)), k, 0).mean()
        for k in (1, 3, 10, 100)
    ]
    assert means == sorted(means)
    assert means[-1] < true_log_likelihood() + 0.002
    assert means[-1] == pytest.approx(true_log_likelihood(), abs=0.02)


def test_the_bound_of_many_samples_is_close_to_the_log_likelihood():
    values = importance_weighted_bound(gaussian(*posterior(MEAN, VARIANCE, 20)), 5_000, seed=1)
    np.testing.assert_allclose(values, true_log_likelihood(), atol=0.1)


@pytest.mark.parametrize("value", [-1e6, -800.0, 0.0, 900.0])
def test_importance_weights_neither_underflow_nor_overflow(value):
    """exp(-1e6) is 0 and exp(900) is infinite, so weights must stay logarithms."""
    sampler = top_level_sampler(lambda z: np.full(len(z), value), *posterior(0.0, 1.0, 3))
    found = importance_weighted_bound(sampler, 10, seed=0)
    np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-6)


def test_a_smaller_k_takes_the_first_samples_of_a_larger_k():
    seen = {}
    for k in (2, 4):
        drawn = seen.setdefault(k, [])

        def remember(z, drawn=drawn):
            drawn.append(z)
            return np.zeros(len(z))

        importance_weighted_bound(top_level_sampler(remember, *posterior(0.0, 1.0, 5)), k, seed=0)
    np.testing.assert_array_equal(seen[2], seen[4][:2])
    assert len(np.unique(seen[4])) == 20, "no sample is drawn twice"


def test_the_elbo_and_the_bound_use_different_samples():
    seen = []
    sampler = top_level_sampler(
        lambda z: (seen.append(z), np.zeros(len(z)))[1], *posterior(0.0, 1.0, 5)
    )
    for sample in (expectation, importance_weighted_bound):
        sample(sampler, 1, 0)
    assert not np.isin(seen[0], seen[1]).any()


def test_a_standard_error_is_that_of_the_mean():
    found = estimate(np.array([1.0, 2.0, 3.0, 6.0]))
    assert found.mean == 3.0
    assert found.standard_error == pytest.approx(np.std([1, 2, 3, 6], ddof=1) / 2)
    assert estimate(np.array([2.0])).standard_error is None


# Estimates of a VAE


def test_the_log_likelihood_is_the_negative_training_loss(vae):
    images = to_unit_interval(TEST.images)
    z_mean, _ = vae.posterior(images)
    expected = -binary_cross_entropy(images, vae.to_logits(z_mean, training=False)).numpy()
    found = image_likelihood(vae, TEST.images, Batches(5))(z_mean.numpy())
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_parts_of_the_loss_add_up_and_agree_with_keras_evaluate(vae):
    found = evaluate(vae, TEST, TRAIN, EvaluationProtocol(seed=0, posterior_samples=64))
    assert found.negative_elbo.mean == pytest.approx(found.reconstruction.mean + found.kl.mean)
    assert sum(found.kl_per_dimension) == pytest.approx(found.kl.mean)
    own = vae.evaluate(to_unit_interval(TEST.images), verbose=0, return_dict=True)
    assert found.kl.mean == pytest.approx(own["kl_loss"], rel=1e-5)
    assert found.reconstruction.mean == pytest.approx(own["reconstruction_loss"], rel=0.01)
    assert found.entropy_floor == entropy_floor(TEST.images)
    assert found.above_entropy_floor == found.negative_elbo.mean - found.entropy_floor


def test_the_bound_is_below_the_negative_elbo_for_a_wide_posterior(vae):
    found = evaluate(vae, TEST, TRAIN, EvaluationProtocol(seed=0, importance_samples=200))
    assert found.importance_weighted_bound.mean < found.negative_elbo.mean


def test_a_constant_decoder_has_an_exact_likelihood(changeable):
    """With p(x | z) = p(x), reconstruction loss and bound equal the negative log-likelihood."""
    logits = changeable.decoder.layers[-3]
    logits.kernel.assign(tf.zeros_like(logits.kernel))
    logits.bias.assign([0.7])
    protocol = EvaluationProtocol(seed=0, importance_samples=800)
    found = evaluate(changeable, TEST, TRAIN, protocol)
    x = to_unit_interval(TEST.images).astype(np.float64)
    p = 1 / (1 + math.exp(-np.float32(0.7)))
    exact = -np.sum(x * math.log(p) + (1 - x) * math.log1p(-p), axis=(1, 2, 3)).mean()
    assert found.reconstruction.mean == pytest.approx(exact, rel=1e-7)
    assert found.importance_weighted_bound.mean == pytest.approx(exact, abs=0.05)


def test_the_evaluation_is_reproducible_to_the_last_bit(whole):
    keras.utils.set_random_seed(5)
    same = build_vae(SHAPE, VALUES)
    assert evaluate(same, TEST, TRAIN, PROTOCOL) == whole


def test_another_seed_gives_another_estimate(vae, whole):
    other = evaluate(vae, TEST, TRAIN, EvaluationProtocol(4, 4, 6))
    assert whole.reconstruction.mean != other.reconstruction.mean
    assert whole.importance_weighted_bound.mean != other.importance_weighted_bound.mean
    assert whole.kl == other.kl


@pytest.mark.parametrize("size", [1, 5, 13])
def test_the_size_of_the_batches_does_not_change_the_result(vae, whole, size):
    parts = evaluate(vae, TEST, TRAIN, PROTOCOL, batches=Batches(size))
    for one, other in (
        (whole.negative_elbo, parts.negative_elbo),
        (whole.importance_weighted_bound, parts.importance_weighted_bound),
    ):
        assert other.mean == pytest.approx(one.mean, rel=1e-6)
        assert other.standard_error == pytest.approx(one.standard_error, rel=1e-5)
    assert parts.ssim == pytest.approx(whole.ssim, abs=1e-5)
    assert parts.knn_accuracy == whole.knn_accuracy


def test_the_model_does_not_change(vae):
    before = [variable.numpy() for variable in vae.variables]
    evaluate(vae, TEST, TRAIN, PROTOCOL)
    for old, variable in zip(before, vae.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_bytes_and_floats_give_the_same_results(vae, whole):
    floats = [Split(to_unit_interval(each.images), each.labels) for each in (TEST, TRAIN)]
    one = evaluate(vae, *floats, PROTOCOL)
    assert one.negative_elbo.mean == pytest.approx(whole.negative_elbo.mean, rel=1e-6)
    assert one.psnr == pytest.approx(whole.psnr, rel=1e-6)


def test_the_bound_is_computed_on_the_first_images_and_reports_their_number(vae, whole):
    few = EvaluationProtocol(3, 4, 6, importance_images=5)
    found = evaluate(vae, TEST, TRAIN, few)
    five = evaluate(vae, TEST.take(np.arange(5)), TRAIN, PROTOCOL)
    assert found.importance_weighted_bound.mean == pytest.approx(
        five.importance_weighted_bound.mean, rel=1e-6
    )
    assert found.protocol.importance_images == 5
    assert whole.protocol.importance_images == 14


def test_progress_ends_at_1(vae):
    shares = []
    evaluate(vae, TEST, TRAIN, PROTOCOL, shares.append, Batches(6))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) == (4 + 6) * 3


def test_colour_images_without_labels_are_measured():
    keras.utils.set_random_seed(5)
    vae = build_vae((12, 8, 3), VALUES)
    images = make_split(6, (12, 8, 3), 2).images
    found = evaluate(vae, Split(images, None), Split(images, None), PROTOCOL)
    assert found.knn_accuracy is None
    assert found.ssim_window == 7
    assert math.isfinite(found.psnr)
    assert -1 <= found.ssim <= 1


# Use of latent dimensions


def test_a_constant_dimension_is_not_active(changeable):
    z_mean = changeable.encoder.get_layer("z_mean")
    kernel = z_mean.kernel.numpy() * 50
    kernel[:, 1] = 0.0
    z_mean.kernel.assign(kernel)
    found = evaluate(changeable, TEST, TRAIN, PROTOCOL)
    assert found.variance_per_dimension[1] == 0.0
    assert found.active_units == sum(v > 0.01 for v in found.variance_per_dimension) == 2


def test_the_variance_of_a_dimension_is_taken_over_images():
    assert variance_per_dimension(np.array([[1, 5], [3, 5]], np.float32)) == (1.0, 0.0)


def test_neighbours_predict_the_class_of_separable_latent_means():
    generator = np.random.default_rng(0)
    centres = np.array([[0, 0], [9, 0], [0, 9]])
    labels = generator.integers(0, 3, 60)
    z = (centres[labels] + generator.normal(size=(60, 2))).astype(np.float32)
    assert knn_accuracy(z[:40], labels[:40], z[40:], labels[40:], 5) == 1.0
    wrong = (labels[40:] + 1) % 3
    assert knn_accuracy(z[:40], labels[:40], z[40:], wrong, 5) == 0.0


def test_the_predicted_class_is_the_majority_of_the_neighbours():
    train = np.array([[0.0], [1.0], [1.1]], np.float32)
    labels, one = np.array([7, 8, 8]), np.array([[0.2]], np.float32)
    assert knn_accuracy(train, labels, one, np.array([8]), 3) == 1.0
    assert knn_accuracy(train, labels, one, np.array([7]), 1) == 1.0
    assert knn_accuracy(train, labels, one, np.array([8]), 99) == 1.0, "k is at most 3 here"


def test_latent_means_that_are_not_finite_give_no_knn_accuracy():
    z = np.array([[np.nan], [1.0]], np.float32)
    assert knn_accuracy(z, np.array([0, 1]), z, np.array([0, 1]), 1) is None


# Image quality


def test_identical_images_have_maximal_similarity():
    images = to_unit_interval(TEST.images)
    psnr, ssim = similarity(images, images, 9)
    assert np.isinf(psnr).all()
    np.testing.assert_allclose(ssim, 1.0)


def test_a_known_difference_has_a_known_psnr():
    images = np.full((2, 16, 16, 1), 0.5, np.float32)
    psnr, ssim = similarity(images, images + 0.1, 11)
    np.testing.assert_allclose(psnr, 20.0, rtol=1e-5)
    assert (ssim.numpy() < 1.0).all()


def test_decoded_posterior_means_are_compared(vae):
    z_mean, _ = encode(vae, TEST.images, Batches())
    decoded = vae.decoder(z_mean, training=False)
    psnr, ssim = similarity(to_unit_interval(TEST.images), decoded, 9)
    found = compare_reconstructions(vae, TEST.images, z_mean, 9, Batches(4))
    assert found == pytest.approx((float(np.mean(psnr)), float(np.mean(ssim))), rel=1e-4)


@pytest.mark.parametrize(
    ("height", "width", "window"), [(28, 28, 11), (9, 10, 9), (8, 30, 7), (12, 11, 11)]
)
def test_the_window_fits_into_the_image(height, width, window):
    assert ssim_window(height, width) == window


# Memory


def out_of_memory():
    return tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def test_batches_shrink_when_memory_runs_out():
    sizes = []

    def step(at):
        sizes.append(at.stop - at.start)
        if sizes[-1] > 3:
            raise out_of_memory()
        numbers = np.arange(at.start, at.stop)
        return numbers, -numbers

    batches = Batches(10)
    numbers, negative = batches.run(step, 8)
    np.testing.assert_array_equal(numbers, np.arange(8))
    np.testing.assert_array_equal(negative, -np.arange(8))
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert batches.size == 2, "the smaller size is kept"


def test_too_little_memory_for_one_image_is_an_error():
    def step(at):
        raise out_of_memory()

    with pytest.raises(DeviceError, match="not enough memory"):
        Batches(10).run(step, 8)


@pytest.mark.long
def test_running_out_of_memory_does_not_change_the_result(vae):
    """A batch of more than four images needs more memory than any machine has.

    TensorFlow waits ten seconds for memory before it gives up.
    """

    def request_memory(z, training):
        size = tf.where(tf.shape(z)[0] > 4, tf.constant(2**44, tf.int64), tf.constant(1, tf.int64))
        return (
            vae.to_logits(z, training=training)
            + 0.0 * tf.random.stateless_uniform([size], [1, 2])[0]
        )

    fake_vae = SimpleNamespace(
        to_logits=request_memory,
        image_shape=SHAPE,
        latent_dim=3,
        reconstruction_loss=vae.reconstruction_loss,
        compiled_functions=CompiledFunctions(),
    )
    z_mean, _ = encode(vae, TEST.images, Batches())
    batches = Batches(5)
    found = image_likelihood(fake_vae, TEST.images, batches)(z_mean)
    assert batches.size == 2
    np.testing.assert_allclose(
        found, image_likelihood(vae, TEST.images, Batches())(z_mean), rtol=1e-6
    )
