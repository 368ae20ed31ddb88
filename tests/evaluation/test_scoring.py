"""Losses of single images are the parts of their ELBO and do not depend on the batch."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from counted_rows import count_images
from exports import tiny_vae
from image_sets import make_images, make_split
from long_forms import long

from vaetune.config import LIKELIHOODS
from vaetune.data.images import to_unit_interval
from vaetune.data.rows import ImageRows, rows_of
from vaetune.errors import ResultsError
from vaetune.evaluation.levels import posterior_sampler
from vaetune.evaluation.likelihood import Batches, closed_form_kl, encode, expectation
from vaetune.evaluation.scores import LOSSES
from vaetune.evaluation.scoring import map_losses, score_rows
from vaetune.models import VAE
from vaetune.models.build import build_vae

SHAPE = (13, 16, 1)
LADDER = {
    **{"filters_1": 2, "filters_2": 3, "dense_units": 4, "latent_dim": 3},
    **{"levels": 3, "level_channels": 2, "activation": "silu"},
}
ROWS = rows_of(make_images())
FEW = ("bernoulli", "discretized_logistic")


def with_likelihood(likelihood, shape=(9, 10, 1)):
    vae = tiny_vae(shape)
    found = VAE(vae.encoder, vae.decoder, likelihood=likelihood)
    for variable in found.ordered_trainable:
        variable.assign(variable + 0.1 * np.random.default_rng(1).standard_normal(variable.shape))
    return found


@pytest.fixture(scope="module")
def ladder():
    keras.utils.set_random_seed(5)
    return build_vae(SHAPE, LADDER)


def read(rows):
    return rows.read(slice(0, len(rows)))


def assert_elbo(vae, images, found, samples):
    """Checks losses against an evaluation, which draws other samples, up to its error.

    Args:
        vae: The model.
        images: The images, of shape (images, height, width, channels).
        found: Losses of the images by name, in nats.
        samples: Number of posterior samples of the evaluation.
    """
    batches = Batches()
    posterior = encode(vae, images, batches)
    sampler = posterior_sampler(vae, images, posterior, batches)
    one, other = (expectation(sampler, samples, seed) for seed in (1, 2))
    noise = np.abs(one.log_likelihood - other.log_likelihood).max()
    lower, again = (sum(x.sum(axis=1) for x in each.lower_kl) for each in (one, other))
    spread = np.abs(lower - again).max()
    np.testing.assert_allclose(found["reconstruction"], -one.log_likelihood, atol=4 * noise + 1e-9)
    kl = closed_form_kl(*posterior).sum(axis=1)
    np.testing.assert_allclose(found["kl"], kl + lower, rtol=1e-5, atol=4 * spread)


@pytest.mark.parametrize(
    "likelihood", [*FEW, *long(*(name for name in LIKELIHOODS if name not in FEW))]
)
def test_the_losses_of_an_image_are_the_parts_of_its_elbo(likelihood):
    vae = with_likelihood(likelihood)
    images = read(ROWS)
    found = score_rows(vae, ROWS, samples=200)
    assert tuple(found) == LOSSES
    assert_elbo(vae, images, found, 200)
    unit = to_unit_interval(images)
    error = np.square(unit - vae.reconstruct(unit)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found["reconstruction_error"], error, rtol=1e-5)
    assert (found["lowest_loss"] < found["reconstruction"]).all()


def test_the_losses_of_several_levels_are_the_parts_of_the_elbo(ladder):
    rows = rows_of(make_images(shape=SHAPE))
    found = score_rows(ladder, rows, samples=100)
    assert_elbo(ladder, read(rows), found, 100)
    unit = to_unit_interval(read(rows))
    error = np.square(unit - ladder.reconstruct(unit)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found["reconstruction_error"], error, rtol=1e-5)


@pytest.mark.parametrize("levels", [1, 3])
def test_an_image_has_the_same_losses_in_any_batch_and_position(ladder, levels):
    shape = SHAPE if levels == 3 else (9, 10, 1)
    vae = ladder if levels == 3 else tiny_vae()
    rows = rows_of(make_images(shape=shape))
    whole = score_rows(vae, rows, samples=3)
    parts = score_rows(vae, rows.of_splits(["test"]), samples=3, batches=Batches(5))
    for name, values in whole.items():
        np.testing.assert_allclose(values[rows.splits == "test"], parts[name], rtol=1e-5)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_no_reconstruction_has_a_loss_below_the_lowest_loss(likelihood):
    """Compares the lowest loss with the best of many logits for each pixel."""
    vae = with_likelihood(likelihood)
    pixels = np.linspace(0, 1, 90).reshape(1, 9, 10, 1).astype(np.float32)
    rows = ImageRows("x", (pixels,), *(np.zeros(1, int),) * 2, np.zeros(1), None, None, False)
    found = score_rows(vae, rows, samples=1)["lowest_loss"][0]
    # Continuous Bernoulli: logits are bounded at 255.
    far = np.geomspace(30, 3000, 400)
    logits = np.concatenate([-far, np.linspace(-30, 30, 1201), far])
    each = tf.constant(np.repeat(pixels.reshape(-1, 1), len(logits), 1).reshape(-1, 1, 1, 1))
    tried = tf.constant(np.tile(logits, 90).reshape(-1, 1, 1, 1))
    losses = vae.reconstruction_loss(tf.cast(each, tf.float64), tried).numpy()
    best = losses.reshape(90, -1).min(axis=1).sum()
    assert found <= best + 1e-6
    assert found == pytest.approx(best, abs=0.05)


def test_the_lowest_bernoulli_loss_is_the_entropy_of_the_pixels():
    found = score_rows(tiny_vae(), ROWS, samples=1)["lowest_loss"]
    x = to_unit_interval(read(ROWS)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(x * np.log(x)) + np.nan_to_num((1 - x) * np.log1p(-x))
    np.testing.assert_allclose(found, -terms.sum(axis=(1, 2, 3)), rtol=1e-9)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("shape", [(9, 10, 3), *long(((9, 10, 1),))])
def test_a_loss_map_adds_up_to_the_loss_of_the_reconstruction(likelihood, shape):
    vae = with_likelihood(likelihood, shape)
    images = make_split(7, shape, 3).images
    pixels, losses = map_losses(vae, images, Batches(3))
    unit = to_unit_interval(images)
    np.testing.assert_allclose(pixels, vae.reconstruct(unit), atol=1e-6)
    assert losses.shape == (7, 9, 10)
    assert losses.min() >= -1e-9
    z_mean, _ = vae.posterior(unit)
    logits = tf.cast(vae.to_logits(z_mean), tf.float64)
    whole = vae.reconstruction_loss(tf.cast(unit, tf.float64), logits)
    rows = ImageRows(
        "x", (images,), np.zeros(7, int), np.arange(7), np.arange(7), None, None, False
    )
    lowest = score_rows(vae, rows, samples=1)["lowest_loss"]
    np.testing.assert_allclose(losses.sum(axis=(1, 2)) + lowest, whole, rtol=1e-6)


def test_a_loss_map_of_several_levels_uses_their_posterior_means(ladder):
    images = make_split(4, SHAPE, 3).images
    pixels, losses = map_losses(ladder, images)
    np.testing.assert_allclose(pixels, ladder.reconstruct(to_unit_interval(images)), atol=1e-6)
    assert losses.shape == (4, *SHAPE[:2])


def test_few_images_are_in_memory_at_a_time():
    rows = count_images(rows_of(replace(make_images(), train=make_split(1000, (9, 10, 1), 4))))
    shares = []
    found = score_rows(tiny_vae(), rows, 1, shares.append, Batches(50))
    assert len(found["kl"]) == len(rows) == 1028
    assert rows.most <= 3 * 50 + 1
    assert (len(shares), shares[-1], sorted(shares)) == (21, 1.0, shares)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ResultsError, match="The model takes images of 9 x 10"):
        score_rows(tiny_vae(), rows_of(make_images(shape=(12, 12, 1))), 1)
