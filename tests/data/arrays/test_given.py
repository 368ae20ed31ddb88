"""Values that are not images are refused with an instruction for what to pass."""

from pathlib import Path

import numpy as np
import pytest

import vaetune
from vaetune.errors import DataError

IMAGE = np.zeros((9, 10), np.uint8)


class Tensor:
    """An array of another library."""

    def __array__(self, dtype=None, copy=None):
        return IMAGE


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([IMAGE] * 20, "a list of 20 arrays of shape (9, 10). Join them with numpy.stack."),
        ([IMAGE, IMAGE.T], "arrays of several shapes. Give the images one size, and join"),
        ((np.stack([IMAGE]), np.zeros(1)), "a tuple of 2 arrays of several shapes. Give one array"),
        ([Path("a.png")], "a list of 1 paths. Put the files into a folder"),
        ([1, 2], "a list of 2 values of the type int. Give one array"),
        (None, "a value of the type NoneType. Give one array, (images, height, width, channels)"),
        (Tensor(), "a value of the type Tensor. Convert it with numpy.asarray."),
        (b"digits", "a value of the type bytes. Give one array"),
        ({"x": [IMAGE, IMAGE.T]}, '"x" was expected to be an array. Received: a list of 2 arrays'),
        ({0: np.stack([IMAGE])}, 'expected to be text, such as "x". Received: 0.'),
    ],
)
def test_a_value_that_is_not_an_image_set_is_refused_in_one_line(given, message):
    with pytest.raises(DataError) as refused:
        vaetune.load_images(given)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_search_of_a_list_of_images_is_refused_before_files_are_written(tmp_path):
    with pytest.raises(DataError, match=r"Join them with numpy\.stack"):
        vaetune.run_search("random", images=[IMAGE] * 20, results=tmp_path)
    assert not [*tmp_path.iterdir()]


def test_named_arrays_may_be_lists():
    values = np.random.default_rng(0).integers(0, 256, (30, 9, 10)).astype(np.uint8)
    images = vaetune.load_images({"x": [*values]})
    assert images.fingerprint == vaetune.load_images(values).fingerprint
