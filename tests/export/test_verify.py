"""A separate process rejects an export with other outputs than the original."""

import importlib
import io
import json
import shutil
import sys

import keras
import numpy as np
import pytest
from exports import ReaderInThisProcess, StubReader, tiny_vae

from vaetune.export import formats as formats_module
from vaetune.export.formats import FORMATS, write_format
from vaetune.export.parts import Part, list_parts
from vaetune.export.reader import Reader
from vaetune.export.standalone import read_back as program
from vaetune.export.standalone.read_back import (
    RefuseVaetune,
    check_litert_outputs,
    compare,
    max_difference,
)
from vaetune.export.verify import TOLERANCE, read_back
from vaetune.models import load_model
from vaetune.study.artifacts import ProbeImages


@pytest.fixture(scope="module")
def damaged(exported_winner, tmp_path_factory):
    """Results of reading back an export in which only the SavedModel is intact."""
    _, sound, _ = exported_winner
    folder = shutil.copytree(sound, tmp_path_factory.mktemp("damaged") / "model")
    vae = load_model(folder / "vae.keras")
    vae.encoder.save(folder / "encoder.keras")  # `Sampling` needs vaetune.
    (folder / "encoder.onnx").write_bytes((folder / "encoder.onnx").read_bytes()[:100])
    bias = vae.decoder.layers[1].bias.numpy()
    content = (folder / "decoder.tflite").read_bytes()
    assert content.count(bias.tobytes()) == 1
    changed = content.replace(bias.tobytes(), (bias + np.float32(0.01)).tobytes())
    (folder / "decoder.tflite").write_bytes(changed)
    with Reader() as reader:
        return read_back(reader, folder, tuple(FORMATS), vae, None)


def test_an_intact_format_is_accepted_next_to_damaged_ones(damaged):
    assert damaged["saved-model"].error is None
    assert set(damaged["saved-model"].max_difference) == {
        "encode",
        "decode",
        "reconstruct",
        "sample",
    }
    assert max(damaged["saved-model"].max_difference.values()) <= TOLERANCE


def test_a_format_that_needs_vaetune_is_rejected(damaged):
    assert "could not be deserialized" in damaged["keras"].error


def test_a_truncated_format_is_rejected(damaged):
    assert "encoder.onnx" in damaged["onnx"].error


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    """Results of reading back an export with its outputs in the wrong order."""
    folder = tmp_path_factory.mktemp("swapped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats_module, "POSTERIOR", SWAPPED)
        patch.setattr(formats_module, "list_parts", swapped_parts)
        for name in ("onnx", "litert"):
            write_format(name, folder, tiny_vae())
    return read_back(ReaderInThisProcess(), folder, ("onnx", "litert"), tiny_vae(), None)


SWAPPED = ("z_log_var", "z_mean")


def swapped_parts(vae):
    """The encoder of a model, with its two outputs and their names in reverse order."""
    encoder, _ = list_parts(vae)
    outputs = keras.Model(encoder.model.input, encoder.model.outputs[::-1])
    return [Part("encoder", outputs, SWAPPED)]


@pytest.mark.parametrize(("name", "file"), [("onnx", "encoder.onnx"), ("litert", "encoder.tflite")])
def test_outputs_in_another_order_are_rejected(swapped, name, file):
    expected = (
        f"{file}: expected the outputs z_mean, z_log_var in this order, received z_log_var, z_mean"
    )
    assert swapped[name].error == f"ValueError: {expected}"


def test_outputs_that_differ_by_position_and_by_name_are_rejected():
    """The names are in the right order but belong to the wrong tensors."""

    class Outputs:
        def __init__(self, details):
            self.get_output_details = lambda: details

    interpreter = Outputs([{"name": "z_mean", "index": 1}, {"name": "z_log_var", "index": 2}])
    signature = Outputs({"z_mean": {"index": 2}, "z_log_var": {"index": 1}})
    with pytest.raises(ValueError, match="by position differ from outputs by name"):
        check_litert_outputs("x.tflite", interpreter, signature, ("z_mean", "z_log_var"))


def test_a_format_with_different_outputs_is_rejected(damaged):
    assert damaged["litert"].error.startswith("decode differs ")
    assert damaged["litert"].max_difference["encode"] <= TOLERANCE


def test_every_error_is_one_line(damaged):
    for read in damaged.values():
        assert read.error is None or "\n" not in read.error


def test_every_endpoint_of_an_intact_export_is_compared(exported_winner):
    _, folder, _ = exported_winner
    shown = json.loads((folder / "hyperparameters.json").read_text())["formats"]
    parts = {"encode", "decode"}
    assert {name: set(one["apart"]) for name, one in shown.items()} == {
        "keras": parts,
        "saved-model": {*parts, "reconstruct", "sample"},
        "onnx": parts,
        "litert": parts,
    }
    assert all(0.0 <= value <= 1e-5 for one in shown.values() for value in one["apart"].values())


@pytest.mark.parametrize("value", [2e-5, float("nan"), float("inf")])
def test_a_difference_above_the_tolerance_is_an_error(tmp_path, value):
    read = read_back(StubReader(value), tmp_path, ["onnx"], tiny_vae(), None)
    assert read["onnx"].error == f"encode differs from the original by {value:.0e}, more than 1e-05"


def test_the_complete_keras_model_is_verified_too(tmp_path):
    vae = tiny_vae()
    write_format("keras", tmp_path, vae)
    assert read_back(StubReader(0.0), tmp_path, ["keras"], vae, None)["keras"].error is None
    vae.encoder.get_layer("z_mean").bias.assign([1.0, 0.0])
    read = read_back(StubReader(0.0), tmp_path, ["keras"], vae, None)
    assert read["keras"].error == "encode differs from the original by 1e+00, more than 1e-05"
    (tmp_path / "vae.keras").write_text("no model")
    read = read_back(StubReader(0.0), tmp_path, ["keras"], vae, None)
    assert "vae.keras" in read["keras"].error


def test_probe_images_are_encoded_if_there_are_any(tmp_path):
    class Remembering(StubReader):
        def read(self, folder, formats, reference):
            self.images = reference["images"]
            return super().read(folder, formats, reference)

    originals = np.full((2, 9, 10, 1), 51, dtype=np.uint8)
    reader = Remembering()
    read_back(reader, tmp_path, ["onnx"], tiny_vae(), ProbeImages(originals, None))
    np.testing.assert_allclose(reader.images[:2], 0.2, rtol=1e-6)
    assert len(reader.images) > 2, "noise, black and white images are encoded too"
    read_back(reader, tmp_path, ["onnx"], tiny_vae((8, 8, 3)), ProbeImages(originals, None))
    assert reader.images.shape[1:] == (8, 8, 3), "probe images of another size are not used"


def test_modules_of_vaetune_cannot_be_imported():
    refusal = RefuseVaetune()
    assert refusal.find_spec("vaetunes") is None
    for name in ("vaetune", "vaetune.models"):
        with pytest.raises(ModuleNotFoundError, match="must load without vaetune"):
            refusal.find_spec(name)


def test_the_program_blocks_vaetune_before_opening_a_format(tmp_path, monkeypatch):
    def import_vaetune(folder):
        importlib.import_module("vaetune.nowhere")

    np.savez(tmp_path / "reference.npz", images=np.zeros(1))
    task = {"folder": "", "reference": str(tmp_path / "reference.npz"), "formats": ["keras"]}
    answers = io.StringIO()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(task)))
    monkeypatch.setattr(program, "reserve_stdout", lambda: answers)
    monkeypatch.setattr(program, "OPEN", {"keras": import_vaetune})
    program.main()
    error = "ModuleNotFoundError: an export must load without vaetune"
    assert json.loads(answers.getvalue()) == {"format": "keras", "error": error}


def test_differences_are_relative_to_the_largest_value_above_one():
    assert max_difference(np.array([0.5, 0.75]), np.array([0.25, 0.75])) == 0.25
    assert max_difference(np.array([0.5, -100.0]), np.array([0.25, -100.0])) == 0.0025
    assert np.isnan(max_difference(np.array([0.0, np.nan]), np.array([0.0, 0.0])))


def test_an_output_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"expected shape \(3, 2\), received \(1, 2\)"):
        max_difference(np.zeros((1, 2)), np.zeros((3, 2)))


def test_nan_in_one_of_two_outputs_gives_a_nan_difference():
    images, z = np.zeros((3, 8, 8, 1)), np.zeros((3, 2))
    reference = {
        "images": images,
        "z": z,
        "z_mean": z,
        "z_log_var": z,
        "sampled": images,
        "sampled_1": z,
        "seed": 0,
    }

    def encode(given):
        rows = len(given)
        return z[:rows], np.full((rows, 2), np.nan)

    assert np.isnan(compare({"encode": encode}, reference)["encode"])
