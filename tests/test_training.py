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


OTHER = TINY | {"filters_2": 6, "latent_dim": 3, "learning_rate": 1e-3}


def make_vae(hyperparameters=TINY):
    keras.utils.set_random_seed(1)
    return build_vae(IMAGES.image_shape, hyperparameters)


def make_runner(data=None, batch_size=16):
    return EpochRunner(make_vae(OTHER), data or put_on_device(IMAGES), batch_size)


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
    vae = make_vae()
    make_runner(batch_size=16).train(vae, image_order(40, 0, 0, 1))
    assert int(vae.optimizer.iterations) == 3


def test_an_epoch_does_what_keras_fit_does_in_the_same_order():
    order = image_order(40, 0, 0, 1)
    ours, theirs = make_vae(), make_vae()
    losses = make_runner(batch_size=16).train(ours, order)
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
        vae = make_vae()
        losses = make_runner(batch_size=8).train(vae, order)
        results.append((losses, variables_of(vae)))
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
    losses = []
    for runner in (make_runner(), make_runner(as_floats)):
        vae = make_vae()
        runner.train(vae, order)
        losses.append(runner.validate(vae).loss)
    # TensorFlow divides by 255 in its own way: the last bit may differ.
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_validation_changes_nothing_and_repeats_itself():
    vae, runner = make_vae(), make_runner()
    runner.train(vae, image_order(40, 0, 0, 1))
    before = variables_of(vae)
    assert runner.validate(vae) == runner.validate(vae)
    assert_same(before, variables_of(vae))


def test_validation_covers_every_image_once(monkeypatch):
    whole = make_runner()
    monkeypatch.setattr(training, "VALIDATION_BATCH_SIZE", 4)
    in_parts = make_runner()
    vae = make_vae()
    # Without posterior noise the batches cannot matter.
    layer = vae.encoder.get_layer("z_log_var")
    layer.set_weights([np.zeros_like(w) - 60.0 * (w.ndim == 1) for w in layer.get_weights()])
    assert in_parts.validate(vae).loss == pytest.approx(whole.validate(vae).loss, rel=1e-6)


def test_one_runner_trains_models_in_turn():
    runner, in_turn = make_runner(), (make_vae(TINY), make_vae(OTHER))
    for epoch in (1, 2):
        for vae in in_turn:
            runner.train(vae, image_order(40, 0, 0, epoch))
    for vae, hyperparameters in zip(in_turn, (TINY, OTHER), strict=True):
        alone = make_vae(hyperparameters)
        for epoch in (1, 2):
            make_runner().train(alone, image_order(40, 0, 0, epoch))
        assert_same(variables_of(vae), variables_of(alone))


def test_progress_ends_with_the_whole_epoch():
    shares = []
    make_runner(batch_size=3).train(make_vae(), image_order(40, 0, 0, 1), shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 3
    assert shares[-1] == 1.0
