"""Folders of image files: files that cannot be read."""

import os

import numpy as np
import pytest
from picture_folders import (
    assert_equal_arrays,
    joined_notes,
    message_of_refusal,
    noise,
    pixels,
    read,
    save,
)
from PIL import Image


@pytest.fixture
def damaged(tmp_path):
    """A folder of six files: two have damaged headers, and one has damaged pixels."""
    save(tmp_path, noise(6, 40, 40), ".jpg")
    for number, length in ((1, 0), (3, 20), (4, 700)):
        os.truncate(tmp_path / f"{number:03d}.jpg", length)
    return tmp_path


def test_all_unreadable_files_are_named_in_one_message(damaged):
    message = message_of_refusal(damaged)
    assert "contains 3 unreadable image files: 001.jpg, 003.jpg, 004.jpg (the first: " in message
    assert "--skip-unreadable" in message


def test_unreadable_files_are_left_out_on_request(damaged):
    whole = pixels(save(damaged / "whole", noise(6, 40, 40), ".jpg"))
    for path in (damaged / "whole").iterdir():
        path.unlink()
    found = read(damaged, skip_unreadable=True)
    assert_equal_arrays(found.train.images, whole[[0, 2, 5]])
    assert (
        joined_notes(found.warnings)
        == "3 unreadable files were left out: 001.jpg, 003.jpg, 004.jpg."
    )


def test_labels_stay_with_their_images_if_files_are_left_out(tmp_path):
    for label in "abc":
        save(tmp_path / label, noise(3))
    (tmp_path / "a" / "001.png").write_bytes(b"")
    (tmp_path / "b" / "002.png").write_bytes(b"")
    found = read(tmp_path, skip_unreadable=True)
    assert found.train.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert_equal_arrays(found.train.images, noise(3)[[0, 2, 0, 1, 0, 1, 2]][..., np.newaxis])


@pytest.mark.parametrize("image", [noise(1, 40, 40, 3)[0], noise(1, 40, 40, dtype=np.uint16)[0]])
def test_left_out_files_do_not_change_the_other_images(tmp_path, image):
    save(tmp_path / "b", noise(3, 40, 40))
    path = save(tmp_path / "a", [image], ".tif") / "000.tif"
    os.truncate(path, path.stat().st_size - 1000)
    found = read(tmp_path, skip_unreadable=True)
    assert_equal_arrays(found.train.images, noise(3, 40, 40)[..., np.newaxis])
    assert len(found.warnings) == 1
    assert found.class_names == ("b",)


def test_at_most_twenty_unreadable_files_are_named(tmp_path):
    save(tmp_path, noise(25))
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    for spec in ({}, {"skip_unreadable": True}):
        message = message_of_refusal(tmp_path, **spec)
        assert "25 unreadable image files" in message
        assert "019.png and 5 more" in message
        assert "020.png" not in message


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".gif", ".bmp", ".webp", ".pgm"])
def test_a_truncated_file_is_read_or_reported_as_unreadable(tmp_path, ending):
    path = save(tmp_path, noise(2, 12, 12), ending) / f"001{ending}"
    content = path.read_bytes()
    for length in range(0, len(content), 13):
        path.write_bytes(content[:length])
        found = read(tmp_path, skip_unreadable=True)
        assert len(found.train.images) + len(found.warnings) == 2


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    save(tmp_path, noise(1))
    monkeypatch.setattr(Image, "open", forbidden)
    assert "000.png (Permission denied)" in message_of_refusal(tmp_path)


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", forbidden)
    assert f"{tmp_path} cannot be read: Permission denied." in message_of_refusal(tmp_path)


def test_a_suspiciously_large_image_is_named(tmp_path, monkeypatch):
    save(tmp_path, noise(1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert "000.png" in message_of_refusal(tmp_path)
