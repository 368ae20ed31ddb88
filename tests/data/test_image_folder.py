"""Folders of image files: formats, types, sizes, transparency, and files that cannot be read."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vaetune.config import ReadingSpec
from vaetune.data.image_folder import read_folder
from vaetune.data.zero_copy import ALIGNMENT
from vaetune.errors import DataError


def noise(count=4, *shape, seed=0, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, (count, *(shape or (9, 10)))).astype(dtype)


def save(folder, images, ending=".png", **options):
    """Saves arrays or images under numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        as_image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        as_image.save(folder / f"{number:03d}{ending}", **options)
    return folder


def read(folder, **spec):
    return read_folder(folder, ReadingSpec(**spec))


def pixels(folder, **spec):
    return read(folder, **spec).train.images


def refusal(folder, **spec):
    with pytest.raises(DataError) as error:
        read(folder, **spec)
    message = str(error.value)
    assert "\n" not in message
    return message


def said(sentences):
    return " ".join(sentences)


def equal(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


# Formats.


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".TIFF", ".pgm", ".tga", ".jp2"])
def test_grey_files_of_lossless_formats_keep_their_pixels(tmp_path, ending):
    found = read(save(tmp_path, noise(), ending))
    equal(found.train.images, noise()[..., np.newaxis])
    assert found.kind == "files"
    assert found.train.images.ctypes.data % ALIGNMENT == 0
    assert (found.notes, found.warnings) == ((), ())


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_colour_files_of_lossless_formats_keep_their_pixels(tmp_path, ending):
    x = noise(4, 9, 10, 3)
    options = {"lossless": True} if ending == ".webp" else {}
    equal(pixels(save(tmp_path, x, ending, **options)), x)


def test_one_folder_may_hold_all_formats(tmp_path):
    for ending in (".png", ".jpg", ".webp", ".bmp", ".gif", ".tif", ".jfif"):
        save(tmp_path, noise(1, 9, 10, 3), ending)
    assert pixels(tmp_path).shape == (7, 9, 10, 3)


def test_files_are_read_in_the_order_of_their_names(tmp_path):
    x = noise(3)
    for image, name in zip(x, ("b.png", "c.bmp", "a.tif"), strict=True):
        Image.fromarray(image).save(tmp_path / name)
    equal(pixels(tmp_path), x[[2, 0, 1]][..., np.newaxis])


def test_other_files_are_counted_by_ending_and_hidden_files_are_not(tmp_path):
    save(tmp_path, noise())
    for name in ("a.txt", "b.TXT", "c.csv", "LICENSE", "d.h5", "e.eps", ".hidden.png", ".DS_Store"):
        (tmp_path / name).write_text("not an image")
    found = read(tmp_path)
    assert len(found.train.images) == 4
    assert said(found.notes) == (
        "6 files were not used: 2 .txt, 1 without an ending, 1 .csv, 1 .eps, 1 .h5."
    )


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("not an image")
    assert "contains no images: expected files such as PNG" in refusal(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_exif_orientation_is_applied(tmp_path, orientation, ending):
    corner = np.zeros((16, 32, 3), np.uint8)
    corner[:8, :16] = 255
    turned = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # the inverse of what a viewer does
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.fromarray(corner)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image if turned is None else image.transpose(turned)
    found = pixels(save(tmp_path, [stored], ending, exif=exif))
    assert found.shape == (1, 16, 32, 3)
    np.testing.assert_array_equal(found[0] > 127, corner > 127)


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png"])
def test_of_an_animation_the_first_frame_is_read_with_a_note(tmp_path, ending):
    frames = [Image.new("RGB", (10, 9), colour) for colour in ("red", "lime", "blue")]
    save(tmp_path, frames[:1], ".bmp")
    frames[0].save(tmp_path / f"moving{ending}", save_all=True, append_images=frames[1:])
    found = read(tmp_path)
    np.testing.assert_allclose(found.train.images[1], found.train.images[0], atol=3)
    assert said(found.notes) == "The first frame of 1 animated file was used."


# Types and channels.


@pytest.mark.parametrize(
    ("dtype", "ending", "high"),
    [
        (np.uint16, ".png", 65536),
        (np.uint16, ".tif", 65536),
        (np.uint16, ".pgm", 65536),
        (np.int32, ".tif", 2**31),
        (np.float32, ".tif", 1000),
    ],
)
def test_types_of_more_than_8_bits_are_kept(tmp_path, dtype, ending, high):
    x = noise(high=high, dtype=dtype) / 7 if dtype is np.float32 else noise(high=high, dtype=dtype)
    x = x.astype(dtype)
    equal(pixels(save(tmp_path, x, ending)), x[..., np.newaxis])


def test_8_bits_beside_16_bits_are_scaled_with_a_warning(tmp_path):
    deep = noise(4, high=65536, dtype=np.uint16)
    save(tmp_path / "a", noise())
    save(tmp_path / "b", deep)
    found = read(tmp_path)
    expected = np.concatenate([noise().astype(np.uint16) * 257, deep])
    equal(found.train.images, expected[..., np.newaxis])
    assert said(found.warnings) == (
        "4 images with 8 bits and 4 with 16 bits were found: "
        "the pixels with 8 bits were multiplied by 257."
    )


def test_8_bits_in_16_beside_8_bits_are_bytes(tmp_path):
    save(tmp_path / "a", noise())
    save(tmp_path / "b", noise(seed=1, dtype=np.uint16))
    found = read(tmp_path)
    equal(found.train.images, np.concatenate([noise(), noise(seed=1)])[..., np.newaxis])
    assert "no pixel is above 255" in said(found.warnings)


def test_16_bit_grey_beside_8_bit_colour_fills_all_channels(tmp_path):
    save(tmp_path / "a", noise(3, 9, 10, 3))
    save(tmp_path / "b", np.full((1, 9, 10), 32896, np.uint16))
    found = pixels(tmp_path)
    equal(found[:3], noise(3, 9, 10, 3).astype(np.uint16) * 257)
    assert set(np.unique(found[3])) == {32896}


def test_other_mixes_of_types_are_refused_with_an_example_of_each(tmp_path):
    save(tmp_path / "a", noise())
    save(tmp_path / "b", noise(dtype=np.float32), ".tif")
    message = refusal(tmp_path)
    assert f"b{os.sep}000.tif (float32), a{os.sep}000.png (uint8)" in message


def write_png_of_16_bit_colour(path, values):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    height, width = values.shape[:2]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ):
            file.write(struct.pack(">I", len(data)) + kind + data)
            file.write(struct.pack(">I", zlib.crc32(kind + data)))


def test_colour_of_16_bits_is_read_as_8_bits_with_a_warning(tmp_path):
    write_png_of_16_bit_colour(tmp_path / "a.png", np.full((9, 10, 3), 0x1234))
    found = read(tmp_path)
    assert set(np.unique(found.train.images)) == {0x12}
    assert "1 colour file has 16 bits per channel" in said(found.warnings)


def test_grey_files_fill_three_channels_beside_colour_files(tmp_path):
    save(tmp_path / "a", noise(1))
    save(tmp_path / "b", noise(1, 9, 10, 3))
    found = pixels(tmp_path)
    equal(found[0], np.repeat(noise(1)[0][..., np.newaxis], 3, axis=-1))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("YCbCr", (255, 128, 128), [255, 255, 255]),
        ("LAB", (255, 128, 128), [255, 255, 255]),
    ],
)
def test_other_ways_to_code_colours_become_grey_or_rgb(tmp_path, mode, colour, expected):
    found = pixels(save(tmp_path, [Image.new(mode, (10, 9), colour)], ".tif"))
    np.testing.assert_allclose(found[0, 4, 4], expected, atol=2)


def test_palettes_keep_their_colours(tmp_path):
    red = Image.new("RGB", (10, 9), (250, 0, 0)).quantize(4)
    assert pixels(save(tmp_path, [red]))[0, 0, 0].tolist() == [250, 0, 0]


# TIFF files with several pages.


def save_pages(path, pages):
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_equally_many_grey_pages_are_channels(tmp_path, dtype):
    x = noise(3, 5, 9, 10, dtype=dtype)
    for number, pages in enumerate(x):
        save_pages(tmp_path / f"c{number % 2}" / f"{number}.tif", pages)
    found = read(tmp_path)
    equal(found.train.images, np.moveaxis(x, 1, -1)[[0, 2, 1]])
    assert found.train.labels.tolist() == [0, 0, 1]
    assert found.pages == "channels"
    assert said(found.notes) == "The 5 pages of each TIFF file are the channels of an image."


@pytest.mark.parametrize(
    "counts", [(5,), (5, 4), (5, 1), (33, 33)], ids=["one file", "other counts", "one page", "many"]
)
def test_other_numbers_of_pages_are_images(tmp_path, counts):
    x = noise(sum(counts))
    start = 0
    for number, count in enumerate(counts):
        save_pages(tmp_path / f"c{number}" / "x.tif", x[start : start + count])
        start += count
    found = read(tmp_path)
    equal(found.train.images, x[..., np.newaxis])
    assert np.bincount(found.train.labels).tolist() == list(counts)
    assert found.pages == "images"
    several = sum(count for count in counts if count > 1)
    assert f"{several} pages are images" in said(found.notes)


def test_pages_of_colour_are_images(tmp_path):
    x = noise(4, 9, 10, 3)
    save_pages(tmp_path / "a.tif", x[:2])
    save_pages(tmp_path / "b.tif", x[2:])
    found = read(tmp_path)
    equal(found.train.images, x)
    assert found.pages == "images"


def test_an_unreadable_page_leaves_out_its_file(tmp_path):
    for name in "ab":
        save_pages(tmp_path / f"{name}.tif", noise(2, 40, 40))
    save(tmp_path, noise(1, 40, 40))
    path = tmp_path / "a.tif"
    path.write_bytes(path.read_bytes()[:2000])
    assert "1 unreadable image file: a.tif" in refusal(tmp_path)
    found = pixels(tmp_path, skip_unreadable=True)
    equal(found, np.concatenate([noise(1, 40, 40), noise(2, 40, 40)])[..., np.newaxis])


# Transparency.


def glyph(ink, seed=0):
    """An image with one colour, and its shape in the alpha channel."""
    image = np.full((9, 10, 4), ink, np.uint8)
    image[..., 3] = noise(1, seed=seed)[0]
    return image


def test_black_ink_is_put_on_white(tmp_path):
    found = read(save(tmp_path, [glyph(0, seed) for seed in range(3)]))
    expected = 255 - np.stack([noise(1, seed=seed)[0] for seed in range(3)])
    np.testing.assert_allclose(found.train.images[..., 0], expected, atol=1)
    assert found.background == "white"
    assert "3 of 3 images have transparent pixels, with white behind" in said(found.notes)
    assert 'Set background = "white" or another colour under [data]' in said(found.notes)


def test_white_ink_is_put_on_black(tmp_path):
    found = read(save(tmp_path, [glyph(255)]))
    np.testing.assert_allclose(found.train.images[0, ..., 0], noise(1)[0], atol=1)
    assert found.background == "black"
    assert "1 of 1 images has transparent pixels, with black behind" in said(found.notes)


def test_the_background_is_chosen_for_all_images_together(tmp_path):
    inks = [0] * 8 + [255] * 2
    assert read(save(tmp_path, [glyph(ink) for ink in inks])).background == "black"
    assert read(save(tmp_path, [glyph(ink) for ink in [0] * 9 + [255]])).background == "white"


def test_opaque_images_stay_as_they_are_on_white(tmp_path):
    save(tmp_path / "a", noise(1, 9, 10, 3))
    save(tmp_path / "b", [glyph(0)])
    found = read(tmp_path)
    equal(found.train.images[0], noise(1, 9, 10, 3)[0])
    assert found.train.images[1].max() > 200
    assert "1 of 2 images" in said(found.notes)


@pytest.mark.parametrize("colour", ["black", "white", "#ff8000"])
def test_a_named_background_is_used_without_advice(tmp_path, colour):
    found = read(save(tmp_path, [glyph(0)]), background=colour)
    expected = {"black": [0, 0, 0], "white": [255, 255, 255], "#ff8000": [255, 128, 0]}[colour]
    coverage = noise(1)[0][..., np.newaxis] / 255
    np.testing.assert_allclose(found.train.images[0], (1 - coverage) * expected, atol=1.5)
    assert found.background == colour
    assert "[data]" not in said(found.notes)


def test_an_alpha_channel_that_hides_nothing_is_no_transparency(tmp_path):
    opaque = noise(2, 9, 10, 4)
    opaque[..., 3] = 255
    found = read(save(tmp_path, opaque))
    equal(found.train.images, opaque[..., :3])
    assert found.background is None
    assert found.notes == ()


def test_fully_transparent_images_are_counted_in_a_warning(tmp_path):
    hidden = np.full((9, 10, 4), 200, np.uint8)
    hidden[..., 3] = 0
    found = read(save(tmp_path, [hidden, glyph(0)]))
    assert "1 of 2 images was fully transparent" in said(found.warnings)
    assert found.background == "white"
    assert read(save(tmp_path, [hidden] * 2)).background == "black"


def test_grey_with_transparency_has_one_channel_on_a_grey_background(tmp_path):
    shaded = Image.fromarray(glyph(0)).convert("LA")
    save(tmp_path, [shaded])
    assert pixels(tmp_path).shape == (1, 9, 10, 1)
    assert pixels(tmp_path, background="#ff0000").shape == (1, 9, 10, 3)


def test_a_transparent_colour_of_a_palette_shows_the_background(tmp_path):
    image = Image.new("P", (10, 9), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 5, 9))
    found = read(save(tmp_path, [image], transparency=0), background="white")
    assert found.train.images[0, 0, 9].tolist() == [255, 255, 255]
    assert found.train.images[0, 0, 0].tolist() == [0, 255, 0]
    assert found.background == "white"


# Sizes.


def test_mixed_sizes_are_refused_with_their_counts(tmp_path, monkeypatch):
    save(tmp_path / "a", noise(3, 9, 10))
    for number in range(5):
        save(tmp_path / f"b{number}", noise(1, 11, 12 + number))
    monkeypatch.setattr(Image.Image, "load", None)  # Nothing is decoded.
    message = refusal(tmp_path)
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
    equal(found.train.images[1], noise(1, 16, 16)[0][..., np.newaxis])
    middle = found.train.images[0, 8, :, 0]
    if how == "crop":
        assert set(middle) == {200}
    else:
        assert set(middle[6:10]) == {200}
        assert middle[1] == 100
    border = found.train.images[0, 0, :, 0]
    assert (border == 0).all() == (how == "pad")
    assert "1 image was resized to 16 x 16" in said(found.notes)


def test_images_of_other_sizes_are_cropped_by_default(tmp_path):
    found = read(save(tmp_path, noise(2, 16, 32)), image_size="8x9")
    assert found.train.images.shape == (2, 8, 9, 1)
    assert found.resize == "crop"


def test_images_of_the_requested_size_stay_as_they_are(tmp_path):
    found = read(save(tmp_path, noise(2)), image_size=(9, 10))
    equal(found.train.images, noise(2)[..., np.newaxis])
    assert (found.image_size, found.resize, found.notes) == (None, None, ())


def test_16_bits_are_resized_in_16_bits(tmp_path):
    save(tmp_path, [np.full((16, 16), 60000, np.uint16)])
    equal(pixels(tmp_path, image_size=8), np.full((1, 8, 8, 1), 60000, np.uint16))


# Files that cannot be read.


@pytest.fixture
def damaged(tmp_path):
    """A folder with two files that are damaged in their headers, and one in its pixels."""
    save(tmp_path, noise(6, 40, 40), ".jpg")
    for number, length in ((1, 0), (3, 20), (4, 700)):
        os.truncate(tmp_path / f"{number:03d}.jpg", length)
    return tmp_path


def test_all_unreadable_files_are_named_at_once(damaged):
    message = refusal(damaged)
    assert "contains 3 unreadable image files: 001.jpg, 003.jpg, 004.jpg (the first: " in message
    assert "--skip-unreadable" in message


def test_unreadable_files_are_left_out_on_request(damaged):
    whole = pixels(save(damaged / "whole", noise(6, 40, 40), ".jpg"))
    for path in (damaged / "whole").iterdir():
        path.unlink()
    found = read(damaged, skip_unreadable=True)
    equal(found.train.images, whole[[0, 2, 5]])
    assert said(found.warnings) == "3 unreadable files were left out: 001.jpg, 003.jpg, 004.jpg."


def test_labels_stay_with_their_images_if_files_are_left_out(tmp_path):
    for label in "abc":
        save(tmp_path / label, noise(3))
    (tmp_path / "a" / "001.png").write_bytes(b"")
    (tmp_path / "b" / "002.png").write_bytes(b"")
    found = read(tmp_path, skip_unreadable=True)
    assert found.train.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    equal(found.train.images, noise(3)[[0, 2, 0, 1, 0, 1, 2]][..., np.newaxis])


def test_twenty_unreadable_files_are_named(tmp_path):
    save(tmp_path, noise(25))
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    for spec in ({}, {"skip_unreadable": True}):
        message = refusal(tmp_path, **spec)
        assert "25 unreadable image files" in message
        assert "019.png and 5 more" in message
        assert "020.png" not in message


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".gif", ".bmp", ".webp", ".pgm"])
def test_a_file_truncated_at_any_place_is_unreadable_or_read(tmp_path, ending):
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
    assert "000.png (Permission denied)" in refusal(tmp_path)


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", forbidden)
    assert f"{tmp_path} cannot be read: Permission denied." in refusal(tmp_path)


def test_a_suspiciously_large_image_is_named(tmp_path, monkeypatch):
    save(tmp_path, noise(1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert "000.png" in refusal(tmp_path)
