"""Typical image sets of users are read correctly, or refused with a solution."""

import numpy as np
import pytest
from exports import vaetune as command
from user_sets import SETS, UNIT, X, Y

from vaetune.data.images import to_unit_interval
from vaetune.data.sources import load_images
from vaetune.errors import DataError


@pytest.fixture
def make(tmp_path):
    """Writes an image set of `user_sets` by its name, and returns its path."""
    return lambda name: SETS[name](tmp_path)


def pixels(images):
    """All images as floats, sorted so that sets with different splits can be compared."""
    splits = (images.train, images.validation, images.test)
    unit = np.concatenate([to_unit_interval(split.images) for split in splits])
    return unit[np.lexsort(unit.reshape(len(unit), -1).T)]


def in_order(images):
    return images[np.lexsort(images.reshape(len(images), -1).T)]


def sizes(images):
    return len(images.train), len(images.validation), len(images.test)


def notes_and_warnings(images):
    return " ".join((*images.reading.notes, *images.reading.warnings))


ARRAYS = ("overshoot", "minus1", "uint16", "npy", "arr0", "images", "chw", "flat", "strings")


@pytest.mark.parametrize("name", [*ARRAYS, "onehot", "with_val", "x_and_test", "medmnist"])
def test_arrays_are_read_with_the_expected_pixels(make, name):
    images = load_images(make(name))
    np.testing.assert_allclose(pixels(images), in_order(UNIT[..., None]), atol=1e-6)


FOLDERS = ("loop", "png12bit", "png16bit8", "split")


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_are_read_with_the_expected_pixels(make, name):
    images = load_images(make(name))
    scale = 255 * 16 / 4095 if name == "png12bit" else 1
    expected = in_order(UNIT[:60, ..., None] * np.float32(scale))
    np.testing.assert_allclose(pixels(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "splits", "classes"),
    [
        ("with_val", (100, 50, 50), None),
        ("x_and_test", (83, 17, 100), ("0", "1", "2", "3")),
        ("medmnist", (100, 50, 50), ("0", "1", "2", "3")),
        ("split", (40, 10, 10), ("c0", "c1", "c2", "c3")),
        ("strings", (134, 33, 33), ("cat", "dog")),
        ("onehot", (134, 33, 33), ("0", "1", "2", "3")),
        ("arr0", (134, 33, 33), ("0", "1", "2", "3")),
        ("loop", (40, 10, 10), ("c0", "c1")),
    ],
)
def test_splits_and_classes_of_a_set_are_used(make, name, splits, classes):
    images = load_images(make(name))
    assert sizes(images) == splits
    assert images.class_names == classes


def test_splits_of_a_folder_are_not_mixed(make):
    images = load_images(make("split"))
    for split, expected in (
        (images.train, X[:40]),
        (images.validation, X[40:50]),
        (images.test, X[50:60]),
    ):
        np.testing.assert_array_equal(
            in_order(split.images), in_order(expected[..., None].astype(np.uint8))
        )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("overshoot", "and clipped"),
        ("png16bit8", "range = ["),
        ("sklearn", "taken as 0..16"),
        ("flat", "taken as an image of 28 x 28"),
        ("glyphs", "60 images"),
        ("loop", "1 link"),
    ],
)
def test_notes_and_warnings_describe_how_images_were_read(make, name, words):
    assert words in notes_and_warnings(load_images(make(name)))


def test_digits_of_scikit_learn_fill_the_range(make):
    images = load_images(make("sklearn"))
    assert pixels(images).max() == 1.0
    assert images.reading.range == (0, 16)


def test_black_glyphs_get_a_white_background(make):
    images = load_images(make("glyphs"))
    assert images.reading.background == "white"
    expected = in_order(1 - UNIT[:60, ..., None])
    np.testing.assert_allclose(pixels(images)[..., :1], expected, atol=1 / 255)


def test_rotated_photos_are_read_upright(make):
    unit = pixels(load_images(make("exif")))[..., 0]
    mean = unit.mean(axis=0)
    assert np.corrcoef(mean.ravel(), UNIT[:60].mean(axis=0).ravel())[0, 1] > 0.99


def test_all_formats_are_read(make):
    unit = pixels(load_images(make("formats")))
    assert unit.shape == (60, 28, 28, 3)
    mean = unit.mean(axis=(0, 3))
    np.testing.assert_allclose(mean, UNIT[:60].mean(axis=0), atol=0.03)  # WebP is lossy.


def test_four_channels_are_kept(make):
    assert load_images(make("rgba")).image_shape == (28, 28, 4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("black", "equal"),
        ("hwn", 'layout = "images_last"'),
        ("sizes", "--image-size"),
        ("truncated", "003.jpg"),
        ("truncated", "043.jpg"),
        ("truncated", "--skip-unreadable"),
    ],
)
def test_an_unusable_set_is_refused_with_the_reason_or_a_solution(make, name, words):
    with pytest.raises(DataError) as error:
        load_images(make(name))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("sizes", {"image_size": 28}, 60),
        ("truncated", {"skip_unreadable": True}, 57),
        ("hwn", {"layout": "images_last"}, 200),
    ],
)
def test_the_suggested_solution_works(make, name, options, count):
    assert sum(sizes(load_images(make(name), options))) == count


@pytest.mark.parametrize("name", ["split", "png12bit", "medmnist"])
def test_the_check_command_describes_the_images(make, name, tmp_path, monkeypatch):
    path = make(name)
    monkeypatch.chdir(tmp_path)
    code, out, error = command("check", "--dataset", path)
    assert (code, error) == (0, "")
    expected = {
        "split": "60 images of 28 x 28 x 1, uint8 0..255 taken as 0..1",
        "png12bit": "60 images of 28 x 28 x 1, uint16 0..4095 taken as 0..1",
        "medmnist": "200 images of 28 x 28 x 1, uint8 0..255 taken as 0..1",
    }
    assert expected[name] in out
    assert ("held out by vaetune" in out) == (name == "png12bit")


def test_channels_to_show_must_exist(make):
    path = make("rgba")
    assert load_images(path, {"show": [3]}).reading.show == (3,)
    with pytest.raises(DataError, match=r"has 4 channels, numbered from 0, but show = \[4\]"):
        load_images(path, {"show": [4]})


def test_labels_stay_with_their_images(make):
    images = load_images(make("arr0"))
    by_image = {image.tobytes(): label for image, label in zip(X, Y, strict=True)}
    for split in (images.train, images.validation, images.test):
        for image, label in zip(split.images, split.labels, strict=True):
            assert by_image[image[..., 0].tobytes()] == label
