"""Every format holds the original model. Its files are written and removed together."""

import json
import shutil
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from exports import tiny_vae

from vaetune.cli.values import ExportFormat
from vaetune.errors import ResultsError
from vaetune.export import formats
from vaetune.export.formats import FORMATS, chosen_formats, remove_format, write_format


def test_the_command_line_knows_every_format():
    assert {option.value for option in ExportFormat} == {*FORMATS, "all"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), ("keras",)),
        (("onnx",), ("keras", "onnx")),
        (("litert", "onnx", "litert"), ("keras", "onnx", "litert")),
        (("all",), tuple(FORMATS)),
        (("keras", "all"), tuple(FORMATS)),
    ],
)
def test_keras_is_always_exported_and_no_format_twice(names, expected):
    assert chosen_formats(names) == expected


def test_a_removed_format_leaves_no_files(exported_winner, tmp_path):
    _, folder, _ = exported_winner
    shutil.copytree(folder, tmp_path / "copy")
    for name, one in FORMATS.items():
        before = {path.name for path in (tmp_path / "copy").iterdir()}
        assert set(one.files) <= before
        remove_format(name, tmp_path / "copy")
        after = {path.name for path in (tmp_path / "copy").iterdir()}
        assert before - after == set(one.files)


def test_removing_a_format_that_was_not_written_is_no_error(tmp_path):
    for name in FORMATS:
        remove_format(name, tmp_path)


def test_a_missing_dependency_names_the_extra_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda module: None)
    with pytest.raises(ResultsError, match=r"tf2onnx.*Run: pip install 'vaetune\[onnx\]'"):
        write_format("onnx", tmp_path, tiny_vae())
    assert not list(tmp_path.iterdir())


def test_samples_of_the_saved_model_depend_on_seed_and_count(exported_winner):
    _, folder, _ = exported_winner
    model = tf.saved_model.load(str(folder / "saved_model"))
    assert {"encode", "decode", "reconstruct", "sample"} <= set(model.signatures)

    def sample(count, seed):
        return model.sample(tf.constant(count), tf.constant(seed))["image"].numpy()

    assert sample(3, 1).shape == (3, 9, 10, 1)
    np.testing.assert_array_equal(sample(3, 1), sample(3, 1))
    assert not np.array_equal(sample(3, 1), sample(3, 2))


def test_samples_are_drawn_from_the_prior():
    (z,) = (each.numpy() for each in tiny_vae().draw_prior(20_000, 3))
    assert z.shape == (20_000, 2)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1.0) < 0.02


def test_onnx_has_no_random_operations_and_takes_any_number_of_images(exported_winner):
    onnx = pytest.importorskip("onnx")
    _, folder, _ = exported_winner
    for name in ("encoder", "decoder"):
        graph = onnx.load(folder / f"{name}.onnx").graph
        assert not [node.op_type for node in graph.node if "Random" in node.op_type]
        for value in (*graph.input, *graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param, "an open dimension has a name"


def test_every_format_returns_z_mean_first_and_z_log_var_second(exported_winner):
    """The outputs are read by position, as most users read them, and by name."""
    ort = pytest.importorskip("onnxruntime")
    _, folder, _ = exported_winner
    images = np.random.default_rng(0).random((1, 9, 10, 1)).astype(np.float32)
    names = ["z_mean", "z_log_var"]
    encoder = keras.saving.load_model(folder / "encoder.keras")
    assert encoder.output_names == names
    z_mean, z_log_var = (np.asarray(one) for one in encoder(images))
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    saved = loaded.encode(images)
    assert list(saved._fields) == names
    np.testing.assert_allclose(list(saved), [z_mean, z_log_var], atol=1e-5)
    onnx = ort.InferenceSession(folder / "encoder.onnx")
    assert [output.name for output in onnx.get_outputs()] == names
    np.testing.assert_allclose(onnx.run(None, {"image": images}), [z_mean, z_log_var], atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow warns that the interpreter will move.
        lite = tf.lite.Interpreter(str(folder / "encoder.tflite"))
    lite.allocate_tensors()
    lite.set_tensor(lite.get_input_details()[0]["index"], images)
    lite.invoke()
    outputs = lite.get_output_details()
    assert [output["name"] for output in outputs] == names
    found = [lite.get_tensor(output["index"]) for output in outputs]
    np.testing.assert_allclose(found, [z_mean, z_log_var], atol=1e-5)
    by_name = lite.get_signature_runner()(image=images)
    np.testing.assert_allclose([by_name[name] for name in names], found, atol=1e-6)


def test_the_manifest_lists_the_files_of_every_format(exported_winner):
    _, folder, _ = exported_winner
    shown = json.loads((folder / "hyperparameters.json").read_text())["formats"]
    assert {name: tuple(one["files"]) for name, one in shown.items()} == {
        name: one.files for name, one in FORMATS.items()
    }
    assert all((folder / Path(file)).exists() for one in shown.values() for file in one["files"])
