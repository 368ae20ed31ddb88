"""`predict.py` computes z, reconstructions and samples with only ONNX Runtime."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from standalone_predict import predict

import vaetune
from vaetune.data import prepare
from vaetune.data.images import Split, binarized, to_unit_interval
from vaetune.export.standalone import philox, pictures, tables

PIXELS = np.random.default_rng(4).integers(0, 256, (9, 10), dtype=np.uint8)


@pytest.fixture
def export(exported_winner, tmp_path, monkeypatch):
    """The folder of an export from which `predict` reads its models.

    The working directory is another folder, with `image.png`.
    """
    _, folder, _ = exported_winner
    monkeypatch.setattr(predict, "HERE", folder)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("image.png")
    return folder


@pytest.fixture
def change_steps(export, tmp_path, monkeypatch):
    """Returns a function that changes tables of preprocessing.json and returns all its steps."""

    def change(**tables):
        shown = json.loads((export / "preprocessing.json").read_text())
        for name, values in tables.items():
            shown[name] |= values
        folder = tmp_path / "changed"
        folder.mkdir()
        for name in ("encoder.onnx", "decoder.onnx"):
            (folder / name).symlink_to(export / name)
        (folder / "preprocessing.json").write_text(json.dumps(shown))
        monkeypatch.setattr(predict, "HERE", folder)
        return predict.read_preprocessing()

    return change


@pytest.fixture
def error_of(capsys):
    """Returns a function that runs `predict.py`, which must fail, and returns its message."""

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            predict.main(arguments)
        assert isinstance(done.value.code, str), "Python prints a string and exits with status 1"
        assert "\n" not in done.value.code
        assert capsys.readouterr().out == ""
        return done.value.code

    return run


def test_predict_runs_without_vaetune_and_tensorflow(export, tmp_path):
    code = (
        "import pathlib, runpy, sys\n"
        "sys.modules |= dict.fromkeys(('vaetune', 'tensorflow', 'keras'))\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))  # as Python does\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [sys.executable, "-I", "-B", "-c", code, export / "predict.py", "encode", "image.png"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (export / "__pycache__").exists()
    z = json.loads(done.stdout)
    vae = vaetune.load_model(export / "vae.keras")
    z_mean, z_log_var = vae.posterior(PIXELS.reshape(1, 9, 10, 1).astype("float32") / 255.0)
    np.testing.assert_allclose(z["z_mean"], z_mean[0], atol=1e-5)
    np.testing.assert_allclose(z["z_log_var"], z_log_var[0], atol=1e-5)


def test_the_programs_in_an_export_equal_their_sources(export):
    for module in (predict, philox, pictures, prepare, tables):
        path = Path(module.__file__)
        assert (export / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("prepare_is_there", [True, False])
def test_predict_imports_prepare_only_from_its_own_folder(prepare_is_there, tmp_path):
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "prepare.py").write_text("raise SystemExit('a file of the user was run')")
    for module in [predict, philox, pictures, tables, *[prepare] * prepare_is_there]:
        shutil.copy(module.__file__, folder)
    command = [sys.executable, folder / "predict.py", "encode", "image.png"]
    done = subprocess.run(
        command, cwd=elsewhere, capture_output=True, text=True, timeout=60, check=False
    )
    missing = "preprocessing.json cannot be used" if prepare_is_there else "prepare.py cannot be im"
    assert done.returncode == 1
    assert done.stderr.startswith(f"predict: {folder}/{missing}")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def photos(tmp_path):
    """A folder of images with subfolders, and the names of the images in order."""
    for name in ("b/2.png", "b/10.png", "a.png", ".hidden/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(PIXELS, len(name) + len(name[2:]))).save(path)
    np.save(tmp_path / "photos" / "d.npy", PIXELS)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos", ["a.png", "b/10.png", "b/2.png", "d.npy"]


@pytest.mark.parametrize("ending", ["npz", "csv"])
def test_a_folder_is_encoded_into_a_table_with_a_row_for_each_image(
    export, photos, capsys, monkeypatch, ending
):
    folder, names = photos
    monkeypatch.setattr(predict, "BATCH", 3)
    predict.main(["encode", "photos", f"z.{ending}"])
    assert capsys.readouterr() == ("", "")
    if ending == "npz":
        with np.load("z.npz", allow_pickle=False) as found:
            shown, z = found["names"].tolist(), np.hstack([found["z_mean"], found["z_log_var"]])
    else:
        frame = pd.read_csv("z.csv")
        shown, z = frame.pop("name").tolist(), frame.to_numpy(np.float32)
        assert [*frame] == ["z_mean_0", "z_mean_1", "z_log_var_0", "z_log_var_1"]
    assert shown == names
    for name, values in zip(names, z, strict=True):
        predict.main(["encode", str(folder / name)])
        single = json.loads(capsys.readouterr().out)
        np.testing.assert_allclose(values, single["z_mean"] + single["z_log_var"], atol=1e-5)


@pytest.mark.parametrize("ending", ["npz", "csv"])
def test_a_name_in_another_encoding_than_utf_8_has_its_bytes_escaped(export, photos, ending):
    folder, _ = photos
    (folder / "a.png").rename(folder / os.fsdecode(b"\xe9.png"))
    predict.main(["encode", "photos", f"z.{ending}"])
    frame = np.load("z.npz")["names"] if ending == "npz" else pd.read_csv("z.csv")["name"]
    assert r"\udce9.png" in frame.tolist()


def test_a_table_of_a_single_image_replaces_an_earlier_table(export, capsys):
    for _ in range(2):
        predict.main(["encode", "image.png", "z.csv"])
    assert pd.read_csv("z.csv")["name"].tolist() == ["image.png"]


def test_notes_about_a_folder_are_summarized_in_one_line(export, photos, capsys):
    folder, _ = photos
    for name in ("e", "f", "g"):
        Image.fromarray(PIXELS).resize((20, 18)).save(folder / f"{name}.png")
    predict.main(["encode", "photos", "z.npz"])
    printed = capsys.readouterr().err
    assert printed.startswith("predict: photos/e.png has 18 x 20 pixels")
    assert printed.endswith(": the image was resized. And 2 more notes like this.\n")


def test_a_folder_that_cannot_be_encoded_is_refused(export, photos, error_of, tmp_path):
    folder, _ = photos
    assert error_of("encode", "photos").endswith("write: encode FOLDER embeddings.npz")
    assert "no/z.npz cannot be written" in error_of("encode", "photos", "no/z.npz")
    assert "no/z.csv cannot be written" in error_of("encode", "photos", "no/z.csv")
    (folder / "b" / "3.png").write_bytes(b"no image")
    before = sorted(tmp_path.iterdir())
    for name in ("z.npz", "z.csv"):
        assert "photos/b/3.png cannot be read as an image" in error_of("encode", "photos", name)
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "empty").mkdir()
    assert "empty contains no images" in error_of("encode", "empty", "z.csv")


def test_a_reconstruction_is_decoded_from_z_mean(export):
    predict.main(["reconstruct", "image.png", "rebuilt.png"])
    vae = vaetune.load_model(export / "vae.keras")
    z_mean, _ = vae.posterior(PIXELS.reshape(1, 9, 10, 1).astype("float32") / 255.0)
    expected = np.asarray(vae.decoder(z_mean))[0, :, :, 0] * 255.0
    np.testing.assert_allclose(np.asarray(Image.open("rebuilt.png")), expected, atol=0.51)


def test_samples_are_written_as_one_sheet_and_depend_on_the_seed(export):
    for name, seed in (("one.png", "1"), ("again.png", "1"), ("other.png", "2")):
        predict.main(["sample", name, "--count", "5", "--seed", seed])
    one, again, other = (np.asarray(Image.open(f"{n}.png")) for n in ("one", "again", "other"))
    assert one.shape == (2 * 9, 3 * 10)
    assert not one[9:, 20:].any(), "the sixth place is empty"
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_colour_images_stay_in_colour(tmp_path):
    images = np.zeros((2, 8, 8, 3), dtype=np.float32)
    images[1, ..., 2] = 1.0
    predict.write_images(tmp_path / "sheet.png", images)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (8, 16, 3)
    assert sheet[0, 15].tolist() == [0, 0, 255]


def test_pixels_are_binarised_as_the_training_images_were(change_steps):
    shown = change_steps(binarize={"method": "threshold", "threshold": 0.5})
    split = binarized(Split(PIXELS.reshape(1, 9, 10, 1), None), "threshold")
    read = predict.load_image("image.png", shown, seed=0)
    np.testing.assert_array_equal(read, to_unit_interval(split.images))


def test_stochastic_binarisation_depends_on_the_seed(change_steps):
    shown = change_steps(binarize={"method": "stochastic"})
    one, again, other = (predict.load_image("image.png", shown, seed) for seed in (1, 1, 2))
    assert set(np.unique(one)) == {0.0, 1.0}
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_an_image_of_another_size_is_resized_with_a_note(export, capsys):
    Image.fromarray(PIXELS).resize((20, 18)).save("double.png")
    predict.main(["encode", "double.png"])
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)["z_mean"]) == 2
    shown = (
        "predict: double.png has 18 x 20 pixels, the model expects 9 x 10: the image was resized"
    )
    assert printed.err == f"{shown}.\n"
    Image.fromarray(PIXELS).resize((10, 18)).save("tall.png")
    predict.main(["encode", "tall.png"])
    assert "resized and its proportions changed.\n" in capsys.readouterr().err


def test_an_image_of_another_size_is_refused_under_the_policy_refuse(change_steps, error_of):
    change_steps(resize={"policy": "refuse"})
    Image.fromarray(PIXELS).resize((20, 18)).save("double.png")
    expected = "predict: double.png has 18 x 20 pixels, the model expects 9 x 10. Resize it first."
    assert error_of("encode", "double.png") == expected


@pytest.mark.parametrize("content", [None, b"", b"no image", "cut off"])
def test_an_unreadable_image_is_refused(export, error_of, tmp_path, content):
    whole = (tmp_path / "image.png").read_bytes()
    if content is not None:
        (tmp_path / "broken.png").write_bytes(whole[:60] if content == "cut off" else content)
    assert error_of("encode", "broken.png").startswith(
        "predict: broken.png cannot be read as an image ("
    )


def test_an_output_that_cannot_be_written_is_refused(export, error_of):
    assert "no/such.png cannot be written" in error_of("sample", "no/such.png")
    assert "Choose a file name that ends in .png" in error_of("sample", "samples.unknown")


@pytest.mark.parametrize("name", ["preprocessing.json", "encoder.onnx"])
def test_an_export_with_a_damaged_file_is_reported(change_steps, error_of, tmp_path, name):
    change_steps()
    (tmp_path / "changed" / name).unlink()
    (tmp_path / "changed" / name).write_text("{}")
    assert error_of("encode", "image.png").endswith("Export the model again.")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("encode",),
        ("sample", "a.png", "--count", "0"),
        ("sample", "a.png", "--count", "100000000"),
        ("sample", "a.png", "--seed", "-1"),
        ("paint", "image.png"),
        ("encode", "image.png", "z.txt"),
    ],
)
def test_usage_errors_have_exit_status_2(export, capsys, arguments):
    with pytest.raises(SystemExit) as done:
        predict.main(arguments)
    assert done.value.code == 2
    assert "usage: predict.py" in capsys.readouterr().err
