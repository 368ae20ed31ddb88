"""Folders of image files: pages and sizes."""

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

# TIFF files with several pages.


def save_pages(path, pages):
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pages_are_channels_if_all_files_have_equally_many(tmp_path, dtype):
    x = noise(3, 5, 9, 10, dtype=dtype)
    for number, pages in enumerate(x):
        save_pages(tmp_path / f"c{number % 2}" / f"{number}.tif", pages)
    found = read(tmp_path)
    assert_equal_arrays(found.train.images, np.moveaxis(x, 1, -1)[[0, 2, 1]])
    assert found.train.labels.tolist() == [0, 0, 1]
    assert found.pages == "channels"
    assert (
        joined_notes(found.notes) == "The 5 pages of each TIFF file are the channels of an image."
    )


@pytest.mark.parametrize(
    "counts", [(5,), (5, 4), (5, 1), (33, 33)], ids=["one file", "other counts", "one page", "many"]
)
def test_pages_of_a_single_file_or_in_unequal_or_large_numbers_are_images(tmp_path, counts):
    x = noise(sum(counts))
    start = 0
    for number, count in enumerate(counts):
        save_pages(tmp_path / f"c{number}" / "x.tif", x[start : start + count])
        start += count
    found = read(tmp_path)
    assert_equal_arrays(found.train.images, x[..., np.newaxis])
    assert np.bincount(found.train.labels).tolist() == list(counts)
    assert found.pages == "images"
    several = sum(count for count in counts if count > 1)
    assert f"{several} pages are images" in joined_notes(found.notes)


def test_colour_pages_are_images(tmp_path):
    x = noise(4, 9, 10, 3)
    save_pages(tmp_path / "a.tif", x[:2])
    save_pages(tmp_path / "b.tif", x[2:])
    found = read(tmp_path)
    assert_equal_arrays(found.train.images, x)
    assert found.pages == "images"


def test_a_file_with_an_unreadable_page_is_left_out(tmp_path):
    for name in "ab":
        save_pages(tmp_path / f"{name}.tif", noise(2, 40, 40))
    save(tmp_path, noise(1, 40, 40))
    path = tmp_path / "a.tif"
    path.write_bytes(path.read_bytes()[:2000])
    assert "1 unreadable image file: a.tif" in message_of_refusal(tmp_path)
    found = pixels(tmp_path, skip_unreadable=True)
    assert_equal_arrays(
        found, np.concatenate([noise(1, 40, 40), noise(2, 40, 40)])[..., np.newaxis]
    )


# Sizes.


def test_mixed_sizes_are_refused_with_their_counts(tmp_path, monkeypatch):
    save(tmp_path / "a", noise(3, 9, 10))
    for number in range(5):
        save(tmp_path / f"b{number}", noise(1, 11, 12 + number))
    monkeypatch.setattr(Image.Image, "load", None)  # Decoding pixels would fail.
    message = message_of_refusal(tmp_path)
    assert (
        "6 different sizes: 3 of 9 x 10, 1 of 11 x 12, 1 of 11 x 13, 1 of 11 x 14, 2 of 2 more."
    ) in message
    assert "--image-size 64" in message
    assert 'resize = "crop", "pad" or "stretch"' in message


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_images_get_the_requested_size(tmp_path, how):
    bars = np.zeros((16, 32), np.uint8)
    bars[:, :8], bars[:, 8:24] = 100, 200
    save(tmp_path / "a", [bars])
    save(tmp_path / "b", noise(1, 16, 16))
    found = read(tmp_path, image_size=16, resize=how)
    assert (found.image_size, found.resize) == ((16, 16), how)
    assert_equal_arrays(found.train.images[1], noise(1, 16, 16)[0][..., np.newaxis])
    middle = found.train.images[0, 8, :, 0]
    if how == "crop":
        assert set(middle) == {200}
    else:
        assert set(middle[6:10]) == {200}
        assert middle[1] == 100
    border = found.train.images[0, 0, :, 0]
    assert (border == 0).all() == (how == "pad")
    assert "1 image was resized to 16 x 16" in joined_notes(found.notes)


def test_images_of_other_sizes_are_cropped_by_default(tmp_path):
    found = read(save(tmp_path, noise(2, 16, 32)), image_size="8x9")
    assert found.train.images.shape == (2, 8, 9, 1)
    assert found.resize == "crop"


def test_images_of_the_requested_size_stay_as_they_are(tmp_path):
    found = read(save(tmp_path, noise(2)), image_size=(9, 10))
    assert_equal_arrays(found.train.images, noise(2)[..., np.newaxis])
    assert (found.image_size, found.resize, found.notes) == (None, None, ())


def test_16_bit_images_are_resized_in_16_bits(tmp_path):
    save(tmp_path, [np.full((16, 16), 60000, np.uint16)])
    assert_equal_arrays(pixels(tmp_path, image_size=8), np.full((1, 8, 8, 1), 60000, np.uint16))


def test_channels_of_an_image_are_resized_together(tmp_path):
    x = noise(2, 3, 16, 16)
    for number, pages in enumerate(x):
        save_pages(tmp_path / f"{number}.tif", pages)
    found = read(tmp_path, image_size=8)
    assert found.train.images.shape == (2, 8, 8, 3)
    assert "2 images were resized to 8 x 8" in joined_notes(found.notes)
