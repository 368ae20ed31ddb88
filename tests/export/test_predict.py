"""`predict.py` turns image files to z, reconstructions and samples, with ONNX Runtime alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaetune
from vaetune.data.image_folder import read_folder
from vaetune.data.images import Split, binarized, to_unit_interval
from vaetune.export.standalone import predict

PIXELS = np.random.default_rng(4).integers(0, 256, (9, 10), dtype=np.uint8)


@pytest.fixture
def export(handed_over, tmp_path, monkeypatch):
    """The folder of an export, for `predict` in this process, and a user elsewhere."""
    _, folder, _ = handed_over
    monkeypatch.setattr(predict, "HERE", folder)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("image.png")
    return folder


@pytest.fixture
def steps(export, tmp_path, monkeypatch):
    """What preprocessing.json says, to be changed with `change`."""

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
def refused(capsys):
    """Runs a command that must end with one line; returns it."""

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            predict.main(arguments)
        assert isinstance(done.value.code, str), "which Python prints, and exits with code 1"
        assert "\n" not in done.value.code
        assert capsys.readouterr().out == ""
        return done.value.code

    return run


def test_it_runs_where_neither_vaetune_nor_tensorflow_can_be_imported(export, tmp_path):
    code = (
        "import runpy, sys\n"
        "sys.modules |= dict.fromkeys(('vaetune', 'tensorflow', 'keras'))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [sys.executable, "-I", "-c", code, export / "predict.py", "encode", "image.png"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    z = json.loads(done.stdout)
    vae = vaetune.load_model(export / "vae.keras")
    z_mean, z_log_var = vae.posterior(PIXELS.reshape(1, 9, 10, 1).astype("float32") / 255.0)
    np.testing.assert_allclose(z["z_mean"], z_mean[0], atol=1e-5)
    np.testing.assert_allclose(z["z_log_var"], z_log_var[0], atol=1e-5)


def test_the_copy_in_the_export_is_the_one_that_is_tested(export):
    assert (export / "predict.py").read_bytes() == Path(predict.__file__).read_bytes()


def test_a_reconstruction_is_decoded_from_z_mean(export):
    predict.main(["reconstruct", "image.png", "rebuilt.png"])
    vae = vaetune.load_model(export / "vae.keras")
    z_mean, _ = vae.posterior(PIXELS.reshape(1, 9, 10, 1).astype("float32") / 255.0)
    expected = np.asarray(vae.decoder(z_mean))[0, :, :, 0] * 255.0
    np.testing.assert_allclose(np.asarray(Image.open("rebuilt.png")), expected, atol=0.51)


def test_samples_come_on_one_sheet_the_same_for_the_same_seed(export):
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


@pytest.mark.parametrize(
    ("mode", "channels"),
    [
        *((mode, 1) for mode in ("1", "L", "LA", "I;16")),
        *((mode, 3) for mode in ("1", "L", "LA", "RGB", "RGBA", "P")),
    ],
)
def test_a_file_is_read_as_those_that_the_model_was_trained_on(steps, tmp_path, mode, channels):
    alike = tmp_path / "images"
    alike.mkdir()
    file_of_mode(mode).save(alike / "a.png")
    if channels == 3:  # one colour file makes all of them colour
        Image.new("RGB", (10, 9), "red").save(alike / "b.png")
    trained_on, _, _ = read_folder(alike)
    shown = steps(image={"channels": channels})
    read = predict.load_image(alike / "a.png", shown, seed=0)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read[0], to_unit_interval(trained_on)[0])


def file_of_mode(mode):
    if mode == "I;16":
        return Image.fromarray(PIXELS.astype(np.uint16) * 200)
    grey = Image.fromarray(PIXELS)
    if mode in ("LA", "RGBA"):
        grey = grey.convert(mode)
        grey.putalpha(Image.fromarray(PIXELS.T.reshape(9, 10).copy()))
    return grey.convert(mode)


def test_pixels_are_binarised_as_the_training_images_were(steps):
    shown = steps(binarize={"method": "threshold", "threshold": 0.5})
    split = binarized(Split(PIXELS.reshape(1, 9, 10, 1), None), "threshold")
    read = predict.load_image("image.png", shown, seed=0)
    np.testing.assert_array_equal(read, to_unit_interval(split.images))


def test_stochastic_binarisation_is_drawn_from_the_seed(steps):
    shown = steps(binarize={"method": "stochastic"})
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


def test_an_image_of_another_size_is_refused_where_the_steps_say_so(steps, refused):
    steps(resize={"policy": "refuse"})
    Image.fromarray(PIXELS).resize((20, 18)).save("double.png")
    expected = "predict: double.png has 18 x 20 pixels, the model expects 9 x 10. Resize it first."
    assert refused("encode", "double.png") == expected


@pytest.mark.parametrize("content", [None, b"", b"no image", "cut off"])
def test_what_is_no_image_is_refused(export, refused, tmp_path, content):
    whole = (tmp_path / "image.png").read_bytes()
    if content is not None:
        (tmp_path / "broken.png").write_bytes(whole[:60] if content == "cut off" else content)
    assert refused("encode", "broken.png").startswith(
        "predict: broken.png cannot be read as an image ("
    )


def test_pixels_of_no_known_scale_are_refused(export, refused):
    Image.fromarray(np.full((9, 10), -1.0, dtype=np.float32)).save("deep.tiff")
    assert "pixel values are outside 0..65535" in refused("encode", "deep.tiff")


def test_what_cannot_be_written_is_refused(export, refused):
    assert "no/such.png cannot be written" in refused("sample", "no/such.png")
    assert "Choose a file name that ends in .png" in refused("sample", "samples.unknown")


@pytest.mark.parametrize("name", ["preprocessing.json", "encoder.onnx"])
def test_an_export_that_is_not_whole_says_so(steps, refused, tmp_path, name):
    steps()
    (tmp_path / "changed" / name).unlink()
    (tmp_path / "changed" / name).write_text("{}")
    assert refused("encode", "image.png").endswith("Export the model again.")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("encode",),
        ("sample", "a.png", "--count", "0"),
        ("sample", "a.png", "--count", "100000000"),
        ("sample", "a.png", "--seed", "-1"),
        ("paint", "image.png"),
    ],
)
def test_usage_errors_exit_with_two(export, capsys, arguments):
    with pytest.raises(SystemExit) as done:
        predict.main(arguments)
    assert done.value.code == 2
    assert "usage: predict.py" in capsys.readouterr().err
