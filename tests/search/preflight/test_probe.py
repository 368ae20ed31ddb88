"""Probes of a search with its own images and device; they leave no files behind."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from tiny_searches import IMAGES, TINY, changed

from vaetune.cli.check import describe_probe
from vaetune.config.space import REFERENCE, Choice, Pinned, Space
from vaetune.config.spec import Budget, Limits, Training
from vaetune.errors import DeviceError
from vaetune.search.oracles.control import make_oracle
from vaetune.search.oracles.plan import draw_configurations, plan
from vaetune.search.preflight import probe, timing
from vaetune.search.preflight.cost_model import DurationRange, Timing, TrialGroup, structure_key
from vaetune.search.preflight.estimate import extremes
from vaetune.search.preflight.probe import probe_search
from vaetune.study.finalists import FINALISTS
from vaetune.training.context import TrainingContext


@pytest.fixture(autouse=True)
def fast_timing(monkeypatch, tmp_path):
    """Times one step per configuration, and creates temporary folders in `tmp_path`."""
    monkeypatch.setattr(timing, "MIN_STEPS", 1)
    monkeypatch.setattr(timing, "TIMED_S", 0.0)
    monkeypatch.setattr(probe.tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def context():
    """Training context of the images. Several tests share its compiled steps."""
    return TrainingContext(IMAGES, len(IMAGES.validation))


@pytest.fixture
def shared_steps(context, monkeypatch):
    """Makes probes of the tiny images use the steps that other tests have compiled."""
    monkeypatch.setattr(probe, "TrainingContext", lambda images, count: context)


@pytest.mark.usefixtures("shared_steps")
def test_a_probe_measures_the_search_and_leaves_no_files(tmp_path):
    result = probe_search(TINY, IMAGES)
    assert result.plan == plan(make_oracle(TINY))
    smallest, largest = extremes(TINY.space, IMAGES.image_shape)
    assert [result.timed[0].hyperparameters, result.timed[-1].hyperparameters] == [
        smallest,
        largest,
    ]
    assert len(result.timed) == 5
    for one in result.timed:
        assert min(one.step_s, one.validation_s, one.overhead_s) > 0
        assert (one.batch_size, one.objective_s) == (32, None)
    assert 0 < result.duration.low <= result.duration.middle <= result.duration.high
    assert result.image_memory == (40 + 14 + 14) * 9 * 10
    assert result.peak_memory > 50e6, "memory is given in bytes"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("shared_steps", "estimate_arguments")
def test_the_objective_is_timed_until_its_time_limit(monkeypatch):
    spec = changed(TINY, objective="knn_accuracy")
    assert all(one.objective_s > 0 for one in probe_search(spec, IMAGES).timed)
    monkeypatch.setattr(timing, "OBJECTIVE_S", 0.0)
    first, *others = (one.objective_s for one in probe_search(spec, IMAGES).timed)
    assert first > 0
    assert set(others) == {None}


@pytest.fixture
def estimate_arguments(monkeypatch):
    """Arguments of `estimate_duration`, which records them instead of estimating."""
    given = {}

    def estimate_duration(cost_model, groups, start_s, suggestions, sharing):
        given.update(groups=groups, suggestions=suggestions, sharing=sharing)

    monkeypatch.setattr(probe, "estimate_duration", estimate_duration)
    monkeypatch.setattr(probe.Probe, "check_device", lambda *given: None)
    return given


@pytest.fixture
def constant_timings(monkeypatch):
    """Replaces measurements by constant timings, for tests of the arguments of the estimate."""

    def measure(self, hyperparameters, folder):
        return Timing(hyperparameters, 32, step_s=1e-3, validation_s=1e-4, overhead_s=0.1)

    monkeypatch.setattr(probe.Probe, "measure", measure)


@pytest.mark.usefixtures("constant_timings")
def test_the_estimate_includes_suggestions_baseline_and_retraining(estimate_arguments):
    budget = Budget(max_epochs=3, max_trials=9, initial_trials=4)
    spec = changed(
        TINY, algorithm="bayesian", budget=budget, baseline=True, limits=Limits(final_seeds=2)
    )
    probe_search(spec, IMAGES)
    first, suggested, baseline, finals = estimate_arguments["groups"]
    assert (first.trials, suggested.trials, estimate_arguments["suggestions"]) == (4, 5, 5)
    assert baseline == TrialGroup([REFERENCE], 1, 3)
    assert (finals.trials, finals.epochs) == (2 * FINALISTS, 3)


@pytest.mark.usefixtures("constant_timings")
def test_sharing_between_workers_is_passed_to_the_estimate(estimate_arguments):
    probe_search(TINY, IMAGES)
    assert estimate_arguments["sharing"] is None
    probe_search(changed(TINY, baseline=True), IMAGES, workers=3, oversubscription=1.5)
    sharing = estimate_arguments["sharing"]
    assert (sharing.workers, sharing.oversubscription) == (3, 1.5)
    assert (sharing.longest.trials, sharing.longest.epochs) == (1, TINY.budget.max_epochs)
    assert REFERENCE in sharing.longest.pool
    probe_search(TINY, IMAGES, workers=2, oversubscription=0.5)
    assert estimate_arguments["sharing"].oversubscription == 1.0, (
        "free cores do not make workers faster"
    )


@pytest.mark.usefixtures("shared_steps")
def test_searched_batch_sizes_and_that_of_the_keras_example_are_timed(estimate_arguments):
    space = TINY.space.model_copy(update={"batch_size": Choice(values=(4, 16))})
    spec = changed(TINY, space=space, baseline=True, training=Training())
    timed = probe_search(spec, IMAGES).timed
    assert [timed[0].batch_size, timed[-1].batch_size] == [4, 16]
    assert 40 in {one.batch_size for one in timed}, (
        "the batch size 128 of the Keras example is limited to 40 images"
    )


@pytest.mark.usefixtures("estimate_arguments")
def test_a_configuration_of_each_structure_is_timed(monkeypatch):
    """Uses dense networks, because their steps are traced quickly."""
    monkeypatch.setattr(probe, "MIDDLE_CONFIGURATIONS", 1)
    space = Space(
        encoder=Pinned(value="dense"),
        decoder=Pinned(value="dense"),
        dense_units=Choice(values=(4, 5)),
        activation=Choice(values=("relu", "gelu", "silu")),
    )
    spec = changed(TINY, space=space, budget=Budget(max_epochs=9))
    timed = probe_search(spec, IMAGES).timed
    structures = {structure_key(one.hyperparameters) for one in timed}
    drawn = draw_configurations(make_oracle(spec))
    assert structures >= {structure_key(one) for pool in drawn.values() for one in pool}
    assert sum(one.tracing_s > 0 for one in timed) == len(structures) == 3


def test_batches_are_limited_to_the_training_images_and_this_is_reported(estimate_arguments):
    as_floats = IMAGES.train.images.astype(np.float32) / np.float32(255)
    images = replace(IMAGES, train=replace(IMAGES.train, images=as_floats), binarize="stochastic")
    result = probe_search(changed(TINY, training=Training(batch_size=64)), images)
    assert {one.batch_size for one in result.timed} == {40}
    result = replace(result, duration=DurationRange(1.0, 2.0, 3.0))
    assert "Estimated time: 1 to 3 seconds." in describe_probe(result, TINY, 41)
    compiled = describe_probe(result, TINY, 41, is_compiled=True)
    assert (
        "with uncompiled steps and without the time to compile others: 1 to 3 seconds." in compiled
    )
    described = describe_probe(replace(result, workers=2), TINY, 41)
    assert "Estimated time for 2 workers: 1 to 3 seconds." in described
    assert "Each worker needs as much, without the images." in described
    assert "Batches are limited to the number of training images" in describe_probe(
        result, TINY, 40
    )
    assert "Batches are limited" not in describe_probe(result, TINY, 41)


@pytest.mark.usefixtures("shared_steps")
def test_a_model_with_other_outputs_after_loading_is_reported(monkeypatch):
    from vaetune.models.build import build_vae

    monkeypatch.setattr(probe, "load_model", lambda path: build_vae(IMAGES.image_shape, REFERENCE))
    with pytest.raises(
        DeviceError, match=r'a different output after saving and loading.*device "cpu"'
    ):
        probe_search(TINY, IMAGES)


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "")])
def test_a_memory_error_is_reported_with_the_configuration(error):
    _, largest = extremes(TINY.space, IMAGES.image_shape)
    with pytest.raises(DeviceError) as refused, probe._explain_memory_errors(largest):
        raise error
    message = str(refused.value)
    assert "not enough memory to train the configuration filters 3/4, dense 5, latent 3" in message
    assert "Lower the batch size" in message
