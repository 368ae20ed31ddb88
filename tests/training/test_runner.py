"""Epochs: training does not depend on the number of calls, and validation changes nothing."""

from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_sets import make_images

from vaetune.config.spec import SearchSpec
from vaetune.data.zero_copy import empty_aligned
from vaetune.models.build import build_vae
from vaetune.training import feed as feed_module, functions, runner as runner_module
from vaetune.training.feed import DeviceData, put_on_device
from vaetune.training.restore import read_variables
from vaetune.training.runner import EpochRunner
from vaetune.training.schedule import Epoch, StepSettings, image_order, plan_epoch

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


def variables_of(vae):
    return read_variables(vae.variables), read_variables(vae.optimizer.variables)


def begin(runner, hyperparameters=TINY):
    """Puts a new model of a configuration into a runner, and returns the runner."""
    runner.restore(*variables_of_new(tuple(hyperparameters.items())))
    return runner


@cache
def variables_of_new(hyperparameters):
    return variables_of(make_vae(dict(hyperparameters)))


def make_runner(data=None):
    """Returns a runner that was made for another configuration, with a model of `TINY`."""
    return begin(EpochRunner(make_vae(OTHER), data or put_on_device(IMAGES)))


@pytest.fixture(scope="module")
def shared_runner():
    """The runner that most tests share. It keeps its compiled functions."""
    return make_runner()


@pytest.fixture
def runner(shared_runner):
    """A runner that was made for another configuration, with a new model of `TINY`."""
    return begin(shared_runner)


def epoch_of(number=1, batch_size=16, **kwargs):
    return Epoch(image_order(40, 0, 0, number), batch_size, **kwargs)


def assert_same(ours, theirs):
    for group, other_group in zip(ours, theirs, strict=True):
        for one, other in zip(group, other_group, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_order_is_a_permutation():
    assert sorted(image_order(50, seed=1, configuration=2, epoch=3)) == list(range(50))


@pytest.mark.parametrize("other", [(9, 2, 3), (1, 9, 3), (1, 2, 9)])
def test_an_order_depends_on_seed_configuration_and_epoch(other):
    assert not np.array_equal(image_order(50, 1, 2, 3), image_order(50, *other))


def test_an_order_does_not_depend_on_global_random_state():
    first = image_order(50, 1, 2, 3)
    np.random.default_rng().random(10)
    keras.utils.set_random_seed(99)
    np.testing.assert_array_equal(first, image_order(50, 1, 2, 3))


def test_an_epoch_has_one_step_per_batch_and_a_shorter_last_batch(runner):
    runner.train(epoch_of())
    _, optimizer = runner.read()
    assert optimizer[0] == 3


def test_an_epoch_equals_an_epoch_of_keras_fit_in_the_same_order(runner):
    order, theirs = image_order(40, 0, 0, 1), make_vae()
    losses = runner.train(epoch_of())
    images = IMAGES.train.images[order].astype("float32") / 255.0
    history = theirs.fit(images, batch_size=16, shuffle=False, verbose=0).history
    assert losses.loss == pytest.approx(history["loss"][0], rel=1e-5)
    assert losses.kl_loss == pytest.approx(history["kl_loss"][0], rel=1e-4)
    for group, their_group in zip(runner.read(), variables_of(theirs), strict=True):
        for one, other in zip(group, their_group, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_the_number_of_compiled_calls_changes_nothing(runner, monkeypatch):
    results = []
    for calls in (1, 2, 10):
        monkeypatch.setattr(feed_module, "CALLS_PER_EPOCH", calls)
        begin(runner)
        results.append((runner.train(epoch_of(batch_size=8)), runner.read()))
    (first, variables), *others = results
    for losses, theirs in others:
        assert losses == first
        assert_same(variables, theirs)


def test_bytes_and_floats_of_the_same_images_train_equally(runner):
    as_floats = DeviceData(
        tf.constant(IMAGES.train.images.astype("float32") / np.float32(255)),
        tf.constant(IMAGES.validation.images.astype("float32") / np.float32(255)),
    )
    losses = []
    for each in (runner, make_runner(as_floats)):
        each.train(epoch_of())
        losses.append(each.validate().loss)
    # TensorFlow and NumPy divide by 255 differently: the last bit may differ.
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_validation_changes_nothing_and_is_reproducible(runner):
    runner.train(epoch_of())
    before = runner.read()
    assert runner.validate() == runner.validate()
    assert_same(before, runner.read())


def test_validation_covers_every_image_once(runner, monkeypatch):
    vae = make_vae()
    # Without posterior noise, the losses do not depend on the batches.
    layer = vae.encoder.get_layer("z_log_var")
    layer.set_weights([np.zeros_like(w) - 60.0 * (w.ndim == 1) for w in layer.get_weights()])
    runner.restore(*variables_of(vae))
    whole = runner.validate()
    for module in (runner_module, functions):
        monkeypatch.setattr(module, "VALIDATION_BATCH_SIZE", 4)
    in_parts = make_runner()
    in_parts.restore(*variables_of(vae))
    assert in_parts.validate().loss == pytest.approx(whole.loss, rel=1e-6)


def test_one_runner_trains_models_in_turn(runner):
    reached = [variables_of(make_vae(TINY)), variables_of(make_vae(OTHER))]
    for epoch in (1, 2):
        for place, state in enumerate(reached):
            runner.restore(*state)
            runner.train(epoch_of(epoch))
            reached[place] = runner.read()
    alone = make_runner()
    for state, hyperparameters in zip(reached, (TINY, OTHER), strict=True):
        begin(alone, hyperparameters)
        for epoch in (1, 2):
            alone.train(epoch_of(epoch))
        assert_same(state, alone.read())


def test_beginning_from_weights_equals_building_a_new_model(runner):
    restored = [runner.read()]
    runner.train(epoch_of())
    restored.append(runner.read())
    begin(runner, OTHER).train(epoch_of())
    runner.begin(variables_of(make_vae())[0], TINY["learning_rate"])
    assert_same(runner.read(), restored[0])
    runner.train(epoch_of())
    assert_same(runner.read(), restored[1])


def test_weights_can_be_restored_without_an_optimizer(runner):
    runner.train(epoch_of())
    (_, optimizer), first = runner.read(), variables_of(make_vae())
    runner.restore(first[0])
    assert_same(runner.read(), (first[0], optimizer))


def test_variables_that_were_read_do_not_change_with_further_training(runner):
    before = runner.read()
    copies = [[array.copy() for array in group] for group in before]
    runner.train(epoch_of())
    assert_same(before, copies)


def test_images_are_encoded_and_decoded_as_by_the_model(runner):
    vae = make_vae()
    images = IMAGES.train.images[:5].astype(np.float32) / np.float32(255)
    z_mean = runner.encode(images)
    np.testing.assert_allclose(z_mean, vae.posterior(images)[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(runner.decode(z_mean), vae.decoder(z_mean), rtol=1e-4, atol=1e-6)


def test_progress_ends_with_the_whole_epoch(runner):
    shares = list(runner.train_in_parts(epoch_of(batch_size=3)))
    assert shares == sorted(shares)
    assert len(shares) > 3
    assert shares[-1] == 1.0


def test_one_runner_trains_with_any_batch_size(runner):
    steps = []
    for batch_size in (16, 8, 40):
        begin(runner).train(epoch_of(batch_size=batch_size))
        steps.append(int(runner.read()[1][0]))
    assert steps == [3, 5, 1]


def test_beta_weights_the_kl_divergence_only_in_training(runner):
    validated = {}
    for beta in (0.0, 1.0, 50.0):
        losses = begin(runner).train(epoch_of(settings=StepSettings(beta=beta)))
        validated[beta] = runner.validate()
        assert losses.loss == pytest.approx(losses.reconstruction_loss + beta * losses.kl_loss)
    assert validated[0.0].kl_loss > validated[1.0].kl_loss > validated[50.0].kl_loss
    for losses in validated.values():
        assert losses.loss == pytest.approx(losses.reconstruction_loss + losses.kl_loss)


def test_a_learning_rate_of_zero_changes_no_weight(runner):
    runner.train(epoch_of(learning_rate=lambda share: 0.0))
    first = read_variables(make_vae().variables)
    trained = [a for a in runner.read()[0] if a.dtype == np.float32]
    for one, other in zip(trained, (a for a in first if a.dtype == np.float32), strict=True):
        np.testing.assert_array_equal(one, other)


def single(**training):
    return SearchSpec.model_validate(
        {
            "algorithm": "single",
            "budget": {"max_epochs": 4},
            "training": training,
            "space": {"learning_rate": {"value": 0.01}},
        }
    )


def test_a_cosine_decreases_from_the_initial_rate_to_zero_over_the_budget():
    spec = single(learning_rate_decay="cosine")
    epochs = [plan_epoch(spec, TINY, 40, 0, number) for number in (1, 2, 3, 4)]
    rates = [epoch.learning_rate(share) for epoch in epochs for share in (0.0, 0.5)]
    assert rates[0] == 0.01
    assert rates[4] == pytest.approx(0.005)
    assert rates == sorted(rates, reverse=True)
    assert epochs[-1].learning_rate(1.0) == pytest.approx(0.0, abs=1e-12)
    assert plan_epoch(single(), TINY, 40, 0, 1).learning_rate is None


def test_batch_size_and_beta_of_a_configuration_override_the_defaults():
    own = TINY | {"batch_size": 7, "beta": 0.5}
    epoch = plan_epoch(single(), own, 40, 0, 1)
    assert (epoch.batch_size, epoch.settings.beta) == (7, 0.5)
    epoch = plan_epoch(single(batch_size=9), TINY, 40, 0, 1)
    assert (epoch.batch_size, epoch.settings.beta) == (9, 1.0)


@pytest.fixture(scope="module")
def runner_of_drawn_pixels():
    """A runner that draws black and white pixels from grey images."""
    grey = np.full((40, *IMAGES.image_shape), 128, np.uint8)
    return make_runner(DeviceData(tf.constant(grey), tf.constant(grey[:4]), draws_pixels=True))


def test_pixels_are_drawn_again_in_each_epoch_and_depend_only_on_the_seed(runner_of_drawn_pixels):
    drawn = []
    for number, seed in ((1, 5), (1, 5), (1, 6)):
        runner = begin(runner_of_drawn_pixels)
        drawn.append(runner.train(epoch_of(number, noise_seed=seed)).reconstruction_loss)
    assert drawn[0] == drawn[1] != drawn[2]
    seeds = {plan_epoch(single(), TINY, 40, 0, number).noise_seed for number in range(1, 9)}
    assert len(seeds) == 8


def test_drawn_pixels_do_not_depend_on_the_number_of_compiled_calls(
    runner_of_drawn_pixels, monkeypatch
):
    losses = []
    for calls in (1, 2):
        monkeypatch.setattr(feed_module, "CALLS_PER_EPOCH", calls)
        losses.append(begin(runner_of_drawn_pixels).train(epoch_of(batch_size=8)))
    assert losses[0] == losses[1]


def test_drawn_pixels_are_zeros_and_ones_with_the_mean_of_the_pixels():
    images = tf.constant(np.full((20, 50, 50, 1), 0.3, np.float32))
    pixels = functions._draw_pixels(images, tf.constant([3, 4])).numpy()
    assert set(np.unique(pixels)) == {0.0, 1.0}
    assert pixels.mean() == pytest.approx(0.3, abs=0.01)
    black_and_white = tf.constant([[[[0.0], [1.0]]]])
    np.testing.assert_array_equal(
        functions._draw_pixels(black_and_white, tf.constant([0, 0])), black_and_white
    )


def test_a_batch_size_above_the_number_of_images_takes_all_images(runner):
    runner.train(epoch_of(batch_size=64))
    whole, (_, optimizer) = runner.read(), runner.read()
    assert optimizer[0] == 1
    begin(runner).train(epoch_of(batch_size=40))
    assert_same(runner.read(), whole)


def test_aligned_images_are_not_copied(aligned):
    data = put_on_device(aligned)
    aligned.train.images[0, 0, 0, 0] ^= 255
    assert int(data.train[0, 0, 0, 0]) == aligned.train.images[0, 0, 0, 0]


def test_unaligned_images_are_copied():
    unaligned = make_images()
    memory = np.zeros(unaligned.train.images.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + 1
    images = memory[start : start + unaligned.train.images.nbytes].reshape(40, 9, 10, 1)
    data = put_on_device(replace(unaligned, train=replace(unaligned.train, images=images)))
    images[:] = 9
    assert int(tf.reduce_max(data.train)) == 0


def test_training_is_the_same_with_and_without_a_copy_of_the_images(runner, aligned):
    losses = [
        (each.train(epoch_of()), each.validate())
        for each in (runner, make_runner(put_on_device(aligned)))
    ]
    assert losses[0] == losses[1]


@pytest.fixture
def aligned():
    """The images in aligned memory, like images read from a folder."""
    images = make_images()
    train = empty_aligned(images.train.images.shape)
    train[:] = images.train.images
    return replace(images, train=replace(images.train, images=train))


def test_a_planned_batch_size_is_at_most_the_number_of_images():
    epoch = plan_epoch(single(), TINY | {"batch_size": 4_000_000_000}, 40, 0, 1)
    assert epoch.batch_size == 40
