"""Training, validation, saving and loading with each likelihood, in both training loops."""

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from keras_steps import assert_steps_like_keras, trace_training, trace_validation
from long_forms import long

from vaetune.config import LIKELIHOODS
from vaetune.config.space import Space
from vaetune.models.build import build_template, build_vae, draw_variables, set_scale
from vaetune.models.hypermodel import VAEHyperModel
from vaetune.models.likelihoods import spread_of
from vaetune.models.recipe import compile_for, prepare
from vaetune.models.vae import VAE
from vaetune.training.restore import read_variables
from vaetune.training.schedule import StepSettings
from vaetune.training.steps import Steps

SHAPE = (9, 12, 3)
VALUES = {
    "filters_1": 3,
    "filters_2": 4,
    "dense_units": 5,
    "latent_dim": 2,
    "learning_rate": 1e-2,
}
WIDE = VALUES | {"filters_1": 8, "filters_2": 5, "latent_dim": 6}
AVERAGED = {"weight_average": 0.9}
ONE, TWO = {}, {"levels": 2}


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


def with_each(*short, levels=TWO):
    """Parametrizes a test by likelihoods and levels. Its long form runs all combinations.

    Args:
        short: Likelihoods of the short form.
        levels: Hyperparameters that set the number of levels in the short form.
    """
    cases = [(name, some) for name in LIKELIHOODS for some in (ONE, TWO)]
    few = [(name, levels) for name in short]
    rest = [case for case in cases if case not in few]
    name = {str(ONE): "one level", str(TWO): "two levels"}
    return pytest.mark.parametrize(
        ("likelihood", "levels"), [*few, *long(*rest)], ids=lambda one: name.get(str(one))
    )


def make_vae(values, likelihood, seed=1):
    keras.utils.set_random_seed(seed)
    return build_vae(SHAPE, values, likelihood)


def make_images(count=8):
    return np.float32(np.random.default_rng(0).integers(0, 256, (count, *SHAPE)) / 255.0)


@with_each("continuous_bernoulli", "discretized_logistic")
def test_steps_equal_those_of_keras(likelihood, levels):
    steps = Steps(build_template(SHAPE, VALUES | levels, likelihood))
    train = trace_training(steps, SHAPE, StepSettings())
    validate = trace_validation(steps, SHAPE)
    theirs, images = make_vae(WIDE | levels, likelihood), tf.constant(make_images())
    start = None if theirs.log_scale is None else float(theirs.log_scale)
    ours = assert_steps_like_keras(steps, train, validate, theirs, images)
    if start is not None:
        assert float(ours[-1]) != pytest.approx(start, abs=1e-3), "the scale was not trained"


@with_each("gaussian", levels=ONE)  # test_structures.py tests the recipe with two levels.
def test_the_scale_and_its_average_are_trained_as_by_keras_fit(likelihood, levels):
    values, images = VALUES | levels | AVERAGED | {"weight_decay": 0.5}, make_images()
    theirs = make_vae(values, likelihood)
    set_scale(theirs, 0.2)
    fresh = read_variables(theirs.ordered_variables)
    compile_for(theirs, values)
    callback = prepare(theirs, values, ())
    theirs.fit(
        images, batch_size=len(images), epochs=3, verbose=0, shuffle=False, callbacks=[callback]
    )
    template = build_template(SHAPE, values, likelihood)
    steps = Steps(template, options={"weight_average", "weight_decay"})
    settings = StepSettings(weight_average=0.9, weight_decay=0.5)
    train = trace_training(steps, SHAPE, settings)
    steps.state.begin(fresh, values["learning_rate"])
    for _ in range(3):
        train(tf.constant(images))
    for one, other in zip(steps.state.read_average(), theirs.ordered_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=other.path)


# A likelihood with a scale adds a variable to the model.
@with_each("discretized_logistic")
def test_a_model_is_the_same_after_saving_and_loading(likelihood, levels, tmp_path):
    vae, images = make_vae(VALUES | levels, likelihood), tf.constant(make_images())
    for _ in range(3):
        vae.train_step(images)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.likelihood == likelihood
    for one, other in zip(loaded.ordered_variables, vae.ordered_variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=other.path)
    vae.reset_metrics()
    np.testing.assert_array_equal(loaded.test_step(images)["loss"], vae.test_step(images)["loss"])
    vae.train_step(images)
    loaded.train_step(images)
    for one, other in zip(loaded.ordered_variables, vae.ordered_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=other.path)


@with_each("gaussian")
def test_drawn_variables_equal_those_of_a_model(likelihood, levels):
    values = WIDE | levels
    expected = make_vae(values, likelihood, seed=5)
    set_scale(expected, 0.15)
    keras.utils.set_random_seed(5)
    drawn = draw_variables(SHAPE, values, (), likelihood, 0.15)
    for one, other in zip(drawn, expected.ordered_variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_without_a_likelihood_in_its_config_is_bernoulli():
    vae = make_vae(VALUES, "bernoulli")
    config = vae.get_config()
    del config["likelihood"]
    loaded = VAE.from_config(config)
    assert loaded.likelihood == "bernoulli"
    assert len(loaded.ordered_variables) == len(vae.ordered_variables)


def test_a_keras_tuner_script_trains_the_scale_of_the_likelihood():
    tuner_values = keras_tuner.HyperParameters()
    space = Space.pinned_at(VALUES)
    hypermodel = VAEHyperModel(SHAPE, space, likelihood="gaussian")
    vae = hypermodel.build(tuner_values)
    images = make_images() / 4.0
    started = []
    seen = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: started.append(float(vae.log_scale))
    )
    hypermodel.fit(tuner_values, vae, images, epochs=1, verbose=0, callbacks=[seen])
    assert np.exp(started[0]) == pytest.approx(spread_of(images), rel=1e-4)
    assert float(vae.log_scale) != started[0]
