"""Exports of models with several levels, and of every kind of layer, in every format."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from exports import tiny_vae
from image_sets import make_images
from long_forms import long
from PIL import Image
from standalone_predict import predict

import vaetune
from vaetune.export.formats import FORMATS, write_format
from vaetune.export.standalone import philox
from vaetune.export.standalone.read_back import OPEN, compare
from vaetune.export.verify import TOLERANCE, Verification, _verify_keras, compute_reference
from vaetune.models.build import build_vae

PIXELS = np.random.default_rng(4).integers(0, 256, (9, 10), dtype=np.uint8)
IMAGE = PIXELS.reshape(1, 9, 10, 1).astype("float32") / 255.0
PARTS = ("encoder", "decoder", "reconstructor", "generator")


@pytest.fixture(scope="module")
def ladder(exported_ladder):
    """The exported model with three levels."""
    _, folder, _ = exported_ladder
    return vaetune.load_model(folder / "vae.keras")


@pytest.fixture
def export(exported_ladder, tmp_path, monkeypatch):
    """The folder of an export from which `predict` reads its models.

    The working directory is another folder, with `image.png`.
    """
    _, folder, _ = exported_ladder
    monkeypatch.setattr(predict, "HERE", folder)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("image.png")
    return folder


def test_every_format_has_a_file_for_each_part_and_all_were_read_back(export):
    formats = json.loads((export / "hyperparameters.json").read_text())["formats"]
    for name, ending in (("keras", "keras"), ("onnx", "onnx"), ("litert", "tflite")):
        assert {f"{part}.{ending}" for part in PARTS} <= set(formats[name]["files"])
        assert all((export / file).exists() for file in formats[name]["files"])
        assert set(formats[name]["apart"]) == {"encode", "decode", "reconstruct", "generate"}
    assert set(formats["saved-model"]["apart"]) == {
        "encode",
        "decode",
        "reconstruct",
        "sample",
        "encode_levels",
    }
    assert all(one <= TOLERANCE for each in formats.values() for one in each["apart"].values())


def test_a_model_with_one_level_has_no_additional_files(exported_winner):
    _, folder, _ = exported_winner
    names = {path.stem for path in folder.iterdir()}
    assert not names & {"reconstructor", "generator"}
    saved = tf.saved_model.load(str(folder / "saved_model"))
    assert "encode_levels" not in saved.signatures


def test_levels_are_numbered_from_the_top(ladder):
    levels = ladder.encode_levels(IMAGE)
    assert list(levels) == [1, 2, 3]
    assert [tuple(mean.shape) for mean, _ in levels.values()] == [
        (1, 2),
        (1, 3, 3, 2),
        (1, 5, 5, 2),
    ]
    for own, top in zip(levels[1], ladder.posterior(IMAGE), strict=True):
        np.testing.assert_array_equal(own, top)
    maps = [mean for mean, _ in levels.values()]
    np.testing.assert_allclose(
        ladder.decode_levels(maps[0], maps[1:]), ladder.reconstruct(IMAGE), atol=1e-6
    )
    single = tiny_vae()
    assert list(single.encode_levels(IMAGE)) == [1]


def test_a_decoded_z_has_lower_levels_at_their_prior_means(ladder):
    z = np.random.default_rng(0).standard_normal((3, 2)).astype("float32")
    zeros = [tf.zeros((3, *shape)) for shape in ladder.level_shapes]
    np.testing.assert_allclose(
        ladder.decoder(z), ladder.decode_levels(tf.constant(z), zeros), atol=1e-6
    )


def test_a_sample_draws_every_level(ladder):
    one, again, other = (ladder.sample(4, seed).numpy() for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    z, *maps = ladder.draw_prior(4, 7)
    assert [each.shape[1:] for each in maps] == [*ladder.level_shapes]
    assert not np.allclose(one, ladder.decoder(z))
    values = np.concatenate([each.numpy().ravel() for each in ladder.draw_prior(3000, 1)])
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1.0) < 0.01


def test_the_saved_model_names_and_orders_the_posteriors_of_all_levels(export, ladder):
    saved = tf.saved_model.load(str(export / "saved_model"))
    names = ["z_mean", "z_log_var", "u_2_mean", "u_2_log_var", "u_3_mean", "u_3_log_var"]
    levels = saved.encode_levels(IMAGE)
    assert list(levels._fields) == names
    expected = [each for pair in ladder.encode_levels(IMAGE).values() for each in pair]
    for name, one, other in zip(names, levels, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        by_name = saved.signatures["encode_levels"](image=tf.constant(IMAGE))[name]
        np.testing.assert_allclose(by_name, other, atol=1e-5)
    sampled = saved.sample(tf.constant(3), tf.constant(11))["image"]
    np.testing.assert_allclose(sampled, ladder.sample(3, 11), atol=1e-5)
    for ours, theirs in (
        (saved.variables, ladder.ordered_variables),
        (saved.trainable_variables, ladder.ordered_trainable),
    ):
        assert [each.shape for each in ours] == [each.shape for each in theirs]
    assert len(saved.variables) - len(saved.trainable_variables) == len(
        saved.non_trainable_variables
    )


def test_parts_have_only_layers_of_keras(export, ladder):
    parts = {name: keras.saving.load_model(export / f"{name}.keras") for name in PARTS}
    for part in parts.values():
        layers = [each for each in part._flatten_layers() if each is not part]
        assert {type(each).__module__.partition(".")[0] for each in layers} == {"keras"}
    np.testing.assert_allclose(parts["reconstructor"](IMAGE), ladder.reconstruct(IMAGE), atol=1e-6)
    assert [one.name for one in parts["generator"].inputs] == ["latent", "u_2", "u_3"]
    drawn = ladder.draw_prior(3, 11)
    np.testing.assert_allclose(parts["generator"](drawn), ladder.sample(3, 11), atol=1e-6)


def test_predict_reconstructs_through_all_levels(export, ladder):
    predict.main(["reconstruct", "image.png", "rebuilt.npy"])
    rebuilt = np.load("rebuilt.npy")
    np.testing.assert_allclose(rebuilt, ladder.reconstruct(IMAGE)[0], atol=1e-5)
    assert not np.allclose(rebuilt, ladder.decoder(ladder.posterior(IMAGE)[0])[0], atol=1e-5)


@pytest.mark.parametrize("count", [1, 70])
def test_predict_draws_the_samples_of_the_model(export, ladder, count):
    predict.main(["sample", "samples.npy", "--count", str(count), "--seed", "11"])
    np.testing.assert_allclose(np.load("samples.npy"), ladder.sample(count, 11), atol=1e-5)


def test_predict_draws_the_samples_of_a_model_with_one_level(
    exported_winner, tmp_path, monkeypatch
):
    _, folder, _ = exported_winner
    monkeypatch.setattr(predict, "HERE", folder)
    predict.main(["sample", str(tmp_path / "samples.npy"), "--count", "5", "--seed", "3"])
    expected = vaetune.load_model(folder / "vae.keras").sample(5, 3)
    np.testing.assert_allclose(np.load(tmp_path / "samples.npy"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "seed"), [((3, 2), (0, 0)), ((5, 7, 3), (17, 2)), ((1,), (2**31 - 1, 1))]
)
def test_random_numbers_equal_those_of_tensorflow(shape, seed):
    expected = tf.random.stateless_normal(shape, seed=seed, alg="philox")
    np.testing.assert_allclose(philox.draw(shape, seed), expected, atol=1e-6)


def test_a_missing_part_is_reported(ladder, tmp_path):
    write_format("keras", tmp_path, ladder)
    (tmp_path / "generator.keras").unlink()
    reference = compute_reference(ladder, IMAGE)
    with pytest.raises(ValueError, match="a file of a model with 3 levels is missing"):
        compare(OPEN["keras"](tmp_path), reference)


# Other kinds of layers. The tests above cover models with relu, and with silu, three levels and
# batch normalization.

ARCHITECTURES = {
    "gelu, residual blocks, three stages, group normalization, stride 2": {
        "activation": "gelu",
        "blocks": 1,
        "stages": 3,
        "normalization": "group",
        "output_stride": 2,
    },
    "leaky relu, dense, batch normalization": {
        "activation": "leaky_relu",
        "encoder": "dense",
        "decoder": "dense",
        "dense_layers": 2,
        "normalization": "batch",
    },
    "elu, two levels, batch normalization, a learned scale": {
        "activation": "elu",
        "levels": 2,
        "normalization": "batch",
    },
    "elu, batch normalization, a learned scale": {"activation": "elu", "normalization": "batch"},
}
SIZES = {"filters_1": 8, "filters_2": 8, "dense_units": 6, "latent_dim": 2, "level_channels": 2}


FIRST, *OTHERS = reversed(ARCHITECTURES)


@pytest.fixture(scope="module", params=[FIRST, *long(*OTHERS)])
def model(request):
    """A model with random changes of all weights and statistics, and its reference outputs."""
    keras.utils.set_random_seed(0)
    likelihood = "gaussian" if "scale" in request.param else "bernoulli"
    vae = build_vae((17, 19, 1), SIZES | ARCHITECTURES[request.param], likelihood)
    random = np.random.default_rng(0)
    for variable in vae.weights:
        changed = variable + 0.2 * random.standard_normal(variable.shape)
        variable.assign(np.abs(changed) + 0.1 if "variance" in variable.path else changed)
    images = make_images(validation=4, shape=(17, 19, 1)).validation.images / 255.0
    return vae, compute_reference(vae, images.astype("float32"))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_every_kind_of_layer(model, name, tmp_path):
    vae, reference = model
    write_format(name, tmp_path, vae)
    found = compare(OPEN[name](tmp_path), reference)
    assert {"encode", "decode"} <= set(found)
    assert max(found.values()) <= TOLERANCE
    if name == "keras":
        result = _verify_keras(tmp_path / "vae.keras", reference, Verification(found))
        assert result.error is None
        assert set(result.max_difference) == set(found)
