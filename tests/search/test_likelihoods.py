"""Searches with another likelihood: baselines, resuming, evaluation and export."""

import re

import numpy as np
import pytest
import tensorflow as tf
from comparisons import assert_same_search
from long_forms import long
from tiny_searches import GRID, IMAGES, TINY, changed, run, stop

from vaetune.config.names import BASELINES
from vaetune.config.spec import Budget, DataSpec
from vaetune.errors import ResultsError
from vaetune.evaluation.metrics import evaluate
from vaetune.study.builder import load_study
from vaetune.study.catalog import find_baseline, find_example
from vaetune.study.scores import EvaluationProtocol
from vaetune.training.restore import restore_best

GAUSSIAN = changed(GRID, baseline=True, data=DataSpec(likelihood="gaussian"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    tf.config.experimental.enable_op_determinism()
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def study(results):
    return run(results, GAUSSIAN)


def test_the_journal_holds_the_likelihood(study):
    assert study.started.search.data.likelihood == "gaussian"
    assert study.is_complete


def test_the_keras_example_is_trained_with_both_likelihoods(study, results):
    baseline, example = find_baseline(study, results), find_example(study, results)
    assert baseline.name == "reference-gaussian-squares-1"
    assert example.name == "reference-squares-1"
    # The Gaussian has one more weight, its scale.
    assert baseline.winner.parameters == example.winner.parameters + 1
    assert baseline.winner.hyperparameters == example.winner.hyperparameters


def test_the_bernoulli_example_equals_the_baseline_of_a_bernoulli_search(study, results, tmp_path):
    spec = changed(GRID, baseline=True)
    plain = run(tmp_path, spec)
    theirs = find_example(study, results).winner.epochs[-1]
    ours = find_baseline(plain, tmp_path).winner.epochs[-1]
    assert (ours.val_loss, ours.loss) == (theirs.val_loss, theirs.loss)


def test_rescoring_and_evaluation_use_the_gaussian_density(study):
    vae = restore_best(study, study.winner)
    assert vae.likelihood == "gaussian"
    scored = study.rescored.rescoring.finalists[0]
    assert scored.negative_elbo.mean == pytest.approx(study.winner.score, rel=0.1)
    found = evaluate(
        vae,
        IMAGES.test,
        IMAGES.train,
        EvaluationProtocol(seed=0, posterior_samples=8, importance_samples=8),
    )
    assert found.entropy_floor is None
    assert found.likelihood == "gaussian"
    x = tf.constant(IMAGES.test.images, tf.float32) / 255.0
    z_mean, _ = vae.posterior(x)
    expected = vae.reconstruction_loss(x, vae.to_logits(z_mean, training=False))
    assert found.reconstruction.mean == pytest.approx(float(np.mean(expected)), rel=0.2)
    assert found.importance_weighted_bound.mean <= found.negative_elbo.mean
    assert found.bits_per_dimension == pytest.approx(study.bits(found.negative_elbo.mean))


@pytest.mark.parametrize(
    ("likelihood", "events"),
    [("gaussian", 9), *long(("discretized_logistic", 9), ("discretized_logistic", 4))],
)
def test_an_interrupted_search_continues_to_the_same_results(tmp_path, likelihood, events):
    tf.config.experimental.enable_op_determinism()
    spec = changed(TINY, data=DataSpec(likelihood=likelihood))
    whole = run(tmp_path / "whole", spec)
    stop(tmp_path / "stopped", events, spec)
    assert_same_search(whole, run(tmp_path / "stopped", spec))


def test_continuing_with_another_likelihood_is_refused(study, results):
    spec = changed(GAUSSIAN, data=DataSpec(likelihood="bernoulli"))
    with pytest.raises(ResultsError) as refused:
        run(results, spec)
    message = str(refused.value)
    assert "data.likelihood: gaussian -> bernoulli" in message
    assert "To continue it, use --likelihood gaussian." in message


def with_another_seed(likelihood):
    """A search of one trial, whose configuration is trained again from one other seed."""
    limits = GRID.limits.model_copy(update={"final_seeds": 1})
    budget = Budget(max_epochs=1, max_trials=1)
    return changed(GRID, data=DataSpec(likelihood=likelihood), limits=limits, budget=budget)


def test_training_from_another_seed_uses_the_likelihood(tmp_path):
    study = run(tmp_path, with_another_seed("gaussian"))
    (finalist,) = study.retrained.retraining.finalists
    (name,) = finalist.trainings
    assert re.fullmatch(r"tiny-\d-seed-4-squares-1", name)
    trained = load_study(tmp_path / BASELINES / name)
    assert trained.search.data.likelihood == "gaussian"
    assert trained.winner.parameters == study.winner.parameters


@pytest.mark.long  # tests/models/test_likelihoods.py integrates the density.
def test_the_continuous_bernoulli_loss_is_bounded_by_the_entropy_floor(tmp_path):
    study = run(tmp_path, with_another_seed("continuous_bernoulli"))
    (finalist,) = study.retrained.retraining.finalists
    assert finalist.mean.mean < study.started.data.entropy_floor + 90 * np.log(2.0)
