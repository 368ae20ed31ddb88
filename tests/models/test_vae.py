"""The VAE: architecture of the Keras example, losses in nats per image, saving and loading."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers
from long_forms import long

import vaetune
from vaetune.models.build import build_vae, draw_variables
from vaetune.models.losses import binary_cross_entropy, kl_divergence
from vaetune.models.networks import build_decoder, build_encoder
from vaetune.models.optimizer import Adam
from vaetune.models.sampling import Sampling
from vaetune.models.vae import VAE

SHAPE = (8, 8, 1)
TINY = {"filters_1": 3, "filters_2": 4, "dense_units": 5, "latent_dim": 2, "learning_rate": 1e-2}

ARCHITECTURES = {
    "reference": ((28, 28, 1), 2, (32, 64), 16),
    "smallest": ((8, 8, 1), 2, (1, 1), 1),
    "odd sides, colour": ((9, 13, 3), 3, (4, 3), 5),
    "one side divisible by four": ((30, 31, 1), 16, (2, 5), 7),
    "three short of a multiple": ((33, 12, 1), 1, (3, 4), 5),
    "colour": ((28, 28, 3), 4, (4, 4), 8),
    "two channels, wide": ((8, 21, 2), 5, (5, 4), 32),
}


# Helpers.


def make_images(number=7, shape=SHAPE, seed=0):
    """Returns images of very different brightness, so that their losses differ."""
    rng = np.random.default_rng(seed)
    brightness = np.linspace(0.05, 1.0, number).reshape(-1, 1, 1, 1)
    return (brightness * rng.random((number, *shape))).astype(np.float32)


def make_vae(beta=1.0, optimizer=None, shape=SHAPE, latent_dim=2, filters=(3, 4), dense_units=5):
    """Returns a tiny compiled VAE. Equal arguments give equal weights."""
    keras.utils.set_random_seed(5)
    encoder = build_encoder(shape, latent_dim, filters, dense_units)
    vae = VAE(encoder, build_decoder(shape, latent_dim, filters), beta=beta)
    vae.compile(optimizer=optimizer or keras.optimizers.Adam(1e-2))
    return vae


def make_descent():
    """Returns an optimizer that subtracts the gradient, so that a step shows it."""
    return keras.optimizers.SGD(learning_rate=1.0)


def take_step(vae, images):
    """Returns the losses of a `make_descent` step, and the gradients by variable path."""
    before = values(vae.trainable_variables)
    losses = as_floats(vae.train_step(images))
    paths = [variable.path for variable in vae.trainable_variables]
    after = values(vae.trainable_variables)
    return losses, {p: old - new for p, old, new in zip(paths, before, after, strict=True)}


def make_certain(vae):
    """Shrinks the posterior to a point, so that z = z_mean for any noise. Returns the VAE.

    The decoder predicts dark pixels, so bright images have a higher loss.
    """
    kernel, bias = vae.encoder.get_layer("z_log_var").weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign(np.full(bias.shape, -400.0))  # exp(-200) is 0 in float32
    *_, bias = vae.decoder.weights
    bias.assign(np.linspace(-2, -1, *bias.shape))
    return vae


def make_z_matter(vae):
    kernel = vae.decoder.get_layer("logits").kernel
    kernel.assign(30 * kernel.numpy())


def expected_losses(vae, images):
    """Returns reconstruction loss and KL of each image in float64, for a VAE of `make_certain`."""
    z_mean, z_log_var, z = (np.asarray(part, np.float64) for part in vae.encoder(images))
    np.testing.assert_array_equal(z, z_mean)
    p = np.asarray(vae.decoder(z_mean.astype(np.float32)), np.float64)
    return numpy_bce(images, p), numpy_kl(z_mean, z_log_var)


def numpy_bce(images, p):
    x = np.asarray(images, np.float64)
    return -(x * np.log(p) + (1 - x) * np.log1p(-p)).sum(axis=(1, 2, 3))


def numpy_kl(z_mean, z_log_var):
    m, v = np.asarray(z_mean, np.float64), np.exp(np.asarray(z_log_var, np.float64))
    return 0.5 * (m**2 + v - 1 - np.log(v)).sum(axis=1)


def values(variables):
    return [np.array(np.asarray(variable)) for variable in variables]


def assert_equal_bits(ours, theirs):
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def as_floats(logs):
    return {name: float(value) for name, value in logs.items()}


def sampler_state(vae):
    return vae.encoder.get_layer("z").seed_generator.state.numpy().tolist()


# The reference.


def test_encoder_has_the_parameters_of_the_reference():
    assert build_encoder().count_params() == 69_076


def test_decoder_has_the_parameters_of_the_reference():
    assert build_decoder().count_params() == 65_089


def test_vae_has_the_parameters_of_its_two_halves_and_no_more():
    vae = VAE(build_encoder(), build_decoder())
    assert vae.count_params() == 69_076 + 65_089
    assert len(vae.trainable_variables) == 18


def test_encoder_has_the_layers_of_the_reference():
    _, first, second, flatten, dense, z_mean, z_log_var, z = build_encoder().layers
    for layer, filters in ((first, 32), (second, 64)):
        assert type(layer) is layers.Conv2D
        assert (layer.filters, layer.kernel_size, layer.strides) == (filters, (3, 3), (2, 2))
        assert (layer.padding, layer.activation.__name__) == ("same", "relu")
    assert type(flatten) is layers.Flatten
    assert (type(dense), dense.units, dense.activation.__name__) == (layers.Dense, 16, "relu")
    for layer, name in ((z_mean, "z_mean"), (z_log_var, "z_log_var")):
        assert (type(layer), layer.name, layer.units) == (layers.Dense, name, 2)
        assert layer.activation.__name__ == "linear"
    assert type(z) is Sampling


def test_decoder_has_the_layers_of_the_reference():
    _, dense, reshape, first, second, logits, probabilities = build_decoder().layers
    assert (type(dense), dense.units, dense.activation.__name__) == (layers.Dense, 3136, "relu")
    assert reshape.target_shape == (7, 7, 64)
    for layer, filters in ((first, 64), (second, 32)):
        assert type(layer) is layers.Conv2DTranspose
        assert (layer.filters, layer.kernel_size, layer.strides) == (filters, (3, 3), (2, 2))
        assert (layer.padding, layer.activation.__name__) == ("same", "relu")
    assert type(logits) is layers.Conv2DTranspose
    assert (logits.filters, logits.kernel_size, logits.strides) == (1, (3, 3), (1, 1))
    assert (logits.name, logits.padding, logits.activation.__name__) == ("logits", "same", "linear")
    assert probabilities.activation.__name__ == "sigmoid"


def test_build_vae_builds_the_configuration_and_its_optimizer():
    vae = build_vae((9, 13, 3), {**TINY, "latent_dim": 6, "learning_rate": 0.003})
    _, first, second, _, dense, *_ = vae.encoder.layers
    assert (first.filters, second.filters, dense.units) == (3, 4, 5)
    assert (vae.image_shape, vae.latent_dim, vae.beta) == ((9, 13, 3), 6, 1.0)
    assert type(vae.optimizer) is Adam
    assert float(vae.optimizer.learning_rate) == pytest.approx(0.003)
    assert vae.optimizer.built
    assert vae.built


@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 13, 3)])
def test_drawn_variables_equal_those_of_a_model(shape):
    values = {**TINY, "latent_dim": 6, "learning_rate": 0.003}
    keras.utils.set_random_seed(5)
    expected = build_vae(shape, values).variables
    keras.utils.set_random_seed(5)
    drawn = draw_variables(shape, values)
    assert len({float(np.sum(variable)) for variable in drawn}) > 9, "the variables must differ"
    for ours, theirs in zip(drawn, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["filters_1", "filters_2", "dense_units", "latent_dim"])
def test_invalid_sizes_are_refused_when_drawing_variables(name):
    with pytest.raises(ValueError, match="must be at least 1"):
        draw_variables((8, 8, 1), {**TINY, "learning_rate": 1e-3, name: 0})
    with pytest.raises(ValueError, match="at least 8 x 8"):
        draw_variables((7, 8, 1), {**TINY, "learning_rate": 1e-3})


def test_build_vae_with_the_values_of_the_reference_builds_the_reference():
    reference = {"filters_1": 32, "filters_2": 64, "dense_units": 16, "latent_dim": 2}
    vae = build_vae((28, 28, 1), {**reference, "learning_rate": 1e-3})
    assert vae.encoder.count_params() == 69_076
    assert vae.decoder.count_params() == 65_089


# Sampling.


def test_sampling_is_seeded_with_1337_by_default():
    assert Sampling().seed == 1337
    assert build_encoder(SHAPE).get_layer("z").seed == 1337
    assert build_encoder(SHAPE, seed=5).get_layer("z").seed == 5
    zeros = np.zeros((3, 2), np.float32)
    np.testing.assert_array_equal(
        Sampling()([zeros, zeros]),
        keras.random.normal((3, 2), seed=keras.random.SeedGenerator(1337)),
    )


def test_samples_are_equal_only_for_equal_seeds():
    zeros = np.zeros((3, 2), np.float32)
    once, again, other = (np.asarray(Sampling(seed=s)([zeros, zeros])) for s in (7, 7, 8))
    np.testing.assert_array_equal(once, again)
    assert not np.any(once == other)


def test_sampling_draws_new_noise_at_every_call():
    sampling, zeros = Sampling(), np.zeros((3, 2), np.float32)
    assert not np.any(np.asarray(sampling([zeros, zeros])) == np.asarray(sampling([zeros, zeros])))


def test_sampling_shifts_by_the_mean_and_scales_by_the_standard_deviation():
    z_mean = np.tile(np.array([3.0, -1.0], np.float32), (20_000, 1))
    z_log_var = np.tile(np.log(np.array([4.0, 0.25], np.float32)), (20_000, 1))
    z = np.asarray(Sampling()([z_mean, z_log_var]))
    np.testing.assert_allclose(z.mean(axis=0), [3.0, -1.0], atol=5 * 2 / np.sqrt(20_000))
    np.testing.assert_allclose(z.std(axis=0), [2.0, 0.5], rtol=5 / np.sqrt(2 * 20_000))


def test_sampling_can_be_rebuilt_from_its_configuration():
    sampling = Sampling.from_config(json.loads(json.dumps(Sampling(seed=0, name="z").get_config())))
    assert (sampling.seed, sampling.name) == (0, "z")
    assert sampling.seed_generator.state.numpy().tolist() == [0, 0]


# Every architecture.


FEW = ("smallest", "odd sides, colour", "three short of a multiple", "two channels, wide")


@pytest.fixture(params=[*FEW, *long(*(name for name in ARCHITECTURES if name not in FEW))])
def architecture(request):
    return ARCHITECTURES[request.param]


def test_every_architecture_computes_trains_saves_and_loads(architecture, tmp_path):
    shape, latent_dim, filters, dense_units = architecture

    def make():
        return make_vae(1.0, make_descent(), shape, latent_dim, filters, dense_units)

    vae, second, images = make(), make(), make_images(3, shape)

    # Shapes are as expected, and pixels are probabilities.
    z_mean, z_log_var, z = vae.encoder(images)
    assert z_mean.shape == z_log_var.shape == z.shape == (3, latent_dim)
    for pixels in (vae.decoder(z), vae(images)):
        assert pixels.shape == (3, *shape)
        assert np.all((np.asarray(pixels) >= 0) & (np.asarray(pixels) <= 1))
    assert vae.encoder.output_shape == [(None, latent_dim)] * 3
    assert vae.decoder.output_shape == (None, *shape)
    assert (vae.image_shape, vae.latent_dim) == (shape, latent_dim)

    # A fixed seed gives equal samples.
    np.testing.assert_array_equal(z, second.encoder(images)[2])

    # All gradients are finite, and most of them are not zero.
    losses, gradients = take_step(vae, images)
    assert set(losses) == {"loss", "reconstruction_loss", "kl_loss"}
    assert np.all(np.isfinite(list(losses.values())))
    assert len(gradients) == len(vae.trainable_variables)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients.values())
    assert sum(np.any(gradient) for gradient in gradients.values()) > len(gradients) / 2
    vae.reset_metrics()
    assert np.all(np.isfinite(list(as_floats(vae.test_step(images)).values())))

    # A saved and loaded model computes the same bits.
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert type(loaded) is VAE
    assert (loaded.image_shape, loaded.latent_dim) == (shape, latent_dim)
    assert_equal_bits(vae.encoder(images)[:2], loaded.encoder(images)[:2])
    np.testing.assert_array_equal(vae.decoder(z), loaded.decoder(z))


def test_losses_of_every_architecture_are_sums_over_pixels_and_channels(architecture):
    shape, latent_dim, filters, dense_units = architecture
    vae = make_certain(make_vae(0.5, None, shape, latent_dim, filters, dense_units))
    images = make_images(3, shape)
    reconstruction, kl = expected_losses(vae, images)
    measured = as_floats(vae.test_step(images))
    assert measured["reconstruction_loss"] == pytest.approx(reconstruction.mean(), rel=1e-5)
    assert measured["kl_loss"] == pytest.approx(kl.mean(), rel=1e-5)


# Binary cross-entropy.


def test_an_image_repeated_over_three_channels_has_three_times_the_loss():
    rng = np.random.default_rng(1)
    images = rng.random((4, 9, 8, 1)).astype(np.float32)
    logits = rng.normal(0, 3, images.shape).astype(np.float32)
    grey = np.asarray(binary_cross_entropy(images, logits))
    colour = binary_cross_entropy(np.repeat(images, 3, axis=3), np.repeat(logits, 3, axis=3))
    np.testing.assert_allclose(colour, 3 * grey, rtol=1e-6)


@given(
    images=hnp.arrays(np.float32, (2, 3, 2, 3), elements=st.floats(0, 1, width=32)),
    logits=hnp.arrays(np.float32, (2, 3, 2, 3), elements=st.floats(-15, 15, width=32)),
)
@settings(max_examples=50, deadline=None)
def test_cross_entropy_of_logits_equals_that_of_probabilities(images, logits):
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    nats = np.asarray(binary_cross_entropy(images, logits))
    assert nats.shape == (2,)
    np.testing.assert_allclose(nats, numpy_bce(images, p), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True], ids=["eagerly", "in a graph"])
def test_cross_entropy_of_extreme_logits_is_finite_and_correct(compiled):
    x = np.array([0.0, 1.0, 0.5, 0.0, 1.0, 0.25], np.float32).reshape(6, 1, 1, 1)
    logits = np.array([200, 200, 200, -200, -200, -200], np.float32).reshape(6, 1, 1, 1)
    measure = tf.function(binary_cross_entropy) if compiled else binary_cross_entropy
    # max(l, 0) - l x; the missing term log(1 + exp(-200)) is below 1e-86.
    np.testing.assert_allclose(measure(x, logits), [200, 0, 100, 0, 200, 50], rtol=1e-6)


def test_a_decoder_that_is_certain_and_wrong_has_finite_losses_and_gradients():
    vae = make_vae(optimizer=make_descent())
    vae.decoder.get_layer("logits").bias.assign([200.0])
    losses, gradients = take_step(vae, np.zeros((2, *SHAPE), np.float32))
    assert losses["reconstruction_loss"] == pytest.approx(200 * 64, rel=1e-3)
    np.testing.assert_allclose(gradients["logits/bias"], [64.0], rtol=1e-5)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients.values())


# KL.

latent = hnp.arrays(np.float32, (2, 3), elements=st.floats(-4, 4, width=32))


@given(z_mean=latent, z_log_var=latent)
@settings(max_examples=100, deadline=None)
def test_kl_is_the_closed_form_summed_over_dimensions_and_never_negative(z_mean, z_log_var):
    kl = np.asarray(kl_divergence(z_mean, z_log_var))
    assert kl.shape == (2,)
    assert np.all(kl >= -1e-6)
    np.testing.assert_allclose(kl, numpy_kl(z_mean, z_log_var), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("latent_dim", [1, 2, 64])
def test_kl_is_exactly_zero_at_the_prior(latent_dim):
    prior = np.zeros((3, latent_dim), np.float32)
    np.testing.assert_array_equal(kl_divergence(prior, prior), np.zeros(3))


@given(z_mean=latent, z_log_var=latent)
@settings(max_examples=50, deadline=None)
def test_kl_agrees_with_a_monte_carlo_estimate(z_mean, z_log_var):
    samples = 10_000
    epsilon = np.random.default_rng(2014).standard_normal((samples, 1, 3))
    z = z_mean + np.exp(0.5 * z_log_var.astype(np.float64)) * epsilon
    log_q = -0.5 * (z_log_var + epsilon**2)  # without the term -log(2 pi) / 2, as in log_p
    log_p = -0.5 * z**2
    log_ratio = (log_q - log_p).sum(axis=2)  # (samples, 2)
    standard_error = log_ratio.std(axis=0) / np.sqrt(samples)
    error = np.abs(np.asarray(kl_divergence(z_mean, z_log_var)) - log_ratio.mean(axis=0))
    assert np.all(error <= 5 * standard_error + 1e-4)


# The losses.


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_weights_the_kl_in_training_and_not_in_validation(beta):
    vae, images = make_certain(make_vae(beta, keras.optimizers.SGD(0.0))), make_images()
    reconstruction, kl = (part.mean() for part in expected_losses(vae, images))
    expected = {"reconstruction_loss": reconstruction, "kl_loss": kl}

    training = as_floats(vae.train_step(images))
    vae.reset_metrics()
    validation = as_floats(vae.test_step(images))

    assert training == pytest.approx({**expected, "loss": reconstruction + beta * kl}, rel=1e-5)
    assert validation == pytest.approx({**expected, "loss": reconstruction + kl}, rel=1e-5)


def test_beta_zero_trains_on_the_reconstruction_alone():
    _, gradients = take_step(make_certain(make_vae(0.0, make_descent())), make_images())
    # The noise is scaled by 0, so z_log_var only affects the KL.
    np.testing.assert_array_equal(gradients["z_log_var/bias"], [0.0, 0.0])
    assert np.any(gradients["z_mean/kernel"])


def test_gradients_are_those_of_the_mean_weighted_loss_over_images():
    _, gradients = take_step(make_certain(make_vae(4.0, make_descent())), make_images())
    # d KL / d z_log_var = (exp(z_log_var) - 1) / 2 per image and dimension.
    np.testing.assert_allclose(gradients["z_log_var/bias"], [4 * -0.5] * 2, rtol=1e-4)


def test_validation_draws_z_from_the_posterior_and_does_not_decode_its_mean():
    vae, images = make_vae(), make_images()
    make_z_matter(vae)
    sampled = as_floats(vae.test_step(images))["reconstruction_loss"]
    of_mean = numpy_bce(images, np.asarray(vae.decoder(vae.encoder(images)[0]), np.float64)).mean()
    assert abs(sampled - of_mean) > 1e-3


def test_metrics_are_means_over_images_for_any_batch_size():
    vae, images = make_certain(make_vae()), make_images(7)
    reconstruction, kl = expected_losses(vae, images)
    of_batches = np.mean([reconstruction[:4].mean(), reconstruction[4:].mean()])
    # If both means were equal, the test would prove nothing.
    assert of_batches != pytest.approx(reconstruction.mean(), rel=1e-2)

    for batch_size in (4, 7, 1):  # 4 + 3 images, all at once, one by one
        measured = vae.evaluate(images, batch_size=batch_size, verbose=0, return_dict=True)
        expected = {"reconstruction_loss": reconstruction.mean(), "kl_loss": kl.mean()}
        expected["loss"] = (reconstruction + kl).mean()
        assert measured == pytest.approx(expected, rel=1e-5)


def test_metrics_of_fit_are_means_over_images_and_val_loss_is_at_beta_one():
    vae, images = make_certain(make_vae(4.0, keras.optimizers.SGD(0.0))), make_images(7)
    reconstruction, kl = expected_losses(vae, images)
    others = (images[:5],)
    history = vae.fit(
        images, validation_data=others, batch_size=4, shuffle=False, verbose=0
    ).history
    assert history["loss"] == pytest.approx([(reconstruction + 4 * kl).mean()], rel=1e-5)
    assert history["reconstruction_loss"] == pytest.approx([reconstruction.mean()], rel=1e-5)
    assert history["val_loss"] == pytest.approx([(reconstruction + kl)[:5].mean()], rel=1e-5)


# Validation does not affect training.


def test_measuring_a_batch_does_not_advance_the_generator_of_training():
    vae = make_vae()
    before = sampler_state(vae)
    vae.test_step(make_images())
    assert sampler_state(vae) == before


def test_the_posterior_equals_the_encoders_and_does_not_advance_the_generator():
    vae, images = make_vae(), make_images()
    before = sampler_state(vae)
    posterior = vae.posterior(images)
    assert sampler_state(vae) == before
    assert_equal_bits(posterior, vae.encoder(images)[:2])


@pytest.mark.long  # Another test shows that evaluation changes no variable.
def test_evaluation_between_epochs_does_not_change_training():
    images, others = make_images(), make_images(5, seed=1)

    def train(validate):
        vae = make_vae()
        for _ in range(2):
            vae.fit(images, batch_size=4, shuffle=False, verbose=0)
            if validate:
                vae.evaluate(others, batch_size=2, verbose=0)
        return values(vae.variables) + values(vae.optimizer.variables)

    assert_equal_bits(train(validate=True), train(validate=False))


def test_validation_data_do_not_change_training():
    vae = make_vae()
    vae.optimizer.build(vae.ordered_trainable)
    variables = [*vae.variables, *vae.optimizer.variables]
    start, trained = values(variables), []
    for data in (None, (make_images(5, seed=1),)):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        options = {"epochs": 2, "batch_size": 4, "shuffle": False, "verbose": 0}
        vae.fit(make_images(), validation_data=data, **options)
        trained.append(values(variables))
    assert_equal_bits(*trained)
    assert not np.array_equal(trained[0][0], start[0])


def test_repeated_evaluation_gives_equal_losses_and_changes_no_variable():
    vae, images = make_vae(), make_images()
    before = values(vae.variables) + values(vae.optimizer.variables)
    first = vae.evaluate(images, batch_size=4, verbose=0, return_dict=True)
    assert vae.evaluate(images, batch_size=4, verbose=0, return_dict=True) == first
    assert_equal_bits(values(vae.variables) + values(vae.optimizer.variables), before)
    # Draws of the sampler in between make no difference.
    pixels = vae.predict(images, batch_size=4, verbose=0)
    assert pixels.shape == images.shape
    assert np.all((pixels > 0) & (pixels < 1))
    vae(images)
    assert vae.evaluate(images, batch_size=4, verbose=0, return_dict=True) == first
    # Labels are ignored.
    labelled = tf.data.Dataset.from_tensor_slices((images, np.arange(7))).batch(4)
    assert vae.evaluate(labelled, verbose=0, return_dict=True) == first


def test_validation_draws_different_noise_for_each_batch():
    vae, images = make_vae(), np.tile(make_images(1), (4, 1, 1, 1))
    make_z_matter(vae)
    losses = []
    for batch in (images[:2], images[2:]):  # The images are equal, so only the noise can differ.
        before = float(vae.loss_tracker.total)
        vae.test_step(batch)
        losses.append(float(vae.loss_tracker.total) - before)
    assert losses[0] != pytest.approx(losses[1], rel=1e-5)


# Methods of Keras.


def test_fit_lowers_the_loss_and_reports_all_losses_of_training_and_validation():
    vae, images, others = make_vae(), make_images(), make_images(5, seed=1)
    history = vae.fit(images, validation_data=(others,), epochs=15, batch_size=4, verbose=0).history
    names = {"loss", "reconstruction_loss", "kl_loss"}
    assert set(history) == names | {f"val_{name}" for name in names}
    assert all(len(losses) == 15 and np.all(np.isfinite(losses)) for losses in history.values())
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    # `val_loss` equals the result of `evaluate` for the same images and batches.
    measured = vae.evaluate(others, batch_size=4, verbose=0, return_dict=True)
    assert {f"val_{name}": value for name, value in measured.items()} == pytest.approx(
        {name: losses[-1] for name, losses in history.items() if name.startswith("val_")}
    )


# Save and load.


@pytest.mark.parametrize(
    ("make", "beta"),
    [(lambda: make_vae(beta=0.25), 0.25), *long((lambda: build_vae(SHAPE, TINY), 1.0))],
    ids=["compiled by hand", "build_vae"],
)
def test_training_continues_after_a_load_as_without_interruption(make, beta, tmp_path):
    keras.utils.set_random_seed(3)
    vae, images = make(), make_images()
    vae.fit(images, batch_size=4, shuffle=False, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.beta == beta
    assert int(loaded.optimizer.iterations.numpy()) == 2
    assert_equal_bits(values(loaded.optimizer.variables), values(vae.optimizer.variables))
    assert sampler_state(loaded) == sampler_state(vae)
    vae.reset_metrics()
    assert as_floats(vae.test_step(images)) == as_floats(loaded.test_step(images))
    for model in (vae, loaded):
        model.fit(images, batch_size=4, shuffle=False, verbose=0)
    assert_equal_bits(values(loaded.trainable_variables), values(vae.trainable_variables))
    assert_equal_bits(values(loaded.optimizer.variables), values(vae.optimizer.variables))


LOAD_AND_MEASURE = """
import sys
import keras
import numpy as np
import vaetune.models.load

for name in sys.argv[1:]:
    vae = keras.saving.load_model(f"{name}.keras")
    given = np.load(f"{name}.npz")
    z_mean, z_log_var, _ = vae.encoder(given["images"])
    pixels = vae.decoder(given["z"])
    np.savez(f"{name} there.npz", z_mean=z_mean, z_log_var=z_log_var, pixels=pixels)
"""


@pytest.mark.long  # tests/end_to_end/test_record.py compares a search bit for bit.
def test_a_trained_vae_gives_the_same_bits_in_a_new_process(tmp_path):
    shapes = {"grey": (28, 28, 1), "odd sides, colour": (9, 13, 3)}
    z = np.random.default_rng(0).standard_normal((16, 2)).astype(np.float32)
    expected = {}
    for name, shape in shapes.items():
        vae = make_vae(shape=shape, filters=(32, 64), dense_units=16)
        images = make_images(16, shape)
        vae.fit(images, epochs=2, batch_size=8, verbose=0)
        vae.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", images=images, z=z)
        expected[name] = [*vae.encoder(images)[:2], vae.decoder(z)]

    child = subprocess.run(
        [sys.executable, "-c", LOAD_AND_MEASURE, *shapes],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(vaetune.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    for name, here in expected.items():
        there = np.load(tmp_path / f"{name} there.npz")
        assert_equal_bits([there[part] for part in ("z_mean", "z_log_var", "pixels")], here)


def test_a_model_can_be_rebuilt_from_its_configuration():
    vae = make_vae(beta=0.25)
    config = json.dumps(vae.get_config())
    copy = VAE.from_config(json.loads(config))
    assert (copy.beta, copy.name) == (0.25, vae.name)
    assert json.dumps(copy.get_config()) == config
    copy.set_weights(vae.get_weights())
    images = make_images()
    assert_equal_bits(vae.encoder(images)[:2], copy.encoder(images)[:2])


def test_the_classes_are_registered_under_the_name_of_the_package():
    assert keras.saving.get_registered_name(VAE) == "vaetune>VAE"
    assert keras.saving.get_registered_name(Sampling) == "vaetune>Sampling"


# Errors.


WRONG_SIZES = {
    "height under 8": ({"image_shape": (7, 28, 1)}, "at least 8 x 8 pixels. Received: 7 x 28"),
    "width under 8": ({"image_shape": (28, 7, 1)}, "at least 8 x 8 pixels. Received: 28 x 7"),
    "no channel axis": (
        {"image_shape": (28, 28)},
        "must be (height, width, channels). Received: (28, 28)",
    ),
    "no channels": ({"image_shape": (28, 28, 0)}, "`channels` must be at least 1. Received: 0"),
    "one filter": ({"filters": (32,)}, "`filters` must be two numbers. Received: (32,)"),
    "three filters": ({"filters": (8, 8, 8)}, "`filters` must be two numbers. Received: (8, 8, 8)"),
    "zero filters": ({"filters": (0, 64)}, "`filters[0]` must be at least 1. Received: 0"),
    "negative filters": ({"filters": (32, -1)}, "`filters[1]` must be at least 1. Received: -1"),
    "no latent": ({"latent_dim": 0}, "`latent_dim` must be at least 1. Received: 0"),
    "half a latent": ({"latent_dim": 2.5}, "2.5"),
}


@pytest.mark.parametrize("build", [build_encoder, build_decoder])
@pytest.mark.parametrize(("arguments", "message"), WRONG_SIZES.values(), ids=WRONG_SIZES.keys())
def test_invalid_sizes_are_refused(build, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(**arguments)


def test_a_dense_layer_without_units_is_refused():
    with pytest.raises(ValueError, match=r"`dense_units` must be at least 1\. Received: 0"):
        build_encoder(dense_units=0)


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf"), float("-inf")])
def test_a_negative_or_infinite_beta_is_refused(beta):
    message = rf"`beta` must be a finite number of at least 0\. Received: {beta}"
    with pytest.raises(ValueError, match=message):
        VAE(build_encoder(SHAPE), build_decoder(SHAPE), beta=beta)


def test_a_decoder_without_logits_is_refused_and_its_layers_are_listed():
    latent = keras.Input((2,))
    decoder = keras.Model(latent, layers.Dense(3, activation="sigmoid", name="pixels")(latent))
    message = r'must have a layer named "logits".*Received layers: \[.*pixels'
    with pytest.raises(ValueError, match=message):
        VAE(build_encoder(SHAPE), decoder)


def test_a_decoder_of_another_latent_size_is_refused():
    with pytest.raises(ValueError, match=r"expected shapes \(None, 2\) and"):
        VAE(build_encoder(latent_dim=2), build_decoder(latent_dim=3))


def test_a_decoder_of_another_image_shape_is_refused():
    with pytest.raises(ValueError, match="return images of the encoder's shape"):
        VAE(build_encoder((28, 28, 1)), build_decoder((28, 28, 3)))
