"""An epoch is the same whatever it is cut into, and validation leaves no trace."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from image_sets import make_images
from vaetune import training
from vaetune.checkpoint import read_variables
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


def start_of(vae):
    return read_variables(vae.variables), read_variables(vae.optimizer.variables)


def make_runner(hyperparameters=TINY, data=None, batch_size=16):
    """A runner that was made for another configuration, with a model of this one."""
    runner = EpochRunner(make_vae(OTHER), data or put_on_device(IMAGES), batch_size)
    runner.restore(*start_of(make_vae(hyperparameters)))
    return runner


def assert_same(ours, theirs):
    for group, other_group in zip(ours, theirs, strict=True):
        for one, other in zip(group, other_group, strict=True):
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
    runner = make_runner(batch_size=16)
    runner.train(image_order(40, 0, 0, 1))
    _, optimizer = runner.read()
    assert optimizer[0] == 3


def test_an_epoch_does_what_keras_fit_does_in_the_same_order():
    order = image_order(40, 0, 0, 1)
    runner, theirs = make_runner(batch_size=16), make_vae()
    losses = runner.train(order)
    images = IMAGES.train.images[order].astype("float32") / 255.0
    history = theirs.fit(images, batch_size=16, shuffle=False, verbose=0).history
    assert losses.loss == pytest.approx(history["loss"][0], rel=1e-5)
    assert losses.kl_loss == pytest.approx(history["kl_loss"][0], rel=1e-4)
    for group, their_group in zip(runner.read(), start_of(theirs), strict=True):
        for one, other in zip(group, their_group, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_the_number_of_compiled_calls_changes_nothing(monkeypatch):
    order = image_order(40, 0, 0, 1)
    results = []
    for calls in (1, 2, 10):
        monkeypatch.setattr(training, "CALLS_PER_EPOCH", calls)
        runner = make_runner(batch_size=8)
        results.append((runner.train(order), runner.read()))
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
    for runner in (make_runner(), make_runner(data=as_floats)):
        runner.train(order)
        losses.append(runner.validate().loss)
    # TensorFlow divides by 255 in its own way: the last bit may differ.
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_validation_changes_nothing_and_repeats_itself():
    runner = make_runner()
    runner.train(image_order(40, 0, 0, 1))
    before = runner.read()
    assert runner.validate() == runner.validate()
    assert_same(before, runner.read())


def test_validation_covers_every_image_once(monkeypatch):
    whole = make_runner()
    monkeypatch.setattr(training, "VALIDATION_BATCH_SIZE", 4)
    in_parts = make_runner()
    vae = make_vae()
    # Without posterior noise the batches cannot matter.
    layer = vae.encoder.get_layer("z_log_var")
    layer.set_weights([np.zeros_like(w) - 60.0 * (w.ndim == 1) for w in layer.get_weights()])
    for runner in (whole, in_parts):
        runner.restore(*start_of(vae))
    assert in_parts.validate().loss == pytest.approx(whole.validate().loss, rel=1e-6)


def test_one_runner_trains_models_in_turn():
    runner = make_runner()
    reached = [start_of(make_vae(TINY)), start_of(make_vae(OTHER))]
    for epoch in (1, 2):
        for place, state in enumerate(reached):
            runner.restore(*state)
            runner.train(image_order(40, 0, 0, epoch))
            reached[place] = runner.read()
    for state, hyperparameters in zip(reached, (TINY, OTHER), strict=True):
        alone = make_runner(hyperparameters)
        for epoch in (1, 2):
            alone.train(image_order(40, 0, 0, epoch))
        assert_same(state, alone.read())


def test_a_new_model_begins_like_one_that_was_built():
    begun, restored = make_runner(OTHER), make_runner()
    begun.train(image_order(40, 0, 0, 1))
    begun.begin(start_of(make_vae())[0], TINY["learning_rate"])
    assert_same(begun.read(), restored.read())
    for runner in (begun, restored):
        runner.train(image_order(40, 0, 0, 1))
    assert_same(begun.read(), restored.read())


def test_weights_can_be_restored_without_an_optimizer():
    runner = make_runner()
    runner.train(image_order(40, 0, 0, 1))
    (_, optimizer), first = runner.read(), start_of(make_vae())
    runner.restore(first[0])
    assert_same(runner.read(), (first[0], optimizer))


def test_what_is_read_stays_as_it_was_when_training_goes_on():
    runner = make_runner()
    before = runner.read()
    copies = [[array.copy() for array in group] for group in before]
    runner.train(image_order(40, 0, 0, 1))
    assert_same(before, copies)


def test_images_are_encoded_and_decoded_as_by_the_model():
    vae, runner = make_vae(), make_runner()
    images = IMAGES.train.images[:5].astype(np.float32) / np.float32(255)
    z_mean = runner.encode(images)
    np.testing.assert_allclose(z_mean, vae.posterior(images)[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(runner.decode(z_mean), vae.decoder(z_mean), rtol=1e-4, atol=1e-6)


def test_progress_ends_with_the_whole_epoch():
    shares = []
    make_runner(batch_size=3).train(image_order(40, 0, 0, 1), shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 3
    assert shares[-1] == 1.0
