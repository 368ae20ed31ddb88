"""An export holds the winner's best epoch and is written completely or not at all."""

import json
import re
import shutil
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
from exports import StubReader, tiny_vae, vaetune as command
from image_sets import make_images
from tiny_searches import GRID, changed, run

import vaetune
from vaetune.config.spec import Budget
from vaetune.errors import ResultsError
from vaetune.export import bundle, formats as formats_module
from vaetune.export.bundle import write_export
from vaetune.export.folder import list_files
from vaetune.export.formats import FORMATS
from vaetune.models.networks import build_decoder
from vaetune.models.vae import VAE
from vaetune.study.builder import load_study
from vaetune.study.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.training.restore import restore_best

IMAGES = make_images()


def export_winner(study, results, *names, reader=None):
    """Exports the winner to `best/` in `results`, by default without reading the files back.

    Args:
        study: Finished search.
        results: Folder of results.
        names: Formats to write in addition to Keras.
        reader: Reader that verifies the files.
    """
    target = results / "best"
    reader = reader or StubReader()
    return write_export(study, study.winner, results, target, reader, names)


@pytest.fixture(scope="module")
def exported(exported_winner):
    """The study and the folder of its export, which tests do not change."""
    study, folder, _ = exported_winner
    return study, folder


@pytest.fixture(autouse=True)
def without_figures(monkeypatch):
    """Writes one placeholder for all figures. Only the export of `exported_winner` has figures."""
    monkeypatch.setattr(bundle, "draw_showcase", lambda vae, study, trial: {"one.png": b"png"})


@pytest.fixture
def placeholder_formats(monkeypatch):
    """Writes placeholders in all formats except Keras. `StubReader` does not read them."""

    def writer(name):
        def write(folder, vae):
            for file in FORMATS[name].files:
                path = folder / file / "saved_model.pb" if name == "saved-model" else folder / file
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(b"model")

        return write

    others = {
        name: replace(one, write=writer(name)) for name, one in FORMATS.items() if name != "keras"
    }
    monkeypatch.setattr(formats_module, "FORMATS", {**FORMATS, **others})


@pytest.fixture
def earlier(exported, tmp_path):
    """The folder of an earlier export, and the contents of its files by name."""
    folder = shutil.copytree(exported[1], tmp_path / "best")
    return folder, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def stub_reader(monkeypatch):
    """Exports without the process that reads the files back."""
    monkeypatch.setattr("vaetune.export.trial.Reader", StubReader)


def test_an_export_has_models_figures_texts_and_programs(exported):
    _, folder = exported
    names = {path.name for path in folder.iterdir()}
    shown = json.loads((folder / "hyperparameters.json").read_text())["files"]
    assert set(shown) == list_files(folder)
    assert "saved_model/saved_model.pb" in shown
    assert {file for one in FORMATS.values() for file in one.files} <= names
    assert {"README.md", "hyperparameters.json", "preprocessing.json"} <= names
    assert {"predict.py", "philox.py", "pictures.py", "tables.py", "prepare.py"} <= names
    assert {"manifold.png", "clusters.png", "reconstructions.png"} <= names


def test_the_default_format_is_only_keras(exported, tmp_path):
    study, _ = exported
    done = export_winner(study, tmp_path)
    names = {path.name for path in done.folder.iterdir()}
    left_out = {file for name in FORMATS for file in FORMATS[name].files if name != "keras"}
    assert not names & {*left_out, "predict.py", "pictures.py", "tables.py"}
    assert set(FORMATS["keras"].files) <= names
    assert (list(done.max_difference), done.failures) == (["keras"], {})


def test_the_weights_are_those_of_the_best_epoch(exported):
    study, folder = exported
    checkpoint = Checkpoint.load(study.trial_folder(study.winner.trial_id))
    weights = vaetune.load_model(folder / "vae.keras").get_weights()
    trainable = [array for array in checkpoint.best_weights if array.dtype == np.float32]
    for one, other in zip(weights, trainable, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_exported_encoder_and_decoder_equal_the_model_bit_for_bit(exported):
    _, folder = exported
    vae = vaetune.load_model(folder / "vae.keras")
    assert isinstance(vae, VAE)
    encoder = keras.saving.load_model(folder / "encoder.keras")
    decoder = keras.saving.load_model(folder / "decoder.keras")
    images = IMAGES.validation.images.astype("float32") / 255.0
    for part, whole in zip(encoder(images), vae.encoder(images)[:2], strict=True):
        np.testing.assert_array_equal(part, whole)
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.testing.assert_array_equal(decoder(z), vae.decoder(z))


def test_the_manifest_names_hyperparameters_score_data_and_search(exported):
    study, folder = exported
    manifest = json.loads((folder / "hyperparameters.json").read_text())
    assert manifest["hyperparameters"] == dict(study.winner.hyperparameters)
    assert manifest["validation"]["negative_elbo"] == study.winner.score
    assert manifest["data"]["fingerprint"] == IMAGES.fingerprint
    assert manifest["search"] == "tiny"


def test_an_earlier_export_is_replaced_completely(exported, earlier, tmp_path):
    (study, _), (folder, _) = exported, earlier
    assert (folder / "saved_model").exists()
    export_winner(study, tmp_path)
    assert not (folder / "saved_model").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def assert_unchanged(export):
    folder, files = export
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert found == files


def test_a_failed_export_keeps_the_earlier_one(exported, earlier, tmp_path, monkeypatch):
    study, _ = exported

    def fill_the_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "draw_showcase", fill_the_disk)
    with pytest.raises(ResultsError, match=r"cannot be written: No space left on device"):
        export_winner(study, tmp_path)
    assert_unchanged(earlier)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_folder_that_is_not_an_export_is_never_overwritten(exported, tmp_path):
    study, _ = exported
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "thesis.tex").write_text("years of work")
    with pytest.raises(ResultsError, match="is not an export of vaetune"):
        export_winner(study, tmp_path)
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["missing", "truncated"])
@pytest.mark.usefixtures("stub_reader")
def test_a_missing_or_damaged_checkpoint_is_reported_in_one_line(exported, tmp_path, damage):
    study, _ = exported
    shutil.copytree(study.folder, tmp_path / "tiny")
    study = load_study(tmp_path / "tiny")
    path = study.trial_folder(study.winner.trial_id) / CHECKPOINT_NAME
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    code, _, error = command("best", "--export", "--format", "all", "--results", tmp_path)
    assert code == 1
    assert re.fullmatch(r"vaetune: [^\n]*checkpoint[^\n]*\n", error)
    assert not (tmp_path / "best").exists()


def test_a_model_of_colour_images_of_odd_size_is_exported(tmp_path):
    images = make_images(shape=(9, 11, 3))
    study = run(tmp_path, changed(GRID, budget=Budget(max_epochs=1, max_trials=1)), images=images)
    folder = export_winner(study, tmp_path).folder
    assert vaetune.load_model(folder / "vae.keras").image_shape == (9, 11, 3)


def test_a_restored_model_has_the_recorded_validation_loss(exported):
    study, _ = exported
    vae = restore_best(study, study.winner)
    images = IMAGES.validation.images.astype("float32") / 255.0
    measured = vae.evaluate(images, batch_size=len(images), verbose=0, return_dict=True)
    assert measured["loss"] == pytest.approx(study.winner.score, rel=1e-5)


def test_loading_a_missing_model_names_the_export_command(tmp_path):
    with pytest.raises(ResultsError, match=r"vaetune best --export"):
        vaetune.load_model(tmp_path / "vae.keras")


def test_loading_an_unreadable_model_is_reported(tmp_path):
    (tmp_path / "vae.keras").write_text("no model")
    with pytest.raises(ResultsError, match="is not a readable Keras model"):
        vaetune.load_model(tmp_path / "vae.keras")


def test_loading_a_decoder_as_a_vae_is_reported(exported):
    _, folder = exported
    with pytest.raises(ResultsError, match=r"expected a VAE such as vae\.keras"):
        vaetune.load_model(folder / "decoder.keras")


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_with_a_lambda_layer_is_not_loaded(tmp_path, inside):
    z = keras.Input((2,))
    doubled = keras.layers.Lambda(lambda x: 2.0 * x, output_shape=(2,))(z)
    model = keras.Model(z, doubled)
    if inside:
        decoder = build_decoder((9, 10, 1), 2, (2, 3))
        model = tiny_vae()
        model.decoder = keras.Model(z, decoder(doubled))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Keras warns that it saves a lambda.
        model.save(tmp_path / "vae.keras")
    with pytest.raises(ResultsError, match=r"contains code to be run.* not loaded") as error:
        vaetune.load_model(tmp_path / "vae.keras")
    assert "\n" not in str(error.value)


def test_the_command_prints_folder_files_and_maximum_differences(exported_winner):
    _, folder, out = exported_winner
    names = sorted(f"{path.name}{'/' * path.is_dir()}" for path in folder.iterdir())
    lines = out.splitlines()
    start = lines.index(f"Exported to {folder}/: {', '.join(names)}")
    value = r"(0|\d(\.\d)?e-\d\d)"
    parts = rf"encode {value}, decode {value}"
    saved = rf"{parts}, reconstruct {value}, sample {value}"
    shown = {"keras": parts, "saved-model": saved, "onnx": parts, "litert": parts}
    assert len(lines) == start + 1 + len(shown)
    for line, (name, expected) in zip(lines[start + 1 :], shown.items(), strict=True):
        assert re.fullmatch(rf"  {name}: maximum difference from the original: {expected}", line)


def test_a_missing_optional_dependency_only_omits_its_format(
    exported, tmp_path, monkeypatch, stub_reader, placeholder_formats
):
    study, _ = exported
    monkeypatch.setattr(formats_module, "find_spec", lambda module: None)
    code, out, error = command(
        *("best", "--export", "--format", "onnx", "--format", "litert"),
        *("--results", study.folder.parent, "--output", tmp_path / "model"),
    )
    assert code == 1
    reason = "tf2onnx and onnxruntime not installed. Run: pip install 'vaetune[onnx]'"
    assert error.splitlines()[-1] == f"vaetune: onnx was not exported: {reason}"
    litert = r"^  litert: maximum difference from the original: encode \S+, decode \S+$"
    assert re.search(litert, out, re.MULTILINE)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {*FORMATS["keras"].files, *FORMATS["litert"].files} <= names
    assert not {*FORMATS["onnx"].files, "predict.py"} & names
    assert "onnx" not in (tmp_path / "model" / "README.md").read_text()


def test_a_format_that_cannot_be_written_leaves_no_files(exported, tmp_path, monkeypatch):
    study, _ = exported

    def write_half(folder, vae):
        (folder / "encoder.tflite").write_bytes(b"half")
        raise RuntimeError("no kernel\nfor this")

    broken = replace(FORMATS["litert"], write=write_half)
    monkeypatch.setattr(formats_module, "FORMATS", {**FORMATS, "litert": broken})
    done = export_winner(study, tmp_path, "litert")
    assert done.failures == {"litert": "RuntimeError: no kernel for this"}
    assert not (done.folder / "encoder.tflite").exists()
    assert list(done.max_difference) == ["keras"]


def test_a_format_that_fails_verification_is_not_exported(exported, tmp_path, placeholder_formats):
    class OneFormatFails(StubReader):
        def read(self, folder, formats, reference):
            assert (folder / "saved_model").exists()
            return {**super().read(folder, formats, reference), "saved-model": {"error": "no"}}

    study, _ = exported
    done = export_winner(study, tmp_path, "saved-model", reader=OneFormatFails())
    assert done.failures == {"saved-model": "no"}
    assert not (done.folder / "saved_model").exists()
    shown = json.loads((done.folder / "hyperparameters.json").read_text())
    assert list(shown["formats"]) == ["keras"]
    assert not [name for name in shown["files"] if name.startswith("saved_model")]


def test_the_earlier_export_stays_if_no_format_can_be_exported(exported, earlier, tmp_path):
    study, _ = exported
    with pytest.raises(ResultsError, match=r"No format could be exported\. keras: it is gone"):
        export_winner(study, tmp_path, reader=StubReader(error="it is gone"))
    assert_unchanged(earlier)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.usefixtures("stub_reader")
def test_the_output_folder_is_relative_to_the_working_directory(exported, tmp_path, monkeypatch):
    study, _ = exported
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "not/there/yet"):
        code, out, error = command(
            "best", "--export", "--results", study.folder.parent, "--output", folder
        )
        assert code == 0
        assert error.startswith("Without losses of validation images, ")
        assert f"Exported to {folder}/: README.md, " in out
        assert (tmp_path / folder / "vae.keras").exists()
    assert not (study.folder.parent / "best").exists()


def test_an_output_folder_with_other_files_is_refused(exported, tmp_path):
    study, _ = exported
    (tmp_path / "thesis.tex").write_text("years of work")
    code, _, error = command(
        "best", "--export", "--results", study.folder.parent, "--output", tmp_path
    )
    assert code == 1
    assert re.fullmatch(r"vaetune: \S+ is not an export of vaetune [^\n]+\n", error)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--export", "--format", "pickle"), "'pickle' is not one of 'keras', 'saved-model'"),
        (("--format", "onnx"), "--format, --output and --dataset go with --export"),
        (("--dataset", "moved"), "--format, --output and --dataset go with --export"),
        (("--output", "model"), "--format, --output and --dataset go with --export"),
    ],
)
def test_invalid_export_options_are_a_usage_error(exported, arguments, words):
    study, _ = exported
    code, _, error = command("best", "--results", study.folder.parent, *arguments)
    assert code == 2
    assert words in error


@pytest.mark.usefixtures("stub_reader")
def test_a_terminal_shows_the_current_step(exported, tmp_path, monkeypatch):
    study, _ = exported
    monkeypatch.setenv("FORCE_COLOR", "1")  # The command then prints as to a terminal.
    code, out, error = command(
        "best", "--export", "--results", study.folder.parent, "--output", tmp_path / "model"
    )
    assert code == 0
    assert "Reading the model back" in error
    assert "Reading" not in out


def test_ctrl_c_during_an_export_keeps_the_earlier_one(
    exported, earlier, tmp_path, monkeypatch, stub_reader
):
    (study, _), (folder, _) = exported, earlier

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "read_back", stop)
    code, out, error = command(
        "best", "--export", "--results", study.folder.parent, "--output", folder
    )
    assert (code, error) == (130, "")
    assert out.endswith("Stopped. Nothing was exported.\n")
    assert_unchanged(earlier)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
