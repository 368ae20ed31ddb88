"""Rescoring measures the exported model, and the same again whichever model was before."""

import numpy as np
import pytest
import tensorflow as tf
from outcomes import checkpoint_of
from tiny_searches import GRID, IMAGES, run

from vaetune.evaluation.likelihood import closed_form_kl
from vaetune.evaluation.rescore import Rescorer
from vaetune.models.losses import binary_cross_entropy
from vaetune.training.restore import restore_best
from vaetune.training.runner import to_unit_interval
from vaetune.training.trial import TrainingContext


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    tf.config.experimental.enable_op_determinism()
    return run(tmp_path_factory.mktemp("judged"), GRID)


@pytest.fixture(scope="module")
def rescorer():
    context = TrainingContext(IMAGES)
    return Rescorer(context.any_runner(), context.data.validation)


def test_rescoring_is_the_negative_elbo_of_the_exported_model(judged, rescorer):
    winner = judged.winner
    weights = checkpoint_of(judged, winner.trial_id).best_weights
    measured = rescorer.measure(weights, samples=400, seed=3)
    vae = restore_best(judged, winner)
    x = to_unit_interval(tf.constant(IMAGES.validation.images))
    z_mean, z_log_var = (each.numpy() for each in vae.posterior(x))
    np.testing.assert_allclose(measured.kl, closed_form_kl(z_mean, z_log_var).sum(axis=1), 1e-4)
    noise = np.random.default_rng(0).standard_normal((400, *z_mean.shape)).astype(np.float32)
    losses = [
        binary_cross_entropy(x, vae.to_logits(z_mean + np.exp(z_log_var / 2) * each)).numpy()
        for each in noise
    ]
    error = np.std(losses, axis=0) * np.sqrt(2 / 400)
    assert np.all(np.abs(measured.reconstruction - np.mean(losses, axis=0)) < 5 * error + 1e-3)


def test_the_same_numbers_come_again_whichever_model_was_before(judged, rescorer):
    first, second = (checkpoint_of(judged, t.trial_id).best_weights for t in judged.finalists)
    once = rescorer.measure(first, samples=3, seed=3).negative_elbo
    rescorer.measure(second, samples=3, seed=3)
    again = rescorer.measure(first, samples=3, seed=3).negative_elbo
    np.testing.assert_array_equal(again, once)
    other = rescorer.measure(first, samples=3, seed=4).negative_elbo
    assert np.all(other != once)


def test_validation_is_not_what_it_measures(judged, rescorer):
    weights = checkpoint_of(judged, judged.winner.trial_id).best_weights
    one = rescorer.measure(weights, samples=1, seed=3)
    assert float(one.negative_elbo.mean()) != pytest.approx(judged.winner.score, rel=1e-6)
