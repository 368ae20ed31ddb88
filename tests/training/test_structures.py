"""Steps of every structure equal those of Keras, although they are traced once for all widths."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_steps import assert_steps_like_keras, trace_training, trace_validation
from long_forms import long

from vaetune.device import ChosenDevice, check_precision, has_bfloat16
from vaetune.errors import DeviceError
from vaetune.models.build import build_template, build_vae, draw_variables
from vaetune.models.recipe import compile_for, prepare
from vaetune.training.feed import DeviceData
from vaetune.training.precision import ONEDNN_OPTION, onednn_bfloat16
from vaetune.training.restore import read_variables
from vaetune.training.runner import EpochRunner
from vaetune.training.schedule import OPTIONS, Epoch, StepSettings
from vaetune.training.steps import Steps

NARROW = {
    "filters_1": 3,
    "filters_2": 4,
    "dense_units": 5,
    "latent_dim": 2,
    "learning_rate": 1e-2,
}
WIDE = {
    "filters_1": 16,
    "filters_2": 5,
    "dense_units": 9,
    "latent_dim": 7,
    "learning_rate": 3e-3,
}
STRUCTURES = {
    "three levels and odd sizes": {
        "levels": 3,
        "stages": 3,
        "output_stride": 2,
        "normalization": "batch",
        "activation": "silu",
    },
    "two levels at full size": {"levels": 2, "normalization": "batch", "activation": "silu"},
    "residual blocks": {"blocks": 1, "normalization": "group", "activation": "gelu"},
    "two residual blocks": {"blocks": 2, "normalization": "group"},
    "dense networks": {"encoder": "dense", "decoder": "dense", "dense_layers": 2},
    "dense decoder with batch normalization": {
        "decoder": "dense",
        "dense_layers": 1,
        "normalization": "batch",
        "activation": "elu",
    },
    "half resolution": {"output_stride": 2, "activation": "leaky_relu"},
}
# test_likelihoods.py tests two levels, and test_steps.py tests the Keras example.
FEW = ("three levels and odd sizes", "residual blocks")
QUICKEST = "half resolution"
SHAPE = (19, 22, 2)


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


OTHERS = tuple(name for name in STRUCTURES if name not in FEW)


@pytest.fixture(params=[*FEW, *long(*OTHERS)])
def structure(request):
    return STRUCTURES[request.param]


@pytest.fixture(params=[FEW[1], *long(FEW[0], *OTHERS)])
def any_structure(request):
    """Any structure. In the short form, test_likelihoods.py tests levels."""
    return STRUCTURES[request.param]


def make_vae(values, seed=1):
    keras.utils.set_random_seed(seed)
    return build_vae(SHAPE, values)


def make_images(count=10):
    return tf.constant(np.random.default_rng(0).random((count, *SHAPE)), tf.float32)


def test_steps_equal_those_of_keras_for_all_widths_of_a_structure(structure):
    steps = Steps(build_template(SHAPE, {**NARROW, **structure}))
    train = trace_training(steps, SHAPE, StepSettings())
    validate = trace_validation(steps, SHAPE)
    images = make_images()
    for widths in (NARROW, WIDE):
        theirs = make_vae({**widths, **structure, "level_channels": widths["filters_1"] % 7})
        assert_steps_like_keras(steps, train, validate, theirs, images)


def test_drawn_variables_equal_those_of_a_model(any_structure):
    values = {**WIDE, **any_structure}
    expected = make_vae(values, seed=5).ordered_variables
    keras.utils.set_random_seed(5)
    drawn = draw_variables(SHAPE, values)
    sums = [float(np.sum(variable)) for variable in drawn if variable.name == "kernel"]
    random = [each for each in sums if each]  # Those at the ends of residual blocks are zero.
    assert len(set(random)) == len(random) > 5
    for ours, theirs in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_model_is_the_same_after_saving_and_loading(any_structure, tmp_path):
    vae, images = make_vae({**NARROW, **any_structure}), make_images()
    for _ in range(2):
        vae.train_step(images)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.reconstruct(images), vae.reconstruct(images))
    np.testing.assert_array_equal(loaded.test_step(images)["loss"], measure_one_batch(vae, images))
    # The optimizer continues with the moments of the same weights.
    vae.train_step(images)
    loaded.train_step(images)
    for one, other in zip(loaded.ordered_variables, vae.ordered_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=other.path)


def measure_one_batch(vae, images):
    vae.reset_metrics()
    return vae.test_step(images)["loss"]


RECIPES = {
    "average": {"weight_average": 0.9},
    "free bits": {"free_bits": 0.5},
    "weight decay": {"weight_decay": 0.3},
    "clip norm": {"clip_norm": 0.1},
    "warm-up": {"learning_rate_warmup": 2},
    "KL warm-up": {"kl_warmup": 2, "beta": 3.0},
}


@pytest.mark.parametrize(
    "parts", [tuple(RECIPES), *long(*(((name,),) for name in RECIPES))], ids=" and ".join
)
def test_the_recipe_trains_like_keras_fit(parts):
    recipe = {name: value for part in parts for name, value in RECIPES[part].items()}
    values = {**NARROW, "levels": 2, "normalization": "batch", **recipe}
    images = make_images(4)
    theirs = make_vae(values)
    fresh = read_variables(theirs.ordered_variables)
    compile_for(theirs, values)
    callback = prepare(theirs, values, ())
    fit_in_order(theirs, images, callback)

    options = {name for name in OPTIONS if name in recipe}
    steps = Steps(build_template(SHAPE, values), options=options)
    steps.state.begin(fresh, values["learning_rate"])
    numbers = {name: recipe[name] for name in OPTIONS if name in recipe}
    settings = StepSettings(
        beta=recipe.get("beta", 1.0),
        warmup_steps=recipe.get("learning_rate_warmup", 0),
        kl_warmup_steps=recipe.get("kl_warmup", 0),
        **numbers,
    )
    train = trace_training(steps, SHAPE, settings)
    for _ in range(4):
        train(images)
    if "weight_average" not in recipe:
        steps.state.copy_to_average()
    for one, other in zip(steps.state.read_average(), theirs.ordered_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=other.path)


def fit_in_order(vae, images, *callbacks):
    """Takes four steps on all images with Keras's `fit`."""
    batches = {"batch_size": len(images), "epochs": 4, "shuffle": False}
    vae.fit(images, verbose=0, callbacks=[*callbacks], **batches)


@pytest.mark.long  # If a part changed nothing, the test above would prove nothing.
@pytest.mark.parametrize("part", RECIPES)
def test_each_part_of_the_recipe_changes_the_trained_weights(part):
    plain = {**NARROW, "levels": 2, "normalization": "batch"}
    images, trained = make_images(4), []
    for values in (plain, {**plain, **RECIPES[part]}):
        vae = make_vae(values)
        compile_for(vae, values)
        callback = prepare(vae, values, ())
        fit_in_order(vae, images, callback)
        trained.append(np.concatenate([np.ravel(v) for v in vae.ordered_variables]))
    assert not np.allclose(*trained, rtol=1e-3)


# bfloat16 on a CPU


def losses_of(precision, structure):
    """Validates, trains an epoch, and validates the first weights again.

    Returns:
        Losses before training, of training and of the second validation; the trained weights.
    """
    vae = make_vae({**WIDE, **structure})
    pixels = np.random.default_rng(0).random((40, *SHAPE)).astype(np.float32)
    data = DeviceData(tf.constant(pixels), tf.constant(pixels[:10]))
    runner = EpochRunner(vae, data, precision)
    runner.begin(read_variables(vae.ordered_variables), 1e-3)
    before = runner.validate()
    trained = runner.train(Epoch(np.arange(40, dtype=np.int32), 8))
    weights, _ = runner.read()
    runner.restore(read_variables(vae.ordered_variables))
    return before, trained, runner.validate(), weights


@pytest.mark.usefixtures("optimized_graphs")  # Optimization inserts bfloat16.
@pytest.mark.skipif(not has_bfloat16(), reason="the CPU has no bfloat16 instructions")
@pytest.mark.parametrize("name", [QUICKEST, *long(*(one for one in STRUCTURES if one != QUICKEST))])
def test_mixed_precision_changes_training_but_no_bit_of_validation(name):
    exact, mixed = (losses_of(one, STRUCTURES[name]) for one in ("float32", "mixed_bfloat16"))
    assert exact[0] == mixed[0] == mixed[2]
    assert mixed[1] != exact[1]
    assert mixed[1].loss == pytest.approx(exact[1].loss, rel=0.05)
    assert all(one.dtype == other.dtype for one, other in zip(mixed[3], exact[3], strict=True))


def test_mixed_precision_is_switched_off_after_an_error():
    seen = []

    def fail():
        with onednn_bfloat16(True):
            seen.append(tf.config.optimizer.get_experimental_options()[ONEDNN_OPTION])
            raise ValueError("in training")

    with pytest.raises(ValueError, match="in training"):
        fail()
    seen.append(tf.config.optimizer.get_experimental_options()[ONEDNN_OPTION])
    assert seen == [True, False]


def test_mixed_precision_is_refused_on_a_cpu_without_bfloat16(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("flags : fpu avx512f\n")
    monkeypatch.setattr("vaetune.device._CPU_INFO", tmp_path / "cpuinfo")
    check_precision(ChosenDevice("CPU", 2), "float32")
    check_precision(ChosenDevice("GPU (any)", 2), "mixed_bfloat16")
    with pytest.raises(DeviceError, match=r"no bfloat16 instructions.*avx512_bf16.*Use float32"):
        check_precision(ChosenDevice("CPU", 2), "mixed_bfloat16")
    (tmp_path / "cpuinfo").write_text("flags : fpu avx512_bf16\n")
    check_precision(ChosenDevice("CPU", 2), "mixed_bfloat16")
