"""Rescoring agrees with the exported model and does not depend on earlier models."""

import numpy as np
import pytest
import tensorflow as tf
from comparisons import checkpoint_of
from tiny_searches import GRID, IMAGES, run

from vaetune.evaluation.likelihood import closed_form_kl
from vaetune.evaluation.rescore import Rescorer
from vaetune.models.losses import binary_cross_entropy
from vaetune.study.artifacts import RECONSTRUCTIONS, WorstImages
from vaetune.training.context import TrainingContext
from vaetune.training.functions import to_unit_tensor
from vaetune.training.restore import restore_best
from vaetune.training.tasks import TrainedModel


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    tf.config.experimental.enable_op_determinism()
    return run(tmp_path_factory.mktemp("study"), GRID)


@pytest.fixture(scope="module")
def rescorer():
    context = TrainingContext(IMAGES)
    return Rescorer(context.exact_runner, context.data.validation)


def model_of(study, trial):
    weights = checkpoint_of(study, trial.trial_id).best_weights
    return TrainedModel(trial.hyperparameters, weights)


def test_rescoring_is_the_negative_elbo_of_the_exported_model(study, rescorer):
    winner = study.winner
    measured = rescorer.measure(model_of(study, winner), samples=400, seed=3)
    vae = restore_best(study, winner)
    x = to_unit_tensor(tf.constant(IMAGES.validation.images))
    z_mean, z_log_var = (each.numpy() for each in vae.posterior(x))
    np.testing.assert_allclose(measured.kl, closed_form_kl(z_mean, z_log_var).sum(axis=1), 1e-4)
    noise = np.random.default_rng(0).standard_normal((400, *z_mean.shape)).astype(np.float32)
    losses = [
        binary_cross_entropy(x, vae.to_logits(z_mean + np.exp(z_log_var / 2) * each)).numpy()
        for each in noise
    ]
    error = np.std(losses, axis=0) * np.sqrt(2 / 400)
    assert np.all(np.abs(measured.reconstruction - np.mean(losses, axis=0)) < 5 * error + 1e-3)


def test_rescoring_does_not_depend_on_the_previous_model(study, rescorer):
    first, second = (model_of(study, trial) for trial in study.finalists)
    once = rescorer.measure(first, samples=3, seed=3).negative_elbo
    rescorer.measure(second, samples=3, seed=3)
    again = rescorer.measure(first, samples=3, seed=3).negative_elbo
    np.testing.assert_array_equal(again, once)
    other = rescorer.measure(first, samples=3, seed=4).negative_elbo
    assert np.all(other != once)


def test_rescoring_uses_other_noise_than_validation(study, rescorer):
    one = rescorer.measure(model_of(study, study.winner), samples=1, seed=3)
    assert float(one.negative_elbo.mean()) != pytest.approx(study.winner.score, rel=1e-6)


def test_the_worst_images_have_the_largest_losses_above_their_entropy(study, rescorer):
    winner = study.winner
    measured = rescorer.measure(model_of(study, winner), samples=3, seed=3)
    images = IMAGES.validation.images
    x = np.clip(images / 255.0, 1e-12, 1 - 1e-12)
    entropy = -(x * np.log(x) + (1 - x) * np.log(1 - x)).reshape(len(x), -1).sum(axis=1)
    excess = measured.reconstruction - entropy
    order = np.argsort(-excess)[:RECONSTRUCTIONS]
    assert not np.array_equal(order, np.argsort(-measured.reconstruction)[:RECONSTRUCTIONS])
    np.testing.assert_allclose(measured.worst.losses, excess[order], rtol=1e-5)
    np.testing.assert_array_equal(measured.worst.originals, images[order])
    vae = restore_best(study, winner)
    z_mean, _ = vae.posterior(to_unit_tensor(tf.constant(images[order])))
    decoded = np.rint(vae.decoder(z_mean, training=False).numpy() * 255)
    assert np.abs(measured.worst.reconstructions - decoded).max() <= 1


def test_a_search_keeps_the_worst_images_of_its_finalists(study):
    shape = (RECONSTRUCTIONS, *IMAGES.image_shape)
    for trial in study.finalists:
        worst = WorstImages.load(study.trial_folder(trial.trial_id))
        assert worst.originals.shape == worst.reconstructions.shape == shape
        assert list(worst.losses) == sorted(worst.losses, reverse=True)
