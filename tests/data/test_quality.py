"""Quality of image sets: copies, constant images and likely mistakes."""

import numpy as np
import pytest

from vaetune.config.reading import Copies, Reading
from vaetune.data.images import Split
from vaetune.data.quality import check_can_teach, count_copies
from vaetune.errors import DataError


def noise(count, seed=0, dtype=np.uint8, shape=(8, 9, 1)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(dtype)


def split(*parts):
    return Split(np.concatenate(parts), None)


def make_reading(**changes):
    usual = {"kind": "arrays", "dtype": "uint8", "low": 0, "high": 255, "range": (0, 255)}
    copies = Copies(distinct=600)
    return Reading(**usual | {"copies": copies} | changes)


def warnings_of(**changes):
    return " ".join(check_can_teach(make_reading(**changes), 600, "faces"))


def test_distinct_images_have_no_copies():
    counted = count_copies(split(noise(30)), split(noise(5, 1)), split(noise(6, 2)))
    assert counted == Copies(distinct=41)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(8, 9, 1), (8, 9, 3), (300, 200, 3)])
def test_copies_are_counted_within_and_across_splits(dtype, shape):
    train, other = noise(20, 0, dtype, shape), noise(10, 1, dtype, shape)
    counted = count_copies(
        split(train, train[:3], train[:2]),
        split(train[5:9], other[:5]),
        split(train[5:6], other[3:6], other[5:6], other[6:]),
    )
    assert counted == Copies(distinct=30, within=5 + 1, across=4 + 1 + 2)


def test_images_that_differ_in_one_pixel_are_distinct():
    images = np.repeat(noise(1), 3, axis=0)
    images[1, -1, -1, -1] ^= 1
    empty = Split(images[:0], None)
    assert count_copies(Split(images, None), empty, empty) == Copies(distinct=2, within=1)


def test_images_in_any_memory_order_are_compared_by_their_pixels():
    images = noise(12, shape=(9, 9, 1))
    fortran_ordered = Split(np.asfortranarray(images), None)
    counted = count_copies(Split(images, None), fortran_ordered, Split(images[::2], None))
    assert counted == Copies(distinct=12, across=12 + 6)


def test_images_of_any_single_value_are_constant():
    flat = np.ones((3, 8, 9, 1), np.uint8) * np.array([0, 7, 255], np.uint8)[:, None, None, None]
    empty = Split(flat[:0], None)
    assert count_copies(split(noise(5), flat), empty, empty).constant == 3


@pytest.mark.parametrize(
    ("copies", "complaint"),
    [
        (Copies(distinct=1, within=599), "all 600 images are equal"),
        (Copies(distinct=20, within=580, constant=600), "same value in all its pixels"),
        (Copies(distinct=11, within=589), "11 distinct images, 600 with copies"),
    ],
)
def test_sets_that_no_model_can_learn_from_are_refused(copies, complaint):
    with pytest.raises(DataError, match=f"faces.*{complaint}") as refused:
        check_can_teach(make_reading(copies=copies), 600, "faces")
    assert "\n" not in str(refused.value)


def test_twelve_distinct_images_are_enough():
    assert "588 images repeat" in warnings_of(copies=Copies(distinct=12, within=588))


def test_a_plain_set_has_no_warnings():
    assert warnings_of() == ""
    assert warnings_of(copies=None) == ""
    assert warnings_of(dtype="float32", high=1, range=(0, 1)) == ""
    assert warnings_of(dtype="uint16", high=4095, range=(0, 4095)) == ""


def test_copies_and_constant_images_give_warnings():
    words = warnings_of(copies=Copies(distinct=500, within=62, across=37, constant=4))
    assert "37 validation or test images are also in an earlier split" in words
    assert "losses are too good" in words
    assert "62 images repeat another one of the same split" in words
    assert "4 images have the same value in all pixels" in words
    one = warnings_of(copies=Copies(distinct=597, within=1, across=1, constant=1))
    for words in ("1 validation or test image is", "1 image repeats", "1 image has"):
        assert words in one


def test_integers_of_only_zeros_and_ones_give_a_warning():
    words = warnings_of(dtype="uint8", high=1, range=(0, 1))
    assert "only the values 0 and 1" in words
    assert "binarised images are fine" in words
    assert warnings_of(dtype="int64", high=1, range=(0, 1)) == words
    assert warnings_of(dtype="bool", high=1, range=(0, 1)) == ""
    assert warnings_of(dtype="uint8", high=1, range=(0, 1), rule="given") == ""


def test_almost_black_floats_give_a_warning_about_a_second_division():
    black = {"dtype": "float32", "range": (0, 1)}
    assert "divided by 255 twice" in warnings_of(high=float(np.float32(1 / 255)), **black)
    assert "divided by 255 twice" in warnings_of(high=0.002, **black)
    assert warnings_of(high=0.01, **black) == ""
    assert warnings_of(high=1 / 255, rule="given", **black) == ""
