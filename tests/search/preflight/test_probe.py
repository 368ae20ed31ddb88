"""A search is tried out on its own images and device, and leaves nothing behind."""

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
def quickly(monkeypatch, tmp_path):
    """Times a single step of each configuration; temporary folders are made in `tmp_path`."""
    monkeypatch.setattr(timing, "MIN_STEPS", 1)
    monkeypatch.setattr(timing, "TIMED_S", 0.0)
    monkeypatch.setattr(probe.tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def context():
    """The images, and steps that several tests trace once."""
    return TrainingContext(IMAGES, len(IMAGES.validation))


@pytest.fixture
def traced(context, monkeypatch):
    """Lets a search of the tiny images train with the steps of other tests."""
    monkeypatch.setattr(probe, "TrainingContext", lambda images, count: context)


@pytest.mark.usefixtures("traced")
def test_a_rehearsal_measures_and_leaves_nothing(tmp_path):
    came = probe_search(TINY, IMAGES)
    assert came.plan == plan(make_oracle(TINY))
    smallest, largest = extremes(TINY.space, IMAGES.image_shape)
    assert [came.timed[0].hyperparameters, came.timed[-1].hyperparameters] == [smallest, largest]
    assert len(came.timed) == 5
    for one in came.timed:
        assert min(one.step_s, one.validation_s, one.overhead_s) > 0
        assert (one.batch_size, one.objective_s) == (32, None)
    assert 0 < came.duration.low <= came.duration.middle <= came.duration.high
    assert came.image_memory == (40 + 14 + 14) * 9 * 10
    assert came.peak_memory > 50e6, "it is in bytes"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("traced", "arguments")
def test_an_objective_is_timed_until_it_took_long_enough(monkeypatch):
    spec = changed(TINY, objective="knn_accuracy")
    assert all(one.objective_s > 0 for one in probe_search(spec, IMAGES).timed)
    monkeypatch.setattr(timing, "OBJECTIVE_S", 0.0)
    first, *others = (one.objective_s for one in probe_search(spec, IMAGES).timed)
    assert first > 0
    assert set(others) == {None}


@pytest.fixture
def arguments(monkeypatch):
    """Arguments of the estimate, recorded in place of an estimate."""
    given = {}

    def estimate_duration(cost_model, groups, start_s, suggestions, sharing):
        given.update(groups=groups, suggestions=suggestions, sharing=sharing)

    monkeypatch.setattr(probe, "estimate_duration", estimate_duration)
    monkeypatch.setattr(probe.Probe, "check_device", lambda *given: None)
    return given


@pytest.fixture
def invented(monkeypatch):
    """Timings without training, for tests of what is estimated from them."""

    def measure(self, hyperparameters, folder):
        return Timing(hyperparameters, 32, step_s=1e-3, validation_s=1e-4, overhead_s=0.1)

    monkeypatch.setattr(probe.Probe, "measure", measure)


@pytest.mark.usefixtures("invented")
def test_what_is_trained_beside_the_trials_counts(arguments):
    budget = Budget(max_epochs=3, max_trials=9, initial_trials=4)
    spec = changed(
        TINY, algorithm="bayesian", budget=budget, baseline=True, limits=Limits(final_seeds=2)
    )
    probe_search(spec, IMAGES)
    first, suggested, baseline, finals = arguments["groups"]
    assert (first.trials, suggested.trials, arguments["suggestions"]) == (4, 5, 5)
    assert baseline == TrialGroup([REFERENCE], 1, 3)
    assert (finals.trials, finals.epochs) == (2 * FINALISTS, 3)


@pytest.mark.usefixtures("invented")
def test_workers_share_what_is_trained_but_not_the_longest_configuration(arguments):
    probe_search(TINY, IMAGES)
    assert arguments["sharing"] is None
    probe_search(changed(TINY, baseline=True), IMAGES, workers=3, oversubscription=1.5)
    sharing = arguments["sharing"]
    assert (sharing.workers, sharing.oversubscription) == (3, 1.5)
    assert (sharing.longest.trials, sharing.longest.epochs) == (1, TINY.budget.max_epochs)
    assert REFERENCE in sharing.longest.pool
    probe_search(TINY, IMAGES, workers=2, oversubscription=0.5)
    assert arguments["sharing"].oversubscription == 1.0, "cores that are free make no worker faster"


@pytest.mark.usefixtures("traced")
def test_a_searched_batch_size_is_timed_beside_the_keras_examples_own(arguments):
    space = TINY.space.model_copy(update={"batch_size": Choice(values=(4, 16))})
    spec = changed(TINY, space=space, baseline=True, training=Training())
    timed = probe_search(spec, IMAGES).timed
    assert [timed[0].batch_size, timed[-1].batch_size] == [4, 16]
    assert 40 in {one.batch_size for one in timed}, "128, of 40 images"


@pytest.mark.usefixtures("arguments")
def test_a_configuration_of_each_structure_is_timed(monkeypatch):
    """Dense networks, because their steps are traced fast."""
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


def test_a_batch_that_is_larger_than_the_training_images_is_all_of_them(arguments):
    as_floats = IMAGES.train.images.astype(np.float32) / np.float32(255)
    images = replace(IMAGES, train=replace(IMAGES.train, images=as_floats), binarize="stochastic")
    came = probe_search(changed(TINY, training=Training(batch_size=64)), images)
    assert {one.batch_size for one in came.timed} == {40}
    came = replace(came, duration=DurationRange(1.0, 2.0, 3.0))
    assert "Estimated time: 1 to 3 seconds." in describe_probe(came, TINY, 41)
    compiled = describe_probe(came, TINY, 41, is_compiled=True)
    assert "Estimated time, with uncompiled steps: 1 to 3 seconds." in compiled
    shown = describe_probe(replace(came, workers=2), TINY, 41)
    assert "Estimated time for 2 workers: 1 to 3 seconds." in shown
    assert "Each worker needs as much, without the images." in shown
    assert "Batches are limited to the number of training images" in describe_probe(came, TINY, 40)
    assert "Batches are limited" not in describe_probe(came, TINY, 41)


@pytest.mark.usefixtures("traced")
def test_a_model_that_comes_back_as_another_one_is_shown(monkeypatch):
    from vaetune.models.build import build_vae

    monkeypatch.setattr(probe, "load_model", lambda path: build_vae(IMAGES.image_shape, REFERENCE))
    with pytest.raises(
        DeviceError, match=r'a different output after saving and loading.*device "cpu"'
    ):
        probe_search(TINY, IMAGES)


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "")])
def test_a_lack_of_memory_names_the_configuration(error):
    _, largest = extremes(TINY.space, IMAGES.image_shape)
    with pytest.raises(DeviceError) as refused, probe._explain_memory_errors(largest):
        raise error
    message = str(refused.value)
    assert "not enough memory to train the configuration filters 3/4, dense 5, latent 3" in message
    assert "Lower the batch size" in message
