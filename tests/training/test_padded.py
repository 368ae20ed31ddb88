"""A compiled program of the largest widths trains narrower models like their own steps."""

import math
from dataclasses import astuple
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from long_forms import long

from vaetune.models.architecture import Architecture
from vaetune.models.build import build_template, draw_variables
from vaetune.training import functions, runner as runner_module
from vaetune.training.feed import DeviceData
from vaetune.training.padded import functions as padded_functions
from vaetune.training.padded.noise import normal, uniform
from vaetune.training.padded.padding import fits, padding_of
from vaetune.training.padded.products import convolve, convolve_transposed
from vaetune.training.padded.runner import PaddedRunner
from vaetune.training.restore import read_variables
from vaetune.training.runner import EpochRunner
from vaetune.training.schedule import OPTIONS, Epoch, StepSettings

NARROW = {"filters_1": 4, "filters_2": 6, "dense_units": 8, "latent_dim": 2, "level_channels": 2}
WIDE = {"filters_1": 8, "filters_2": 9, "dense_units": 12, "latent_dim": 5, "level_channels": 3}
GROUPED = (
    {"filters_1": 8, "filters_2": 8, "dense_units": 8, "latent_dim": 2},
    {
        "filters_1": 16,
        "filters_2": 24,
        "dense_units": 16,
        "latent_dim": 3,
    },
)
PLAIN, EVERYTHING = StepSettings(), StepSettings(1.0, 5.0, 3.0, 0.9, 0.1, 0.01, 1.0)
STRUCTURES = {
    "the Keras example, averages and all settings": (
        {},
        (NARROW, WIDE),
        {"settings": EVERYTHING},
    ),
    "the Keras example": ({}, (NARROW, WIDE), {}),
    "levels, averages and all settings": (
        {"levels": 2, "activation": "gelu", "output_stride": 2},
        (NARROW, WIDE),
        {"settings": EVERYTHING},
    ),
    "dense, batch norm, odd colour, a learned scale": (
        {"encoder": "dense", "decoder": "dense", "normalization": "batch"},
        (NARROW, WIDE),
        {"shape": (11, 9, 3), "likelihood": "gaussian"},
    ),
    "batch norm and residual blocks": (
        {"normalization": "batch", "blocks": 1, "activation": "silu"},
        (NARROW, WIDE),
        {"shape": (11, 9, 3), "settings": StepSettings(1.0, 5.0, 0.0, 0.9)},
    ),
    "group norm, three stages, drawn pixels": (
        {"normalization": "group", "blocks": 1, "activation": "elu", "stages": 3},
        GROUPED,
        {"shape": (16, 20, 1), "draws_pixels": True},
    ),
}
SIMPLE, *MOST = STRUCTURES


class Pair:
    """The runner of a narrow model, and a padded one with the same weights and images."""

    def __init__(
        self,
        structure,
        widths,
        settings=PLAIN,
        shape=(12, 12, 1),
        likelihood="bernoulli",
        draws_pixels=False,
        count=75,
        validation=270,
        dtype=np.uint8,
    ):
        self.narrow, self.wide = ({**structure, **each} for each in widths)
        self.shape, self.likelihood, self.settings = shape, likelihood, settings
        random = np.random.default_rng(0)
        images = (
            (random.random((number, *shape)) ** 4 * (255 if dtype == np.uint8 else 1)).astype(dtype)
            for number in (count, validation)
        )
        self.data = DeviceData(*map(tf.constant, images), draws_pixels)
        options = frozenset(name for name in OPTIONS if getattr(settings, name))
        self.plain = EpochRunner(self._build(self.narrow), self.data, options=options)
        self.padded = PaddedRunner(
            Architecture.of(shape, self.wide),
            self._build(self.wide),
            EpochRunner(self._build(self.narrow), self.data),
            self.data,
            options=options,
        )
        self.begin()

    def _build(self, values):
        return build_template(self.shape, values, self.likelihood)

    def weights(self, values=None):
        keras.utils.set_random_seed(3)
        means = [0.2] * self.shape[2]
        drawn = draw_variables(self.shape, values or self.narrow, means, self.likelihood, 0.3)
        return read_variables(drawn)

    def begin(self, rate=3e-3):
        weights = self.weights()
        self.padded.use(Architecture.of(self.shape, self.narrow))
        for runner in (self.plain, self.padded):
            runner.begin(weights, rate)

    def epoch(self, number=1):
        images = len(self.data.train)
        order = np.random.default_rng(number).permutation(images).astype(np.int32)
        # 13 steps in 7 calls of 2 steps: step 13 has 3 images, and step 14 has none.
        return Epoch(order, 6, self.settings, noise_seed=number)


@pytest.fixture(scope="module")
def pair_of():
    """Returns a function that makes the pair of a structure once and keeps it."""

    @cache
    def make_pair(name):
        structure, widths, others = STRUCTURES[name]
        return Pair(structure, widths, **others)

    return make_pair


@pytest.fixture(params=[SIMPLE, *long(*MOST)])
def pair(request, pair_of):
    """A pair with compiled programs. XLA takes seconds to compile each structure.

    The test in float64 computes the steps of other structures without XLA, except in its long form.
    """
    return pair_of(request.param)


def assert_close(ours, theirs, relative=1e-5):
    for name in ("loss", "reconstruction_loss", "kl_loss"):
        assert math.isclose(
            getattr(ours, name), getattr(theirs, name), rel_tol=relative, abs_tol=1e-4
        )


def assert_arrays_close(ours, theirs, tolerance):
    assert [one.shape for one in ours] == [one.shape for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def test_epochs_equal_those_of_the_narrow_model(pair):
    pair.begin()
    assert pair.padded.parameters == pair.plain.parameters
    for number in (1, 2):
        epoch = pair.epoch(number)
        assert_close(pair.padded.train(epoch), pair.plain.train(epoch))
        assert_close(pair.padded.validate(), pair.plain.validate())
    for ours, theirs in zip(pair.padded.read(), pair.plain.read(), strict=True):
        assert_arrays_close(ours, theirs, 2e-3)
    assert_arrays_close(pair.padded.read_average(), pair.plain.read_average(), 2e-3)


EXACT = {
    "levels, all settings": (
        {"levels": 2, "activation": "gelu", "output_stride": 2},
        (NARROW, WIDE),
        {"settings": EVERYTHING},
    ),
    "batch norm, residual blocks, odd colour, a learned scale": (
        {"normalization": "batch", "blocks": 1, "activation": "silu"},
        (NARROW, WIDE),
        {"shape": (11, 9, 3), "likelihood": "gaussian", "settings": StepSettings(0.5, 5.0, 3.0)},
    ),
    "group norm, dense, averages, drawn pixels": (
        {"normalization": "group", "encoder": "dense", "decoder": "dense"},
        GROUPED,
        {"shape": (8, 8, 1), "draws_pixels": True, "settings": StepSettings(1.0, 0.0, 0.0, 0.9)},
    ),
}


def trace(_, function, *signature):
    return tf.function(function, input_signature=signature, autograph=False)


WITHOUT_XLA = {"traced": trace, "as written": lambda _, function, *__: function}


@pytest.fixture
def in_float64(request, monkeypatch):
    """Builds models in float64 that all draw the same noise.

    Its parameter says how padded steps run: "traced", "as written" or "compiled".
    """
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    for module in (runner_module, functions, padded_functions):
        monkeypatch.setattr(module, "VALIDATION_BATCH_SIZE", 25)
    monkeypatch.setattr(functions, "compile_function", lambda function, *_: function)
    if request.param in WITHOUT_XLA:
        monkeypatch.setattr(padded_functions, "_compile", WITHOUT_XLA[request.param])
    monkeypatch.setattr(
        tf.random,
        "stateless_normal",
        lambda shape, seed, alg=None: normal(shape.numpy().tolist(), seed, dtype=tf.float64),
    )
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(
    ("name", "in_float64"),
    [
        *zip(EXACT, ("traced", "as written", "as written"), strict=True),
        *long(*((name, "compiled") for name in EXACT)),  # Compiling takes 8 to 15 s.
    ],
    indirect=["in_float64"],
)
def test_in_float64_padding_changes_nothing(name):
    structure, widths, others = EXACT[name]
    # 8-bit pixels would be divided in float32.
    pair = Pair(structure, widths, count=16, validation=28, dtype=np.float32, **others)
    for number in (1, 2):
        trained = [one.train(pair.epoch(number)) for one in (pair.padded, pair.plain)]
        validated = [one.validate() for one in (pair.padded, pair.plain)]
        for ours, theirs in (trained, validated):
            assert astuple(ours) == pytest.approx(astuple(theirs), rel=1e-8)
    for ours, theirs in zip(*rescored(pair, images=7), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    variables = [(*sum(one.read(), ()), *one.read_average()) for one in (pair.padded, pair.plain)]
    for ours, theirs in zip(*variables, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8 * np.abs(theirs).max())


def test_a_call_without_images_compiles_and_changes_nothing(pair):
    pair.begin()
    pair.padded.train(pair.epoch())
    before = [*pair.padded.read(), pair.padded.read_average()]
    for compilation in pair.padded._compilations:
        compilation._compile_now()
    after = [*pair.padded.read(), pair.padded.read_average()]
    for ours, theirs in zip(after, before, strict=True):
        assert_arrays_close(ours, theirs, 0.0)


def test_padding_stays_exactly_zero(pair):
    pair.begin()
    pair.padded.train(pair.epoch())
    padding = padding_of(
        Architecture.of(pair.shape, pair.narrow),
        Architecture.of(pair.shape, pair.wide),
        pair._build(pair.wide).ordered_variables,
    )
    for wide in (EpochRunner.read(pair.padded)[0], EpochRunner.read_average(pair.padded)):
        for array, back in zip(wide, padding.pad(padding.cut(wide)), strict=True):
            np.testing.assert_array_equal(array, back)


@pytest.mark.parametrize(("first", "second"), [("plain", "padded"), ("padded", "plain")])
def test_each_kind_of_runner_continues_the_training_of_the_other(pair, first, second):
    pair.begin()
    one, other = getattr(pair, first), getattr(pair, second)
    one.train(pair.epoch())
    weights, optimizer = one.read()
    other.restore(weights, optimizer, one.read_average())
    assert_arrays_close(other.read()[1], optimizer, 0.0)
    assert_close(other.validate(), one.validate())
    assert_close(other.train(pair.epoch(2)), one.train(pair.epoch(2)))


def test_encodings_reconstructions_and_losses_equal_those_of_the_narrow_model(pair):
    pair.begin()
    for runner in (pair.padded, pair.plain):
        runner.train(pair.epoch())
    images = np.random.default_rng(0).random((3, *pair.shape), np.float32)
    np.testing.assert_allclose(
        pair.padded.encode_levels(images), pair.plain.encode_levels(images), atol=1e-3
    )
    np.testing.assert_allclose(
        pair.padded.reconstruct(images), pair.plain.reconstruct(images), atol=1e-3
    )
    np.testing.assert_allclose(pair.padded.encode(images), pair.plain.encode(images), atol=1e-3)
    losses = [one.losses_of_images(images, 2, (0, 1)) for one in (pair.padded, pair.plain)]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    whole = sum(pair.plain._rescore(tf.constant(images), 2, (0, 1)))
    np.testing.assert_allclose(losses[1][0], whole, rtol=1e-4)
    if pair.likelihood == "bernoulli":
        entropy = -(images * np.log(images) + (1 - images) * np.log1p(-images)).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(losses[1][1], entropy, rtol=1e-4)


def rescored(pair, images):
    """Losses of some images with three samples of each posterior, by both runners."""
    arguments = pair.data.validation, tf.range(images), 3, tf.constant([3, 4])
    return [
        runner.compile_rescoring(pair.data.validation)(*arguments)
        for runner in (pair.padded, pair.plain)
    ]


def test_rescoring_draws_the_same_samples(pair):
    pair.begin()
    for ours, theirs in zip(*rescored(pair, images=20), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_a_nan_does_not_affect_the_next_trial(pair):
    pair.begin()
    expected = pair.padded.train(pair.epoch()).loss
    pair.begin(rate=1e30)
    assert not math.isfinite(pair.padded.train(pair.epoch()).loss)
    pair.begin()
    assert pair.padded.train(pair.epoch()).loss == expected


compiled_normal = tf.function(normal, jit_compile=True, autograph=False)


@pytest.mark.parametrize("seed", [(1337, 5), (99, 2**31 - 1), (-7, 70_000)])
def test_noise_equals_that_of_tensorflow(seed):
    seed = tf.constant(seed, tf.int32)
    expected = tf.random.stateless_normal((7, 5, 3), seed=seed, alg="philox").numpy()
    np.testing.assert_allclose(compiled_normal((7, 5, 3), seed), expected, rtol=0, atol=2e-6)
    wide = compiled_normal((7, 5, 8), seed, 3).numpy()
    np.testing.assert_allclose(wide[..., :3], expected, rtol=0, atol=2e-6)
    assert not wide[..., 3:].any()
    bits = tf.random.stateless_uniform((7, 5, 3), seed=seed, alg="philox")
    np.testing.assert_array_equal(uniform((7, 5, 3), seed), bits)


@pytest.mark.parametrize("sides", [(7, 8), (28, 28), (5, 9)])
@pytest.mark.parametrize("taps", [1, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_matrix_products_equal_convolutions(sides, taps, stride):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, *sides, 3))
    kernel = random.normal(size=(taps, taps, 3, 4))
    np.testing.assert_allclose(
        convolve(tf.constant(x), tf.constant(kernel), (stride, stride)),
        tf.nn.conv2d(x, kernel, stride, "SAME"),
        atol=1e-12,
    )
    kernel = random.normal(size=(taps, taps, 4, 3))
    shape = (2, *(side * stride for side in sides), 4)
    np.testing.assert_allclose(
        convolve_transposed(tf.constant(x), tf.constant(kernel), (stride, stride)),
        tf.nn.conv2d_transpose(x, kernel, shape, stride, "SAME"),
        atol=1e-12,
    )


def test_a_model_fits_into_a_wider_one_with_equal_group_sizes():
    def architecture(**widths):
        return Architecture((16, 16, 1), **{"normalization": "group", **widths})

    wide = architecture(filters=(16, 32), dense_units=16)
    assert fits(architecture(filters=(8, 24), dense_units=8), wide)
    assert not fits(architecture(filters=(12, 24), dense_units=8), wide)  # groups of 4, not of 8
    assert not fits(architecture(filters=(8, 40), dense_units=8), wide)
    assert not fits(architecture(filters=(8, 24), dense_units=8, latent_dim=3), wide)
