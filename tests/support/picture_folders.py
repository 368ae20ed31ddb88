"""Folders of small image files, and functions that read them."""

import numpy as np
import pytest
from PIL import Image

from vaetune.config import ReadingSpec
from vaetune.data.folders.reader import read_folder
from vaetune.errors import DataError


def noise(count=4, *shape, seed=0, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, (count, *(shape or (9, 10)))).astype(dtype)


def save(folder, images, ending=".png", **options):
    """Saves arrays or images to files that are named by their numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        as_image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        as_image.save(folder / f"{number:03d}{ending}", **options)
    return folder


def read(folder, **spec):
    return read_folder(folder, ReadingSpec(**spec))


def pixels(folder, **spec):
    return read(folder, **spec).train.images


def message_of_refusal(folder, **spec):
    with pytest.raises(DataError) as error:
        read(folder, **spec)
    message = str(error.value)
    assert "\n" not in message
    return message


def joined_notes(sentences):
    return " ".join(sentences)


def assert_equal_arrays(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
