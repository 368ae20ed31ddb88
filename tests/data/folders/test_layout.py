"""Folders of image files: splits, labels, and links."""

import os

import numpy as np
import pytest
from PIL import Image

from vaetune.config import ReadingSpec
from vaetune.data.folders.files import find_files
from vaetune.data.folders.reader import read_folder
from vaetune.errors import DataError


@pytest.fixture
def write(tmp_path):
    """Writes images with their number as the value of all pixels, and returns their folder."""

    def write_images(*names):
        for number, name in enumerate(names):
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (10, 9), number).save(path)
        return tmp_path / "set"

    return write_images


def read(folder, **spec):
    return read_folder(folder, ReadingSpec(**spec))


def numbers(split):
    return split.images[:, 0, 0, 0].tolist()


def refusal(folder):
    with pytest.raises(DataError) as error:
        read(folder)
    return str(error.value)


# Labels.


def test_sub_folders_are_labels(write):
    found = read(write("cat/1.png", "Dog/1.png", "cat/0.png", "cat/deeper/x.png"))
    assert found.class_names == ("Dog", "cat")
    assert numbers(found.train) == [1, 2, 0, 3]
    assert found.train.labels.tolist() == [0, 1, 1, 1]
    assert found.train.labels.dtype == np.int64


def test_images_in_the_folder_itself_have_no_labels(write):
    found = read(write("1.png", "0.png"))
    assert found.train.labels is None
    assert found.class_names is None
    assert found.validation is found.test is None


def test_images_both_in_a_folder_and_in_its_sub_folders_are_refused(write):
    folder = write("0.png", "cat/0.png", "dog/0.png")
    assert f"{folder} contains images both directly and in the sub-folder cat." in refusal(folder)


def test_images_both_in_a_split_and_in_its_sub_folders_are_refused(write):
    folder = write("train/0.png", "train/cat/0.png", "test/cat/0.png")
    assert f"{folder / 'train'} contains images both directly" in refusal(folder)


# Splits.


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "VALID", "Testing"),
        ("training", "validation", "TEST"),
    ],
)
def test_folders_with_the_names_of_splits_are_splits(write, train, validation, test):
    found = read(
        write(f"{train}/b/0.png", f"{test}/a/0.png", f"{validation}/c/0.png", f"{train}/a/0.png")
    )
    assert numbers(found.train) == [3, 0]
    assert numbers(found.validation) == [2]
    assert numbers(found.test) == [1]
    assert found.class_names == ("a", "b", "c")
    assert found.train.labels.tolist() == [0, 1]
    assert found.validation.labels.tolist() == [2]
    assert found.test.labels.tolist() == [0]
    assert found.notes == (
        f"The folders {train} (2 files), {validation} (1 file) and {test} (1 file) are the splits.",
    )


def test_two_splits_are_enough(write):
    found = read(write("train/0.png", "test/0.png"))
    assert numbers(found.test) == [1]
    assert found.validation is None
    assert found.train.labels is found.class_names is None


@pytest.mark.parametrize("names", [("train", "other"), ("val", "test"), ("train",), ("test", "a")])
def test_folders_are_labels_unless_training_and_another_split_are_present(write, names):
    found = read(write(*(f"{name}/0.png" for name in names)))
    assert found.class_names == tuple(sorted(names))
    assert found.test is None


def test_a_split_may_lack_labels(write):
    found = read(write("train/a/0.png", "train/b/0.png", "test/0.png"))
    assert found.class_names == ("a", "b")
    assert found.test.labels is None


def test_images_outside_the_splits_are_counted_in_a_warning_and_not_used(write):
    folder = write("train/0.png", "test/0.png", "cat/0.png", "cat/1.png", "0.png")
    found = read(folder)
    assert len(found.train.images) == len(found.test.images) == 1
    assert found.warnings == (
        f"1 image file in the folder {folder} itself was not used: the folder is not a split.",
        "2 image files in the folder cat were not used: the folder is not a split.",
    )


def test_an_empty_split_is_reported(write):
    folder = write("train/a/0.png", "train/b/0.png")
    (folder / "test").mkdir()
    found = read(folder)
    assert found.class_names == ("a", "b")
    assert found.warnings == ("The folder test contains no images.",)


def test_an_empty_training_folder_is_refused(write):
    folder = write("test/a/0.png")
    (folder / "train").mkdir()
    assert "no training images: expected some in the folder train" in refusal(folder)


def test_a_training_folder_of_unreadable_files_is_refused(write):
    folder = write("train/0.png", "test/0.png")
    (folder / "train" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 unreadable image file"):
        read(folder, skip_unreadable=True)


def test_types_and_sizes_of_all_splits_are_decided_together(write):
    folder = write("train/0.png")
    (folder / "test").mkdir()
    Image.new("RGB", (10, 9)).save(folder / "test" / "0.png")
    assert read(folder).train.images.shape == (1, 9, 10, 3)
    Image.new("RGB", (10, 11)).save(folder / "test" / "0.png")
    assert "2 different sizes" in refusal(folder)


# Links.


@pytest.mark.parametrize(("link", "target"), [("all", "."), ("a/up", "..")])
def test_a_link_to_a_parent_folder_is_not_followed(write, link, target):
    folder = write("a/0.png", "b/0.png")
    (folder / link).symlink_to(target)
    found = read(folder)
    assert numbers(found.train) == [0, 1]
    assert found.class_names == ("a", "b")
    assert found.notes == ("1 link to files or folders that are read already was not followed.",)


def test_a_label_is_the_name_of_the_folder_and_not_of_a_link_to_it(write):
    folder = write("z/0.png")
    (folder / "a").symlink_to("z")
    assert read(folder).class_names == ("z",)


def test_two_links_to_the_same_outside_folder_are_followed_once(write, tmp_path):
    folder = write("a/0.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number in (7, 8):
        Image.new("L", (10, 9), number).save(elsewhere / f"{number}.png")
    for name in ("b", "c"):
        (folder / name).symlink_to(elsewhere)
    found = read(folder)
    assert numbers(found.train) == [0, 7, 8]
    assert found.class_names == ("a", "b")
    assert found.notes == ("1 link to files or folders that are read already was not followed.",)


def test_a_file_with_several_links_is_read_once(write, tmp_path):
    folder = write("0.png", "1.png")
    (folder / "2.png").symlink_to("0.png")
    outside = tmp_path / "blob"
    Image.new("L", (10, 9), 9).save(outside, format="PNG")
    for name in ("3.png", "4.png"):
        (folder / name).symlink_to(outside)
    assert numbers(read(folder).train) == [0, 1, 9]


def test_hard_links_are_read_as_separate_files(write):
    folder = write("0.png")
    (folder / "1.png").hardlink_to(folder / "0.png")
    assert numbers(read(folder).train) == [0, 0]


def test_the_folder_itself_may_be_a_link(write, tmp_path):
    (tmp_path / "link").symlink_to(write("a/0.png"))
    assert read(tmp_path / "link").class_names == ("a",)


def test_a_broken_link_is_unreadable(write):
    folder = write("0.png")
    (folder / "1.png").symlink_to("nowhere.png")
    (folder / "2.png").symlink_to("2.png")
    assert "2 unreadable image files: 1.png, 2.png" in refusal(folder)
    assert numbers(read(folder, skip_unreadable=True).train) == [0]


def test_a_named_pipe_is_not_an_image_file(write):
    folder = write("0.png")
    os.mkfifo(folder / "1.png")
    found = find_files(folder)
    assert found.images == (folder / "0.png",)
    assert found.others == {".png": 1}


def save_tree(folder, names):
    generator = np.random.default_rng(0)
    for name in names:
        for number in range(12):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (8, 8)).astype(np.uint8)).save(path)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("wrap/train/a", "wrap/val/a", "wrap/test/a"),
        ("train/a", "dev/a"),
        ("Training_Set/a", "Test-Set/a"),
        ("train/a", "Validate/a"),
    ],
)
def test_splits_are_found_in_a_single_sub_folder_and_by_other_names(tmp_path, names):
    raw = read_folder(save_tree(tmp_path, names), ReadingSpec())
    assert raw.class_names == ("a",)
    assert len(raw.train.images) == 12
    assert len(raw.own_splits()) == len(names) - 1


def test_labels_with_the_names_of_splits_give_a_warning(tmp_path):
    raw = read_folder(save_tree(tmp_path, ("val", "test")), ReadingSpec())
    assert raw.class_names == ("test", "val")
    assert "The folders test and val were taken as labels" in raw.warnings[0]
