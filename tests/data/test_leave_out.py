"""Classes that are left out: their images are in no split, but remain available."""

import numpy as np
import pytest
from image_sets import make_split
from picture_folders import noise, save

from vaetune.config.comparison import differences
from vaetune.config.spec import DataSpec, SearchSpec
from vaetune.data.disk.images import DiskImages
from vaetune.data.for_model import Trained, open_rows
from vaetune.data.for_training import prepare_images, prepare_others
from vaetune.data.rows import LEFT_OUT, rows_of
from vaetune.data.sources import load_images
from vaetune.errors import DataError

pytestmark = pytest.mark.usefixtures("own_cache")

LABELS = np.random.default_rng(5).integers(0, 4, 60)
ARRAYS = {
    "x_train": noise(60),
    "y_train": LABELS,
    "x_test": noise(12, seed=1),
    "y_test": LABELS[:12],
}

COUNT = 72

COUNTS = np.bincount([*LABELS, *LABELS[:12]])


def prepared(*classes, arrays=ARRAYS, **options):
    data = DataSpec(dataset="arrays", leave_out=classes or None, **options)
    return prepare_images(load_images(arrays, data), data)


def splits_of(images):
    return images.train, images.validation, images.test


def pixels_of(*splits):
    return {image.tobytes() for split in splits for image in split.images[:]}


@pytest.mark.parametrize("classes", [("2",), ("0", "3")])
def test_no_split_contains_images_of_left_out_classes(classes):
    whole, images = prepared(), prepared(*classes)
    numbers = [int(name) for name in classes]
    assert images.class_names == ("0", "1", "2", "3"), "class indices stay the same"
    for before, kept, left_out_split in zip(
        splits_of(whole), splits_of(images), images.left_out, strict=True
    ):
        is_left_out = np.isin(before.labels, numbers)
        assert is_left_out.any()
        np.testing.assert_array_equal(kept.images, before.images[~is_left_out])
        np.testing.assert_array_equal(kept.labels, before.labels[~is_left_out])
        np.testing.assert_array_equal(left_out_split.images, before.images[is_left_out])
    assert [images.class_counts[number] for number in numbers] == [0] * len(numbers)


def test_the_reading_counts_the_remaining_images():
    images = prepared("2")
    assert images.reading.copies.distinct == sum(map(len, splits_of(images))) == COUNT - COUNTS[2]
    assert images.reading.notes[-1] == f"{COUNTS[2]} images of class 2 are left out of all splits."
    assert (
        prepared("2", "3")
        .reading.notes[-1]
        .startswith(f"{COUNTS[2] + COUNTS[3]} images of classes 2, 3 are ")
    )


def test_each_choice_of_left_out_classes_has_its_own_fingerprint():
    found = {prepared(*classes).fingerprint for classes in ((), ("2",), ("3",), ("2", "3"))}
    assert len(found) == 4
    assert prepared("2").fingerprint == prepared("2").fingerprint
    changed = dict(ARRAYS, x_train=np.where(LABELS[:, None, None] == 2, 7, ARRAYS["x_train"]))
    assert prepared("2", arrays=changed).fingerprint != prepared("2").fingerprint


def test_classes_are_left_out_only_once():
    data = DataSpec(leave_out=("2",))
    once = prepare_images(load_images(ARRAYS), data)
    assert prepare_images(once, data) is once


def test_left_out_images_are_binarised():
    images = prepared("2", binarize="stochastic", train_on="train+validation")
    for split in images.left_out:
        assert len(split) > 0
        assert set(np.unique(split.images)) <= {0, 255}
    assert sum(map(len, splits_of(images))) == COUNT - COUNTS[2]


def test_images_on_the_disk_are_split_like_those_in_memory(tmp_path):
    for number, name in enumerate(("cat", "dog", "eel")):
        save(tmp_path / "photos" / name, noise(16, seed=number))
    on_disk, in_memory = (
        prepared("dog", arrays=str(tmp_path / "photos"), from_disk=from_disk, binarize="threshold")
        for from_disk in (True, None)
    )
    assert isinstance(on_disk.left_out[0].images, DiskImages)
    assert on_disk.fingerprint == in_memory.fingerprint
    left, right = ((*splits_of(images), *images.left_out) for images in (on_disk, in_memory))
    for ours, theirs in zip(left, right, strict=True):
        np.testing.assert_array_equal(ours.images[:], theirs.images)
        np.testing.assert_array_equal(ours.positions, theirs.positions)


def test_rows_mark_left_out_images():
    data = DataSpec(dataset="arrays", leave_out=("2",))
    images = prepare_images(load_images(ARRAYS, data), data)
    trained = Trained(data, images.reading, images.image_shape, images.fingerprint, 72)
    rows = open_rows(ARRAYS, trained)
    assert rows.are_trained_on
    np.testing.assert_array_equal(rows.splits == LEFT_OUT, rows.labels == 2)
    everything = np.concatenate([ARRAYS["x_train"], ARRAYS["x_test"]])[..., np.newaxis]
    np.testing.assert_array_equal(rows.read(slice(None)), everything)
    left_out_rows = rows.of_splits([LEFT_OUT])
    assert pixels_of(*images.left_out) == {
        image.tobytes() for image in left_out_rows.read(slice(None))
    }
    with pytest.raises(DataError, match="has no left-out images"):
        rows_of(prepared()).of_splits([LEFT_OUT])


def test_other_images_need_not_have_the_left_out_classes():
    arrays = {"x_train": noise(20), "y_train": [0] * 18 + [1] * 2}
    images = load_images(arrays)
    assert prepare_others(images, DataSpec(leave_out=("2",))) is images
    assert len(prepare_others(images, DataSpec(leave_out=("1", "2"))).left_out) == 3


@pytest.mark.parametrize(
    ("classes", "arrays", "message"),
    [
        (("9",), ARRAYS, "has no class '9', which data.leave_out names. Expected classes of: 0, 1"),
        (("2",), {"x": noise(20)}, "arrays has no labels, but data.leave_out = \\['2'\\] names"),
        (("0", "1", "2", "3"), ARRAYS, "has 0 training images without the classes of data.leave_"),
        (
            ("1",),
            {
                "x_train": noise(20),
                "y_train": [0] * 20,
                "x_test": noise(3, seed=1),
                "y_test": [1] * 3,
            },
            "has 0 test images without the classes",
        ),
    ],
)
def test_wrong_classes_are_refused_in_one_line(classes, arrays, message):
    with pytest.raises(DataError, match=message) as error:
        prepared(*classes, arrays=arrays)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(7, ("7",)), ([7, "cat", 7], ("7", "cat")), ("7", ("7",)), (["7"], ("7",))],
)
def test_classes_may_be_strings_or_numbers(given, expected):
    assert DataSpec(leave_out=given).leave_out == expected


def test_a_split_without_labels_keeps_all_its_images():
    train, test = make_split(30, (9, 10, 3), 1), make_split(12, (9, 10, 3), 2)
    arrays = {"x_train": train.images, "y_train": train.labels, "x_test": test.images}
    images = prepared("1", arrays=arrays)
    assert [len(images.test), len(images.left_out[2])] == [12, 0]


def test_another_choice_of_left_out_classes_is_another_experiment():
    one, other = (
        SearchSpec(data=DataSpec(leave_out=classes)) for classes in (("7",), ("7", "cat"))
    )
    assert differences(one, other) == ["data.leave_out: 7, cat -> 7"]
    assert differences(one, SearchSpec()) == ["data.leave_out: not set -> 7"]
