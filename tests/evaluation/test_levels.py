"""Evaluations of models with several levels equal an independent computation."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_sets import make_split
from long_forms import long

from vaetune.data.images import to_unit_interval
from vaetune.evaluation import levels
from vaetune.evaluation.levels import LadderSampler, posterior_sampler
from vaetune.evaluation.likelihood import (
    Batches,
    encode,
    expectation,
    importance_weighted_bound,
)
from vaetune.evaluation.metrics import evaluate, knn_accuracy, similarity
from vaetune.models.build import build_vae
from vaetune.report.sections.headline import _test_rows
from vaetune.report.text.evaluations import evaluations_as_json, evaluations_as_table
from vaetune.study.events import TrialEvaluated
from vaetune.study.records import Environment
from vaetune.study.scores import EvaluationProtocol

SHAPE = (13, 16, 1)
TRAIN, TEST = make_split(20, SHAPE, 1), make_split(6, SHAPE, 3)
IMAGES = to_unit_interval(TEST.images)
PROTOCOL = EvaluationProtocol(seed=3, posterior_samples=4, importance_samples=5)
VALUES = {
    "filters_1": 2,
    "filters_2": 3,
    "dense_units": 4,
    "latent_dim": 3,
    "levels": 3,
    "level_channels": 2,
    "activation": "silu",
}
ELBO, IMPORTANCE = 0, 1


@pytest.fixture(scope="module")
def vae():
    keras.utils.set_random_seed(5)
    ladder = build_vae(SHAPE, VALUES)
    random = np.random.default_rng(1)
    for variable in ladder.ordered_trainable:
        # In a new model, the levels hardly depend on the images or on the level above.
        variable.assign(variable + 0.2 * random.standard_normal(variable.shape))
    return ladder


@pytest.fixture(scope="module")
def whole(vae):
    """An evaluation of the model, with all test images in one batch."""
    return evaluate(vae, TEST, TRAIN, PROTOCOL)


# The independent computation, level by level with the normal densities of the latent maps.


def draw_level(vae, number, maps, encoded, noise):
    """The decoder's maps after a level, log p - log q of its latent maps, and its KL by channel."""

    def layer(name, x):
        return vae.networks.get_layer(f"level_{number}_{name}")(x)

    prior_mean, prior_scale = layer("prior_mean", maps), layer("prior_scale", maps)
    hidden = layer("posterior", tf.concat([maps, encoded], -1))
    mean, deviation = layer("mean", hidden), tf.exp(layer("log_var", hidden) / 2)
    latent = prior_mean + prior_scale * (mean + deviation * noise)
    after = maps + layer("update", tf.concat([maps, latent], -1))
    latent, centre, scale, mean, deviation = (
        np.asarray(each, np.float64) for each in (latent, prior_mean, prior_scale, mean, deviation)
    )
    prior = log_normal(latent, centre, scale)
    posterior = log_normal(latent, centre + scale * mean, scale * deviation)
    kl = 0.5 * np.sum(mean**2 + deviation**2 - 1 - 2 * np.log(deviation), axis=(1, 2))
    return after, np.sum(prior - posterior, axis=(1, 2, 3)), kl


def decode_by_hand(vae, z, noise):
    """log p(x | z, u), log p(u) - log q(u | x, z), and the KL of each lower level."""
    layer = vae.networks.get_layer
    encoded = [layer("encoder_conv_1")(IMAGES)]
    encoded.append(layer("encoder_conv_2")(encoded[0]))
    maps = layer("decoder_reshape")(layer("decoder_dense")(z.astype(np.float32)))
    maps, second, second_kl = draw_level(vae, 2, maps, encoded[1], noise[0])
    maps = layer("decoder_conv_2_crop")(layer("decoder_conv_2")(maps))
    maps, third, third_kl = draw_level(vae, 3, maps, encoded[0], noise[1])
    maps = layer("decoder_conv_1_crop")(layer("decoder_conv_1")(maps))
    p = 1 / (1 + np.exp(-np.asarray(layer("logits")(maps), np.float64)))
    x = IMAGES.astype(np.float64)
    likelihood = np.sum(x * np.log(p) + (1 - x) * np.log1p(-p), axis=(1, 2, 3))
    return likelihood, second + third, [second_kl, third_kl]


def log_normal(x, mean, deviation):
    return -0.5 * (math.log(2 * math.pi) + ((x - mean) / deviation) ** 2) - np.log(deviation)


def noise_of(vae, stream, sample):
    """The noise of all images: of the top level, and of each lower level."""
    seed = (PROTOCOL.seed, stream, sample)
    shape = (len(IMAGES), vae.latent_dim)
    top = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    lower = [
        np.random.default_rng((*seed, level, 0)).standard_normal(
            (len(IMAGES), *shape), dtype=np.float32
        )
        for level, shape in enumerate(vae.level_shapes, start=1)
    ]
    return top, lower


def draw_by_hand(vae, stream, sample):
    """One sample of each image: log-likelihood, log prior ratio and KL by lower level."""
    z_mean, z_log_var = (np.asarray(each, np.float64) for each in vae.posterior(IMAGES))
    top, lower = noise_of(vae, stream, sample)
    deviation = np.exp(z_log_var / 2)
    z = z_mean + deviation * top
    own = np.sum(log_normal(z, 0.0, 1.0) - log_normal(z, z_mean, deviation), axis=1)
    likelihood, ratio, kl = decode_by_hand(vae, z, lower)
    return likelihood, own + ratio, kl


def test_the_density_of_a_sample_is_the_product_over_its_levels(vae):
    sampler = posterior_sampler(vae, TEST.images, encode(vae, TEST.images, Batches()), Batches(4))
    draw = sampler((PROTOCOL.seed, ELBO, 2))
    likelihood, ratio, kl = draw_by_hand(vae, ELBO, 2)
    np.testing.assert_allclose(draw.log_likelihood, likelihood, rtol=1e-5)
    np.testing.assert_allclose(draw.log_prior_ratio, ratio, rtol=1e-4, atol=1e-4)
    assert len(draw.lower_kl) == len(kl) == 2
    for found, expected in zip(draw.lower_kl, kl, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_bound_and_the_elbo_follow_from_the_densities(vae, whole):
    found = whole
    weights = [sum(draw_by_hand(vae, IMPORTANCE, sample)[:2]) for sample in range(5)]
    bound = np.log(np.mean(np.exp(np.array(weights)), axis=0))
    assert found.importance_weighted_bound.mean == pytest.approx(-bound.mean(), rel=1e-5)
    z_mean, z_log_var = (np.asarray(each, np.float64) for each in vae.posterior(IMAGES))
    top_kl = 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var)
    draws = [draw_by_hand(vae, ELBO, sample) for sample in range(4)]
    lower_kl = [np.mean([draw[2][level] for draw in draws], axis=0) for level in range(2)]
    kl = top_kl.sum(axis=1) + sum(each.sum(axis=1) for each in lower_kl)
    reconstruction = -np.mean([draw[0] for draw in draws], axis=0)
    assert found.reconstruction.mean == pytest.approx(reconstruction.mean(), rel=1e-5)
    assert found.kl.mean == pytest.approx(kl.mean(), rel=1e-5)
    assert found.negative_elbo.mean == pytest.approx((reconstruction + kl).mean(), rel=1e-5)
    assert found.kl_per_dimension == pytest.approx(top_kl.mean(axis=0), rel=1e-5)
    for level, one in zip(lower_kl, found.lower_levels, strict=True):
        assert one.kl_per_channel == pytest.approx(level.mean(axis=0), rel=1e-4)


def test_one_sample_estimates_the_elbo_and_more_samples_raise_the_bound(vae):
    images = np.repeat(TEST.images[:1], 1000, axis=0)
    sampler = posterior_sampler(vae, images, encode(vae, images, Batches()), Batches())
    expected = expectation(sampler, 1, 0)
    kl = sum(each.sum(axis=1) for each in expected.lower_kl)
    z_mean, z_log_var = (np.asarray(each, np.float64) for each in vae.posterior(IMAGES[:1]))
    kl = kl + 0.5 * np.sum(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var)
    elbo = expected.log_likelihood - kl
    single = importance_weighted_bound(sampler, 1, 0)
    error = math.hypot(single.std(), elbo.std()) / math.sqrt(len(images))
    assert abs(single.mean() - elbo.mean()) < 4 * error
    bounds = [importance_weighted_bound(sampler, k, 0).mean() for k in (1, 2, 8)]
    assert bounds == sorted(bounds)
    assert bounds[2] > bounds[0] + 4 * error


@pytest.mark.parametrize("size", [4, *long(1)])
def test_the_size_of_the_batches_does_not_change_the_result(vae, whole, size):
    parts = evaluate(vae, TEST, TRAIN, PROTOCOL, batches=Batches(size))
    assert parts.negative_elbo.mean == pytest.approx(whole.negative_elbo.mean, rel=1e-6)
    assert parts.importance_weighted_bound.mean == pytest.approx(
        whole.importance_weighted_bound.mean, rel=1e-6
    )
    for one, other in zip(whole.lower_levels, parts.lower_levels, strict=True):
        assert other.variance_per_channel == pytest.approx(one.variance_per_channel, rel=1e-4)


def test_images_are_sampled_in_chunks_with_independent_noise(vae, monkeypatch):
    monkeypatch.setattr(levels, "CHUNK_IMAGES", 4)
    images = np.repeat(TEST.images[:1], 6, axis=0)
    posterior = encode(vae, images, Batches())
    sampler = LadderSampler(vae, images, posterior, Batches(3), lambda images: None)
    found = sampler((0, 0, 0))
    assert len(set(found.log_likelihood.tolist())) == 6
    monkeypatch.setattr(levels, "CHUNK_IMAGES", 6)
    whole = LadderSampler(vae, images, posterior, Batches(), lambda images: None)((0, 0, 0))
    np.testing.assert_allclose(found.log_likelihood[:4], whole.log_likelihood[:4], rtol=1e-6)


def test_reconstructions_use_the_means_of_all_levels(vae, whole):
    _, _, *maps = vae.bottom_up(IMAGES)
    zeros = [tf.zeros((len(IMAGES), *shape)) for shape in vae.level_shapes]
    logits = vae.top_down([vae.posterior(IMAGES)[0], *maps, *zeros])[0]
    psnr, ssim = similarity(IMAGES, tf.sigmoid(logits), whole.ssim_window)
    assert whole.psnr == pytest.approx(float(np.mean(psnr)), rel=1e-5)
    assert whole.ssim == pytest.approx(float(np.mean(ssim)), abs=1e-5)
    top_only, _ = similarity(IMAGES, vae.decoder(vae.posterior(IMAGES)[0]), whole.ssim_window)
    assert whole.psnr != pytest.approx(float(np.mean(top_only)), abs=0.01)


def test_the_active_channels_of_a_level_are_counted(vae):
    mean = vae.networks.get_layer("level_2_mean")
    before = [each.numpy() for each in mean.variables]
    kernel = before[0].copy()
    kernel[..., 1] = 0.0
    mean.kernel.assign(kernel)
    try:
        found = evaluate(vae, TEST, TRAIN, PROTOCOL)
    finally:
        for variable, value in zip(mean.variables, before, strict=True):
            variable.assign(value)
    second = found.lower_levels[0]
    assert second.size == (4, 4)
    assert second.variance_per_channel[0] > 0.01
    assert second.variance_per_channel[1] == pytest.approx(0.0, abs=1e-9)
    assert found.active_channels[0] == 1
    assert [one.size for one in found.lower_levels] == [(4, 4), (7, 8)]
    assert len(found.variance_per_dimension) == 3


def test_the_variance_of_a_channel_is_summed_over_its_positions(vae, whole):
    _, _, *maps = vae.bottom_up(IMAGES)
    zeros = [tf.zeros((len(IMAGES), *shape)) for shape in vae.level_shapes]
    means = vae.top_down([vae.posterior(IMAGES)[0], *maps, *zeros])[1::2]
    for one, mean in zip(whole.lower_levels, means, strict=True):
        expected = np.var(mean, axis=0, dtype=np.float64).sum(axis=(0, 1))
        assert one.variance_per_channel == pytest.approx(expected, rel=1e-4)


def test_neighbours_are_those_of_the_top_level(vae, whole):
    train, test = (encode(vae, split.images, Batches())[0] for split in (TRAIN, TEST))
    assert train.shape == (20, 3)
    expected = knn_accuracy(train, TRAIN.labels, test, TEST.labels, PROTOCOL.neighbours)
    assert whole.knn_accuracy == expected


def test_progress_ends_at_1(vae):
    shares = []
    evaluate(vae, TEST, TRAIN, PROTOCOL, shares.append, Batches(4))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


# Records and texts


@pytest.fixture(scope="module")
def events(vae):
    """The evaluation of a model with three levels, and of one with a single level."""
    keras.utils.set_random_seed(5)
    single = build_vae(SHAPE, {name: VALUES[name] for name in ("filters_1", "latent_dim")})
    fields = {"python": "", "platform": "", "cpu": "", "cores": 1, "threads": 1, "device": "CPU"}
    environment = Environment(**fields, versions={}, revision=None, command=())
    return [
        TrialEvaluated(
            time=datetime(2026, 1, 1, tzinfo=UTC),
            trial_id=name,
            epoch=1,
            evaluation=evaluate(model, TEST, TRAIN, PROTOCOL),
            duration_s=1.0,
            environment=environment,
        )
        for name, model in (("0001", vae), ("0000", single))
    ]


def test_the_journal_has_lower_levels_only_for_models_with_several_levels(events):
    several, single = (json.loads(event.model_dump_json()) for event in events)
    assert len(several["evaluation"]["lower_levels"]) == 2
    assert "lower_levels" not in single["evaluation"]
    for event in events:
        assert TrialEvaluated.model_validate_json(event.model_dump_json()) == event


def test_the_table_shows_the_use_of_each_level(events):
    several, single = events
    table = evaluations_as_table({"ladder": several, "single": single})
    active = several.evaluation.active_channels
    (row,) = (line for line in table.splitlines() if "active channels, level 2" in line)
    assert row.split()[4:] == [*f"{active[0]} of 2 (4 x 4)".split(), "-"]
    assert "level 3" in table
    assert "means decoded (no ELBO), PSNR" in table
    kl = ", ".join(f"{each:.2f}" for each in several.evaluation.lower_levels[1].kl_per_channel)
    assert f"  ladder, level 3: {kl}" in table
    single_table = evaluations_as_table({"single": single})
    assert "level" not in single_table
    assert "z_mean decoded (no ELBO), PSNR" in single_table


def test_the_json_has_the_levels(events):
    several, single = json.loads(evaluations_as_json(dict(zip("ab", events, strict=True))))
    assert several["active_channels"] == list(events[0].evaluation.active_channels)
    assert several["lower_levels"][0]["size"] == [4, 4]
    assert not {"lower_levels", "active_channels"} & set(single)


def test_the_report_has_a_row_for_each_level(events):
    several, single = (event.evaluation for event in events)
    rows = {row.name: row for row in _test_rows(several, single)}
    assert rows["Active channels, level 2"].winner == f"{several.active_channels[0]} of 2"
    assert "Active channels, level 3" in rows
    assert not any("level" in row.name for row in _test_rows(single, None))
    assert len(list(_test_rows(replace(single), several))) == len(rows)
