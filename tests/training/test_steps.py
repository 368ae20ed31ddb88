"""The steps equal Keras's own steps for any configuration, although they are traced once."""

from collections import Counter
from functools import cache, cached_property

import keras
import numpy as np
import pytest
import tensorflow as tf
from long_forms import long

from vaetune.models.build import build_vae
from vaetune.models.optimizer import Adam
from vaetune.models.vae import VAE
from vaetune.training.restore import read_variables, write_variables
from vaetune.training.schedule import StepSettings
from vaetune.training.steps import Steps

TINY = {
    "filters_1": 3,
    "filters_2": 4,
    "dense_units": 5,
    "latent_dim": 2,
    "learning_rate": 1e-2,
}
WIDER = {
    "filters_1": 6,
    "filters_2": 5,
    "dense_units": 9,
    "latent_dim": 7,
    "learning_rate": 3e-3,
}
EXAMPLE, CROPPED, SMALL = (28, 28, 1), (9, 14, 3), (8, 8, 2)
"""Shapes of images. For `CROPPED`, the decoder crops an odd number of rows."""


@pytest.fixture(params=[CROPPED, SMALL, *long((EXAMPLE,))], ids=str)
def shape(request):
    return request.param


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


def make_vae(shape, hyperparameters, seed=1):
    keras.utils.set_random_seed(seed)
    return build_vae(shape, hyperparameters)


def make_images(shape, count=10):
    pixels = np.random.default_rng(0).random((count, *shape))
    return tf.constant(pixels, tf.float32)


class Traced:
    """Steps that are traced once for batches of any size and all settings, as in a search.

    Args:
        shape: Shape of the images.
        precision: Numeric precision of training.
    """

    def __init__(self, shape, precision="float32"):
        self.template = make_vae(shape, TINY, seed=7)
        self.steps = Steps(self.template, precision)
        self._batch = tf.TensorSpec((None, *shape), tf.float32)

    @cached_property
    def training(self):
        settings = tf.TensorSpec((len(StepSettings._fields),), tf.float32)
        return self._trace(self.steps.train, settings)

    @cached_property
    def validate(self):
        return self._trace(self.steps.validate, tf.TensorSpec((), tf.int32))

    def train(self, images, **settings):
        return self.training(images, tf.constant(StepSettings(**settings), tf.float32))

    def _trace(self, function, *signature):
        traced = tf.function(function, input_signature=(self._batch, *signature), autograph=False)
        return traced.get_concrete_function()


@pytest.fixture(scope="module")
def traced():
    """Returns the traced steps for a shape of images and a precision."""
    return cache(Traced)


def restore(steps, vae):
    steps.state.restore(read_variables(vae.variables), read_variables(vae.optimizer.variables))


def variables_of(vae):
    return [*vae.variables, *vae.optimizer.variables]


def assert_close(steps, theirs):
    weights, optimizer = steps.state.read()
    for one, other in zip((*weights, *optimizer), variables_of(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=other.path)


def test_a_training_step_equals_that_of_keras_for_every_configuration(traced, shape):
    ours = traced(shape)
    steps = ours.steps
    untouched = [np.array(variable) for variable in variables_of(ours.template)]
    images = make_images(shape)
    for hyperparameters in (TINY, WIDER):
        theirs = make_vae(shape, hyperparameters)
        restore(steps, theirs)
        for _ in range(3):
            reconstruction, kl = ours.train(images)
            theirs.reset_metrics()
            expected = theirs.train_step(images)
            assert np.mean(reconstruction) == pytest.approx(
                float(expected["reconstruction_loss"]), rel=1e-5
            )
            assert np.mean(kl) == pytest.approx(float(expected["kl_loss"]), rel=1e-3, abs=1e-6)
        assert_close(steps, theirs)
    for before, after in zip(untouched, variables_of(ours.template), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_random_state_of_the_sampler_equals_that_of_keras(traced):
    ours_traced = traced(SMALL)
    ours, theirs = make_vae(SMALL, WIDER), make_vae(SMALL, WIDER)
    restore(ours_traced.steps, ours)
    images = make_images(SMALL)
    for _ in range(3):
        ours_traced.train(images)
        theirs.train_step(images)
    weights, _ = ours_traced.steps.state.read()
    write_variables(ours.variables, weights)
    # The layers also draw the same noise next.
    pair = [tf.zeros((4, 7)), tf.zeros((4, 7))]
    np.testing.assert_array_equal(
        ours.encoder.get_layer("z")(pair), theirs.encoder.get_layer("z")(pair)
    )


def test_a_validation_step_equals_that_of_keras_and_changes_nothing(traced, shape):
    steps, validate = traced(shape).steps, traced(shape).validate
    images = make_images(shape)
    for hyperparameters in (TINY, WIDER):
        vae = make_vae(shape, hyperparameters)
        restore(steps, vae)
        before = steps.state.read()
        vae.reset_metrics()
        sums = np.zeros(2)
        for seen in (0, 10):  # The second batch has different noise from the first.
            losses = validate(images, tf.constant(seen))
            sums += np.sum(losses, axis=1)
            measured = vae.test_step(images)  # These are means over all batches so far.
            expected = [float(measured[name]) for name in ("reconstruction_loss", "kl_loss")]
            np.testing.assert_allclose(sums / (seen + 10), expected, rtol=1e-4)
        for group, after in zip(before, steps.state.read(), strict=True):
            for one, other in zip(group, after, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("beta", [0.0, 4.0])
def test_training_uses_the_given_beta(traced, beta):
    def with_beta(vae):
        other = VAE(vae.encoder, vae.decoder, beta=beta)
        other.compile(optimizer=Adam(TINY["learning_rate"]))
        other.optimizer.build(other.trainable_variables)
        return other

    ours, images = traced(SMALL), make_images(SMALL)
    theirs = with_beta(make_vae(SMALL, TINY))
    restore(ours.steps, theirs)
    for _ in range(3):
        ours.train(images, beta=beta)
        theirs.train_step(images)
    assert_close(ours.steps, theirs)


def test_mixed_precision_keeps_latent_layers_and_logits_in_float32(traced, shape):
    graph = traced(shape, "mixed_bfloat16").training.graph
    kinds = ("MatMul", "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
    found = [op for op in graph.get_operations() if op.type in kinds]
    products = Counter((op.type, op.get_attr("T").name) for op in found)
    # The forward pass, the gradient of the inputs and the gradient of the weights.
    assert products == {
        ("MatMul", "float32"): 2 * 3,  # z_mean, z_log_var
        ("Conv2DBackpropInput", "float32"): 1,  # the logits
        ("Conv2D", "float32"): 1,
        ("Conv2DBackpropFilter", "float32"): 1,
        ("MatMul", "bfloat16"): 2 * 3,  # one dense layer in encoder and decoder
        ("Conv2D", "bfloat16"): 2 + 2,
        ("Conv2DBackpropInput", "bfloat16"): 2 + 2,
        ("Conv2DBackpropFilter", "bfloat16"): 2 + 2,
    }


def test_mixed_precision_trains_float32_weights_almost_like_float32(traced):
    images = make_images(CROPPED) ** 8  # Dark images are learnt quickly.
    losses, weights = {}, {}
    for precision in ("float32", "mixed_bfloat16"):
        ours = traced(CROPPED, precision)
        restore(ours.steps, make_vae(CROPPED, WIDER))
        losses[precision] = [float(np.mean(ours.train(images)[0])) for _ in range(20)]
        weights[precision], _ = ours.steps.state.read()
    exact, mixed = losses.values()
    assert exact != mixed
    np.testing.assert_allclose(mixed, exact, rtol=0.01)
    assert exact[-1] < 0.95 * exact[0]
    for one, other in zip(*weights.values(), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape


def test_validation_is_the_same_in_every_precision(traced):
    measured = []
    for precision in ("float32", "mixed_bfloat16"):
        ours = traced(CROPPED, precision)
        restore(ours.steps, make_vae(CROPPED, WIDER))
        measured.append(ours.validate(make_images(CROPPED), tf.constant(0)))
    for one, other in zip(*measured, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unknown_layer_is_refused():
    template = make_vae((8, 8, 1), TINY)
    latent = keras.Input((2,))
    x = keras.layers.Dense(64)(latent)
    x = keras.layers.LayerNormalization()(x)
    logits = keras.layers.Reshape((8, 8, 1), name="logits")(x)
    outputs = keras.layers.Activation("sigmoid")(logits)
    other = VAE(template.encoder, keras.Model(latent, outputs))
    other.compile(optimizer=Adam())
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(TypeError, match="LayerNormalization"):
        Steps(other).train(make_images((8, 8, 1)), tf.constant(StepSettings(), tf.float32))
