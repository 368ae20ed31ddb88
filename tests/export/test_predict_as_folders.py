"""`predict.py` and `vaetune encode` prepare image files as `read_folder` did for training."""

import json

import numpy as np
import pytest
from journals import make_study
from PIL import Image
from standalone_predict import predict

from vaetune.config.reading import Reading, ReadingSpec
from vaetune.config.spec import DataSpec
from vaetune.data.folders.reader import read_folder
from vaetune.data.for_model import Trained, open_rows
from vaetune.data.images import to_unit_interval
from vaetune.data.prepare import to_unit
from vaetune.export.preprocessing import describe_preprocessing

GENERATOR = np.random.default_rng(11)
GREY = GENERATOR.integers(0, 256, (4, 9, 12), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (4, 9, 12, 3), dtype=np.uint8)
DEEP = GENERATOR.integers(0, 4096, (4, 9, 12), dtype=np.uint16)
FLOATS = GENERATOR.uniform(-1, 1, (4, 9, 12)).astype(np.float32)


def with_orientation(number):
    exif = Image.Exif()
    exif[0x0112] = 5 + number  # All four orientations swap height and width.
    return {"exif": exif}


def with_pages(number):
    return {"save_all": True, "append_images": [Image.fromarray(one) for one in DEEP[:number]]}


def with_transparent_colour(number):
    return {"transparency": number}


ALPHA = np.concatenate([COLOUR, GREY[..., np.newaxis]], axis=-1)

CASES = {
    "grey": (GREY, "png", {}, {}),
    "colour": (COLOUR, "png", {}, {}),
    "turned": (COLOUR, "jpg", with_orientation, {}),
    "turned TIFF": (GREY, "tif", with_orientation, {}),
    "16 bits": (DEEP, "png", {}, {}),
    "16 bits, PGM": (DEEP.astype(np.int32), "pgm", {}, {}),
    "floats": (FLOATS, "tif", {}, {}),
    "web": (COLOUR, "webp", {}, {}),
    "bits": ([Image.fromarray(one).convert("1") for one in GREY], "bmp", {}, {}),
    "animation": (GREY, "gif", {}, {}),
    "print": ([Image.fromarray(one).convert("CMYK") for one in COLOUR], "jpg", {}, {}),
    "palette on white": (
        [Image.fromarray(one).convert("P") for one in GREY],
        "png",
        with_transparent_colour,
        {"background": "white"},
    ),
    "on yellow": (ALPHA, "png", {}, {"background": "#ffcc00"}),
    "icons": (ALPHA, "png", {}, {}),
    "pages are channels": (DEEP, "tif", lambda number: with_pages(3), {}),
    "crop": (COLOUR, "png", {}, {"image_size": 8, "resize": "crop"}),
    "pad": (DEEP, "png", {}, {"image_size": (16, 10), "resize": "pad"}),
    "stretch": (FLOATS, "tif", {}, {"image_size": 14, "resize": "stretch"}),
    "crop by default": (GREY, "png", {}, {"image_size": 8}),
}
RANGES = {"uint8": (0, 255), "uint16": (0, 4095), "int32": (0, 4095), "float32": (-1, 1)}


@pytest.mark.parametrize("name", CASES)
def test_predict_and_encode_prepare_every_file_as_in_training(name, tmp_path, own_cache):
    folder = tmp_path / "photos"
    folder.mkdir()
    pictures, ending, options, spec = CASES[name]
    for number, picture in enumerate(pictures):
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        settings = options(number) if callable(options) else options
        image.save(folder / f"{number}.{ending}", **settings)
    raw = read_folder(folder, ReadingSpec(**spec))
    images = raw.train.images
    limits = RANGES[images.dtype.name]
    reading = Reading(
        **{"kind": raw.kind, "dtype": images.dtype.name, "low": 0, "high": 0, "range": limits},
        **{"layout": raw.layout, "pages": raw.pages, "background": raw.background},
        **{"image_size": raw.image_size, "resize": raw.resize},
    )
    study = make_study(image_shape=images.shape[1:], reading=reading)
    steps = json.loads(json.dumps(describe_preprocessing(study)))
    for path, pixels in zip(sorted(folder.iterdir()), images, strict=True):
        read = predict.load_image(path, steps, seed=0)
        np.testing.assert_array_equal(read[0], to_unit(pixels, *limits)[0])
    trained = Trained(DataSpec(dataset="gone", **spec), reading, images.shape[1:], "0" * 64)
    read = open_rows(str(folder), trained).read(slice(None))
    np.testing.assert_array_equal(to_unit_interval(read), to_unit(images, *limits)[0])
