"""`predict.py` prepares a new image as the training images were prepared, bit for bit.

No model is needed: the tests compare the array that the encoder would receive.
"""

import json
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from journals import SPEC, make_study
from PIL import Image
from standalone_predict import predict

from vaetune.config.reading import Reading
from vaetune.config.spec import DataSpec
from vaetune.data.prepare import decode, resize, to_channels, to_unit
from vaetune.export.preprocessing import describe_preprocessing

GENERATOR = np.random.default_rng(7)
GREY = GENERATOR.integers(0, 256, (9, 10), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (9, 10, 3), dtype=np.uint8)
DEEP = GENERATOR.integers(0, 4096, (9, 10), dtype=np.uint16)
CLOCKWISE = 6
"""EXIF orientation of an image that viewers rotate clockwise by 90 degrees."""


def read_as(kind="files", dtype="uint8", limits=(0, 255), **fields):
    return Reading(kind=kind, dtype=dtype, low=limits[0], high=limits[1], range=limits, **fields)


def steps_of(reading, shape=(9, 10, 1), **search):
    """The content of preprocessing.json of a search, as read from JSON."""
    search = SPEC.model_copy(update={"data": DataSpec(**search)})
    shown = describe_preprocessing(make_study(image_shape=shape, reading=reading, search=search))
    return json.loads(json.dumps(shown))


def prepare_for_training(pages, reading, shape):
    """Prepares an image with the functions that prepare training images.

    Args:
        pages: Pages of the image file, which become channels.
        reading: How the search reads images.
        shape: Height, width and channels that the model expects.
    """
    pixels = np.concatenate([decode(page, reading.background) for page in pages], axis=-1)
    pixels = to_channels(pixels, shape[-1])
    if reading.resize:
        pixels = resize(pixels, shape[:2], reading.resize)
    return to_unit(pixels, *reading.range)[0]


def save_palette(path):
    image = Image.fromarray(GREY).convert("P")
    image.save(path, transparency=int(GREY[0, 0]))


def save_rotated(path):
    exif = Image.Exif()
    exif[0x0112] = CLOCKWISE
    Image.fromarray(COLOUR).save(path, exif=exif)


def save_pages(path):
    first, *others = (Image.fromarray(DEEP + np.uint16(page)) for page in range(5))
    first.save(path, save_all=True, append_images=others)


CASES = {
    "grey.png": (Image.fromarray(GREY).save, read_as(), (9, 10, 1)),
    "grey-in-colour.png": (Image.fromarray(GREY).convert("RGB").save, read_as(), (9, 10, 1)),
    "grey-for-colour.png": (Image.fromarray(GREY).save, read_as(), (9, 10, 3)),
    "turned.jpg": (save_rotated, read_as(), (10, 9, 3)),
    "deep.png": (Image.fromarray(DEEP).save, read_as("files", "uint16", (0, 4095)), (9, 10, 1)),
    "palette.png": (save_palette, read_as(background="white"), (9, 10, 3)),
    "print.jpg": (Image.fromarray(COLOUR).convert("CMYK").save, read_as(), (9, 10, 3)),
    "web.webp": (Image.fromarray(COLOUR).save, read_as(), (9, 10, 3)),
    "bits.bmp": (Image.fromarray(GREY).convert("1").save, read_as(), (9, 10, 1)),
    "pages.tif": (
        save_pages,
        read_as("files", "uint16", (0, 4095), pages="channels"),
        (9, 10, 5),
    ),
    "crop.png": (
        Image.fromarray(COLOUR).save,
        read_as(image_size=(8, 8), resize="crop"),
        (8, 8, 3),
    ),
    "pad.png": (
        Image.fromarray(GREY).save,
        read_as(image_size=(12, 20), resize="pad"),
        (12, 20, 1),
    ),
    "stretch.png": (
        Image.fromarray(DEEP).save,
        read_as("files", "uint16", (0, 4095), image_size=(16, 8), resize="stretch"),
        (16, 8, 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_prepared_as_in_training(name, tmp_path):
    save, reading, shape = CASES[name]
    path = tmp_path / name
    save(path)
    with Image.open(path) as file:
        pages = [page.copy() for page in predict.ImageSequence.Iterator(file)]
        expected = prepare_for_training(pages if reading.pages else [file], reading, shape)
    read = predict.load_image(path, steps_of(reading, shape), seed=0)
    assert (read.dtype, read.shape) == (np.float32, (1, *shape))
    np.testing.assert_array_equal(read[0], expected)
    assert len(np.unique(read)) > 1, "the image is not constant"


def test_transparent_pixels_become_white_and_16_bits_keep_their_precision(tmp_path):
    save_palette(tmp_path / "palette.png")
    palette = steps_of(read_as(background="white"), (9, 10, 3))
    on_white = predict.load_image(tmp_path / "palette.png", palette, seed=0)[0]
    assert (on_white[GREY[0, 0] == GREY] == 1.0).all()
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    deep = steps_of(read_as("files", "uint16", (0, 4095)))
    unit = predict.load_image(tmp_path / "deep.png", deep, seed=0)[0, ..., 0]
    np.testing.assert_array_equal(unit, DEEP.astype(np.float32) / np.float32(4095))


@pytest.mark.parametrize("name", ["turned.png", "turned.tif", "turned.jpg"])
def test_an_image_with_an_exif_orientation_is_rotated(name, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = CLOCKWISE
    options = {"quality": 100} if name.endswith("jpg") else {}
    Image.fromarray(GREY).save(tmp_path / name, exif=exif, **options)
    turned = predict.load_image(tmp_path / name, steps_of(read_as(), (10, 9, 1)), seed=0)
    np.testing.assert_allclose(turned[0, ..., 0] * 255, np.rot90(GREY, -1), atol=2)


@pytest.mark.parametrize(
    ("layout", "saved"),
    [
        ("channels_last", lambda image: image),
        ("channels_first", lambda image: np.moveaxis(image, -1, 0)),
        ("images_last", lambda image: image),
    ],
)
def test_an_array_is_prepared_as_in_training(layout, saved, tmp_path):
    image = GENERATOR.uniform(-1, 1, (9, 10, 2))
    np.save(tmp_path / "image.npy", saved(image))
    reading = read_as("arrays", "float32", (-1, 1), layout=layout)
    read = predict.load_image(tmp_path / "image.npy", steps_of(reading, (9, 10, 2)), seed=0)
    np.testing.assert_array_equal(read[0], to_unit(image, -1, 1)[0])
    assert 0.0 <= read.min() < 0.1 < 0.9 < read.max() <= 1.0


def test_a_grey_array_needs_no_channel_axis(tmp_path):
    np.save(tmp_path / "image.npy", GREY)
    read = predict.load_image(tmp_path / "image.npy", steps_of(read_as("arrays")), seed=0)
    np.testing.assert_array_equal(read[0, ..., 0] * 255, GREY)


def test_values_outside_the_range_are_clipped_and_counted(tmp_path, capsys):
    image = np.array(DEEP)
    image[0, :3] = 5000
    Image.fromarray(image).save(tmp_path / "bright.png")
    deep = steps_of(read_as("files", "uint16", (0, 4095)))
    read = predict.load_image(tmp_path / "bright.png", deep, seed=0)
    assert (read[0, 0, :3] == 1.0).all()
    assert capsys.readouterr().err.endswith("bright.png: 3 values outside 0..4095 clipped.\n")


@pytest.mark.parametrize("policy", ["crop", "pad", "stretch"])
def test_an_image_of_another_size_is_resized_as_in_training_with_a_note(policy, tmp_path, capsys):
    path = tmp_path / "wide.png"
    Image.fromarray(COLOUR).resize((40, 18)).save(path)
    steps = steps_of(read_as(image_size=(9, 10), resize=policy), (9, 10, 3))
    read = predict.load_image(path, steps, seed=0)
    with Image.open(path) as file:
        expected = resize(decode(file), (9, 10), policy)
    np.testing.assert_array_equal(read[0] * 255, expected)
    words = {"crop": "cropped", "pad": "padded", "stretch": "its proportions changed"}
    assert capsys.readouterr().err == (
        f"predict: {path} has 18 x 40 pixels, the model expects 9 x 10: the image was resized and "
        f"{words[policy]}.\n"
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "bool"])
def test_8_bit_files_are_scaled_to_the_range_of_floats_and_masks(dtype, tmp_path):
    limits = (0, 1) if dtype == "bool" else (-1, 1)
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    steps = steps_of(read_as("arrays", dtype, limits))
    read = predict.load_image(tmp_path / "grey.png", steps, seed=0)
    np.testing.assert_array_equal(read[0, ..., 0], to_unit(GREY, 0, 255)[0])


def test_models_of_integers_from_0_to_255_accept_8_bit_files(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    steps = steps_of(read_as("arrays", "int64"))
    read = predict.load_image(tmp_path / "grey.png", steps, seed=0)
    np.testing.assert_array_equal(read[0, ..., 0], to_unit(GREY, 0, 255)[0])


REFUSED = {
    "8-bit.png": (
        Image.fromarray(GREY).save,
        steps_of(read_as("files", "uint16", (0, 4095))),
        "has pixels of type uint8, but the model was trained on uint16 values 0..4095",
    ),
    "8-bit-for-scans.png": (
        Image.fromarray(GREY).save,
        steps_of(read_as("arrays", "int16", (-1000, 3000))),
        "has pixels of type uint8, but the model was trained on int16 values -1000..3000",
    ),
    "8-bit-for-float-files.png": (
        Image.fromarray(GREY).save,
        steps_of(read_as("files", "float32", (0, 1))),
        "has pixels of type uint8, but the model was trained on float32 values 0..1",
    ),
    "16-bit.png": (
        Image.fromarray(DEEP).save,
        steps_of(read_as()),
        "has pixels of type uint16, but the model was trained on uint8 values 0..255",
    ),
    "bytes.npy": (
        lambda path: np.save(path, GREY),
        steps_of(read_as("arrays", "float32", (0, 1))),
        "has pixels of type uint8, but the model was trained on float32 values 0..1",
    ),
    "colour.png": (
        Image.fromarray(COLOUR).save,
        steps_of(read_as()),
        "does not fit the model: it has 3 channels, expected 1 channel.",
    ),
    "two.npy": (
        lambda path: np.save(path, GREY[:, :, np.newaxis].repeat(2, -1)),
        steps_of(read_as("arrays"), (9, 10, 4)),
        "does not fit the model: it has 2 channels, expected 4 channels.",
    ),
    "stack.npy": (
        lambda path: np.save(path, GREY.reshape(1, 9, 10, 1)),
        steps_of(read_as("arrays")),
        "has shape (1, 9, 10, 1), expected one image: (height, width) or (height, width, channels)",
    ),
    "empty.npy": (
        lambda path: np.save(path, GREY[:0]),
        steps_of(read_as("arrays")),
        "has shape (0, 10), expected one image",
    ),
    "nan.npy": (
        lambda path: np.save(path, np.full((9, 10), np.nan)),
        steps_of(read_as("arrays", "float64", (0, 1))),
        "contains values that are NaN or infinite",
    ),
    "objects.npy": (
        lambda path: np.save(path, np.array([[{}]]), allow_pickle=True),
        steps_of(read_as("arrays")),
        "cannot be read as an image (Object arrays cannot be loaded",
    ),
    "no-array.npy": (
        lambda path: path.write_bytes(b"PK\3\4"),
        steps_of(read_as("arrays")),
        "cannot be read as an image (",
    ),
    "pages.tif": (
        save_pages,
        steps_of(read_as("files", "uint16", (0, 4095), pages="images")),
        "has 5 pages, expected one image. Save each page as a file.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_that_does_not_fit_the_model_is_refused_in_one_line(name, tmp_path, capsys):
    save, steps, words = REFUSED[name]
    save(tmp_path / name)
    with pytest.raises(SystemExit) as done:
        predict.load_image(tmp_path / name, steps, seed=0)
    assert str(done.value.code).startswith(f"predict: {tmp_path / name} {words}")
    assert "\n" not in done.value.code
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [EOFError, KeyError, struct.error, NotImplementedError])
def test_errors_of_pillow_are_reported_with_the_file(error, tmp_path, monkeypatch):
    def fail(*arguments):
        raise error("no more data")

    monkeypatch.setattr(predict, "decode_file", fail)
    path = tmp_path / "grey.png"
    Image.fromarray(GREY).save(path)
    with pytest.raises(SystemExit) as done:
        predict.load_image(path, steps_of(read_as()), seed=0)
    assert done.value.code.startswith(f"predict: {path} cannot be read as an image (")


def test_a_32_bit_tiff_of_16_bit_values_is_read_as_uint16(tmp_path):
    Image.fromarray(DEEP.astype(np.int32)).save(tmp_path / "deep.tif")
    steps = steps_of(read_as("files", "uint16", (0, 4095)))
    read = predict.load_image(tmp_path / "deep.tif", steps, seed=0)
    np.testing.assert_array_equal(read[0, ..., 0], to_unit(DEEP, 0, 4095)[0])


def test_pixels_are_binarised_after_scaling(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    steps = steps_of(read_as("files", "uint16", (0, 4095)), binarize="threshold")
    read = predict.load_image(tmp_path / "deep.png", steps, seed=0)
    np.testing.assert_array_equal(read[0, ..., 0], DEEP >= 2048)


# Searches that did not record how they read images


@pytest.mark.parametrize(
    ("mode", "colour", "channels", "expected"),
    [
        ("1", 1, 1, [255]),
        ("L", 100, 1, [100]),
        ("L", 100, 3, [100, 100, 100]),
        ("LA", (200, 128), 1, [100]),
        ("I;16", 25570, 1, [99]),
        ("RGB", (255, 0, 0), 1, [76]),
        ("RGBA", (200, 100, 50, 128), 3, [100, 50, 25]),
        ("P", "red", 3, [255, 0, 0]),
    ],
)
def test_images_of_an_old_search_are_read_in_8_bits_on_black(
    mode, colour, channels, expected, tmp_path
):
    image = Image.new("RGB" if mode == "P" else mode, (10, 9), colour)
    (image.convert("P") if mode == "P" else image).save(tmp_path / "image.png")
    read = predict.load_image(tmp_path / "image.png", steps_of(None, (9, 10, channels)), seed=0)
    assert (read[0] * 255 == expected).all()


def test_images_of_an_old_search_are_stretched_by_pillow(tmp_path):
    wide = Image.fromarray(COLOUR).resize((33, 21))
    wide.save(tmp_path / "wide.png")
    read = predict.load_image(tmp_path / "wide.png", steps_of(None, (9, 10, 3)), seed=0)
    expected = wide.resize((10, 9), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read[0], np.asarray(expected, np.float32) / np.float32(255))


# Writing images


def test_images_of_five_channels_are_written_as_an_array_or_pages(tmp_path):
    images = GENERATOR.uniform(-0.2, 1.2, (3, 9, 10, 5)).astype(np.float32)
    predict.write_images(tmp_path / "samples.npy", images)
    predict.write_images(tmp_path / "one.npy", images[0])
    unit = images.clip(0, 1)
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy"), unit)
    np.testing.assert_array_equal(np.load(tmp_path / "one.npy"), unit[0])
    predict.write_images(tmp_path / "one.tif", images[0])
    predict.write_images(tmp_path / "sheet.tiff", images)
    with Image.open(tmp_path / "one.tif") as file:
        assert (file.n_frames, file.mode) == (5, "F")
        file.seek(4)
        np.testing.assert_array_equal(np.asarray(file), unit[0, ..., 4])
    with Image.open(tmp_path / "sheet.tiff") as file:
        assert (file.n_frames, file.size) == (5, (20, 18))


def test_a_written_tiff_is_read_back_unchanged(tmp_path):
    image = GENERATOR.uniform(0, 1, (9, 10, 5)).astype(np.float32)
    predict.write_images(tmp_path / "one.tif", image)
    steps = steps_of(read_as("arrays", "float32", (0, 1)), (9, 10, 5))
    read = predict.load_image(tmp_path / "one.tif", steps, seed=0)
    np.testing.assert_array_equal(read[0], image)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_png_of_two_or_four_channels_is_refused(channels, tmp_path):
    path = tmp_path / "samples.png"
    with pytest.raises(SystemExit) as done:
        predict.write_images(path, np.zeros((1, 9, 10, channels), np.float32))
    assert done.value.code == (
        f"predict: {path} cannot hold {channels} channels. Choose a file name that ends in .npy or "
        ".tif."
    )
    assert not path.exists()


class FiveChannels:
    """An encoder or a decoder of five channels. z_mean is the mean brightness of each channel."""

    def __init__(self, name):
        self.run = {"encoder": self.encode, "decoder": self.decode}[name]

    def get_inputs(self):
        return [SimpleNamespace(name="latent", shape=[None, 5])]

    @staticmethod
    def encode(names, inputs):
        means = inputs["image"].mean(axis=(1, 2))
        return [means, means]

    @staticmethod
    def decode(names, inputs):
        z = inputs["latent"][:, np.newaxis, np.newaxis, :]
        return [np.broadcast_to(z, (len(z), 9, 10, 5))]


def test_a_model_of_five_channels_reads_pages_and_writes_arrays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "HERE", tmp_path)
    monkeypatch.setattr(predict, "open_model", FiveChannels)
    _, reading, shape = CASES["pages.tif"]
    (tmp_path / "preprocessing.json").write_text(json.dumps(steps_of(reading, shape)))
    save_pages("pages.tif")
    predict.main(["encode", "pages.tif"])
    z_mean = json.loads(capsys.readouterr().out)["z_mean"]
    predict.main(["reconstruct", "pages.tif", "rebuilt.npy"])
    rebuilt = np.load("rebuilt.npy")
    assert (rebuilt.dtype, rebuilt.shape) == (np.float32, shape)
    np.testing.assert_allclose(rebuilt[0, 0], z_mean, rtol=1e-6)
    predict.main(["sample", "samples.npy", "--count", "3"])
    assert np.load("samples.npy").shape == (3, *shape)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("input", {"dtype": "unknown"}),
        ("input", {"range": None}),
        ("resize", {"policy": "squeeze"}),
        ("resize", {"filter": "bicubic"}),
    ],
)
def test_unknown_preprocessing_steps_are_refused(table, change, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "HERE", tmp_path)
    path = tmp_path / "preprocessing.json"
    steps = steps_of(read_as())
    path.write_text(json.dumps(steps))
    assert predict.read_preprocessing() == steps
    steps[table] |= change
    path.write_text(json.dumps(steps))
    with pytest.raises(SystemExit) as done:
        predict.read_preprocessing()
    assert str(done.value.code).startswith(f"predict: {path} cannot be used (")
