"""The export holds the winner's best epoch, and is there whole or not at all."""

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


def export_and_print(study, results, *names, reader=None):
    """Exports the winner to `best/` below `results`, by default without reading it back."""
    target = results / "best"
    reader = reader or StubReader()
    return write_export(study, study.winner, results, target, reader, names)


@pytest.fixture(scope="module")
def exported(handed_over):
    study, folder, _ = handed_over
    return study, folder


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Spares the exports of this module their pictures, but for the one that is `handed_over`."""
    monkeypatch.setattr(bundle, "draw_showcase", lambda vae, study, trial: {"one.png": b"png"})


@pytest.fixture
def made_up(monkeypatch):
    """Writes files without a model in all formats but Keras. `StubReader` does not read them."""

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
    """An earlier export, and the contents of its files."""
    folder = shutil.copytree(exported[1], tmp_path / "best")
    return folder, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def quick(monkeypatch):
    """Spares the command line the process that reads back."""
    monkeypatch.setattr("vaetune.export.trial.Reader", StubReader)


def test_the_folder_holds_models_figures_and_words(exported):
    _, folder = exported
    names = {path.name for path in folder.iterdir()}
    shown = json.loads((folder / "hyperparameters.json").read_text())["files"]
    assert set(shown) == list_files(folder)
    assert "saved_model/saved_model.pb" in shown
    assert {file for one in FORMATS.values() for file in one.files} <= names
    assert {"README.md", "hyperparameters.json", "preprocessing.json"} <= names
    assert {"predict.py", "philox.py", "pictures.py", "tables.py", "prepare.py"} <= names
    assert {"manifold.png", "clusters.png", "reconstructions.png"} <= names


def test_without_formats_it_is_keras_alone(exported, tmp_path):
    study, _ = exported
    done = export_and_print(study, tmp_path)
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


def test_the_parts_are_the_whole_bit_for_bit(exported):
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


def test_the_manifest_says_where_the_model_came_from(exported):
    study, folder = exported
    manifest = json.loads((folder / "hyperparameters.json").read_text())
    assert manifest["hyperparameters"] == dict(study.winner.hyperparameters)
    assert manifest["validation"]["negative_elbo"] == study.winner.score
    assert manifest["data"]["fingerprint"] == IMAGES.fingerprint
    assert manifest["search"] == "tiny"


def test_an_old_export_is_replaced_whole(exported, earlier, tmp_path):
    (study, _), (folder, _) = exported, earlier
    assert (folder / "saved_model").exists()
    export_and_print(study, tmp_path)
    assert not (folder / "saved_model").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def assert_unchanged(export):
    folder, files = export
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert found == files


def test_a_failed_export_leaves_the_old_one(exported, earlier, tmp_path, monkeypatch):
    study, _ = exported

    def fill_the_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "draw_showcase", fill_the_disk)
    with pytest.raises(ResultsError, match=r"cannot be written: No space left on device"):
        export_and_print(study, tmp_path)
    assert_unchanged(earlier)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_folder_of_somebody_else_is_never_overwritten(exported, tmp_path):
    study, _ = exported
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "thesis.tex").write_text("years of work")
    with pytest.raises(ResultsError, match="is not an export of vaetune"):
        export_and_print(study, tmp_path)
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["missing", "truncated"])
@pytest.mark.usefixtures("quick")
def test_a_checkpoint_that_is_gone_is_one_clear_line(exported, tmp_path, damage):
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


def test_colour_images_of_odd_size_are_handed_over(tmp_path):
    images = make_images(shape=(9, 11, 3))
    study = run(tmp_path, changed(GRID, budget=Budget(max_epochs=1, max_trials=1)), images=images)
    folder = export_and_print(study, tmp_path).folder
    assert vaetune.load_model(folder / "vae.keras").image_shape == (9, 11, 3)


def test_restoring_gives_the_validation_loss_that_was_recorded(exported):
    study, _ = exported
    vae = restore_best(study, study.winner)
    images = IMAGES.validation.images.astype("float32") / 255.0
    measured = vae.evaluate(images, batch_size=len(images), verbose=0, return_dict=True)
    assert measured["loss"] == pytest.approx(study.winner.score, rel=1e-5)


def test_loading_what_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(ResultsError, match=r"vaetune best --export"):
        vaetune.load_model(tmp_path / "vae.keras")


def test_loading_what_is_no_model_is_one_clear_line(tmp_path):
    (tmp_path / "vae.keras").write_text("no model")
    with pytest.raises(ResultsError, match="is not a readable Keras model"):
        vaetune.load_model(tmp_path / "vae.keras")


def test_loading_a_part_as_the_whole_says_so(exported):
    _, folder = exported
    with pytest.raises(ResultsError, match=r"expected a VAE such as vae\.keras"):
        vaetune.load_model(folder / "decoder.keras")


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_that_asks_for_unsafe_loading_is_refused(tmp_path, inside):
    z = keras.Input((2,))
    doubled = keras.layers.Lambda(lambda x: 2.0 * x, output_shape=(2,))(z)
    model = keras.Model(z, doubled)
    if inside:
        decoder = build_decoder((9, 10, 1), 2, (2, 3))
        model = tiny_vae()
        model.decoder = keras.Model(z, decoder(doubled))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of Keras, that a lambda is being saved
        model.save(tmp_path / "vae.keras")
    with pytest.raises(ResultsError, match=r"contains code to be run.* not loaded") as error:
        vaetune.load_model(tmp_path / "vae.keras")
    assert "\n" not in str(error.value)


def test_the_command_says_where_it_is_and_the_maximum_differences(handed_over):
    _, folder, out = handed_over
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


def test_an_optional_dependency_that_is_missing_costs_its_format_only(
    exported, tmp_path, monkeypatch, quick, made_up
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


def test_a_format_that_cannot_be_written_leaves_nothing_half_written(
    exported, tmp_path, monkeypatch
):
    study, _ = exported

    def write_half(folder, vae):
        (folder / "encoder.tflite").write_bytes(b"half")
        raise RuntimeError("no kernel\nfor this")

    broken = replace(FORMATS["litert"], write=write_half)
    monkeypatch.setattr(formats_module, "FORMATS", {**FORMATS, "litert": broken})
    done = export_and_print(study, tmp_path, "litert")
    assert done.failures == {"litert": "RuntimeError: no kernel for this"}
    assert not (done.folder / "encoder.tflite").exists()
    assert list(done.max_difference) == ["keras"]


def test_a_format_that_says_something_else_is_not_handed_over(exported, tmp_path, made_up):
    class OneIsWrong(StubReader):
        def read(self, folder, formats, reference):
            assert (folder / "saved_model").exists()
            return {**super().read(folder, formats, reference), "saved-model": {"error": "no"}}

    study, _ = exported
    done = export_and_print(study, tmp_path, "saved-model", reader=OneIsWrong())
    assert done.failures == {"saved-model": "no"}
    assert not (done.folder / "saved_model").exists()
    shown = json.loads((done.folder / "hyperparameters.json").read_text())
    assert list(shown["formats"]) == ["keras"]
    assert not [name for name in shown["files"] if name.startswith("saved_model")]


def test_where_no_format_could_be_handed_over_the_old_export_stays(exported, earlier, tmp_path):
    study, _ = exported
    with pytest.raises(ResultsError, match=r"No format could be exported\. keras: it is gone"):
        export_and_print(study, tmp_path, reader=StubReader(error="it is gone"))
    assert_unchanged(earlier)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.usefixtures("quick")
def test_output_is_any_folder_from_the_working_directory(exported, tmp_path, monkeypatch):
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


def test_output_of_somebody_else_is_refused_before_anything_is_done(exported, tmp_path):
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
def test_what_makes_no_sense_is_a_usage_error(exported, arguments, words):
    study, _ = exported
    code, _, error = command("best", "--results", study.folder.parent, *arguments)
    assert code == 2
    assert words in error


@pytest.mark.usefixtures("quick")
def test_a_terminal_is_shown_what_is_being_done(exported, tmp_path, monkeypatch):
    study, _ = exported
    monkeypatch.setenv("FORCE_COLOR", "1")  # the command takes it for a terminal
    code, out, error = command(
        "best", "--export", "--results", study.folder.parent, "--output", tmp_path / "model"
    )
    assert code == 0
    assert "Reading the model back" in error
    assert "Reading" not in out


def test_ctrl_c_while_exporting_leaves_the_old_export(
    exported, earlier, tmp_path, monkeypatch, quick
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
