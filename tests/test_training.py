"""An epoch is the same whatever it is cut into, and validation leaves no trace."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from image_sets import make_images
from vaetune import training
from vaetune.model import build_vae
from vaetune.training import DeviceData, EpochRunner, image_order, put_on_device

IMAGES = make_images(train=40, validation=14)
TINY = {
    "filters_1": 3,
    "filters_2": 4,
    "dense_units": 5,
    "latent_dim": 2,
    "learning_rate": 1e-2,
}


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


def make_runner(data=None, batch_size=16):
    keras.utils.set_random_seed(1)
    vae = build_vae(IMAGES.image_shape, TINY)
    return vae, EpochRunner(vae, data or put_on_device(IMAGES), batch_size)


def variables_of(vae):
    return [np.array(variable) for variable in (*vae.variables, *vae.optimizer.variables)]


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_order_is_a_permutation():
    assert sorted(image_order(50, seed=1, configuration=2, epoch=3)) == list(range(50))


@pytest.mark.parametrize("other", [(9, 2, 3), (1, 9, 3), (1, 2, 9)])
def test_an_order_depends_on_seed_configuration_and_epoch(other):
    assert not np.array_equal(image_order(50, 1, 2, 3), image_order(50, *other))


def test_an_order_depends_on_nothing_else():
    first = image_order(50, 1, 2, 3)
    np.random.default_rng().random(10)
    keras.utils.set_random_seed(99)
    np.testing.assert_array_equal(first, image_order(50, 1, 2, 3))


def test_an_epoch_takes_a_step_for_each_batch_the_last_one_shorter():
    vae, runner = make_runner(batch_size=16)
    runner.train(image_order(40, 0, 0, 1))
    assert int(vae.optimizer.iterations) == 3


def test_an_epoch_does_what_keras_fit_does_in_the_same_order():
    order = image_order(40, 0, 0, 1)
    ours, runner = make_runner(batch_size=16)
    losses = runner.train(order)
    theirs, _ = make_runner(batch_size=16)
    images = IMAGES.train.images[order].astype("float32") / 255.0
    history = theirs.fit(images, batch_size=16, shuffle=False, verbose=0).history
    assert losses.loss == pytest.approx(history["loss"][0], rel=1e-5)
    assert losses.kl_loss == pytest.approx(history["kl_loss"][0], rel=1e-4)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_the_number_of_compiled_calls_changes_nothing(monkeypatch):
    order = image_order(40, 0, 0, 1)
    results = []
    for calls in (1, 2, 10):
        monkeypatch.setattr(training, "CALLS_PER_EPOCH", calls)
        vae, runner = make_runner(batch_size=8)
        results.append((runner.train(order), variables_of(vae)))
    (first, variables), *others = results
    for losses, theirs in others:
        assert losses == first
        assert_same(variables, theirs)


def test_bytes_and_floats_of_the_same_images_train_alike():
    as_floats = DeviceData(
        tf.constant(IMAGES.train.images.astype("float32") / np.float32(255)),
        tf.constant(IMAGES.validation.images.astype("float32") / np.float32(255)),
    )
    order = image_order(40, 0, 0, 1)
    (_, from_bytes), (_, from_floats) = make_runner(), make_runner(as_floats)
    # TensorFlow divides by 255 in its own way: the last bit may differ.
    for runner in (from_bytes, from_floats):
        runner.train(order)
    assert from_bytes.validate().loss == pytest.approx(from_floats.validate().loss, rel=1e-5)


def test_validation_changes_nothing_and_repeats_itself():
    vae, runner = make_runner()
    runner.train(image_order(40, 0, 0, 1))
    before = variables_of(vae)
    assert runner.validate() == runner.validate()
    assert_same(before, variables_of(vae))


def test_validation_covers_every_image_once(monkeypatch):
    _, whole = make_runner()
    monkeypatch.setattr(training, "VALIDATION_BATCH_SIZE", 4)
    vae, in_parts = make_runner()
    # Without posterior noise the batches cannot matter.
    for runner_vae in (vae, whole._vae):
        layer = runner_vae.encoder.get_layer("z_log_var")
        layer.set_weights([np.zeros_like(w) - 60.0 * (w.ndim == 1) for w in layer.get_weights()])
    assert in_parts.validate().loss == pytest.approx(whole.validate().loss, rel=1e-6)


def test_progress_ends_with_the_whole_epoch():
    shares = []
    _, runner = make_runner(batch_size=3)
    runner.train(image_order(40, 0, 0, 1), shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 3
    assert shares[-1] == 1.0
