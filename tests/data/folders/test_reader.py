"""Folders of image files: formats, types and channels."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, strategies as st
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

from vaetune.data.zero_copy import ALIGNMENT

# Formats.


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".TIFF", ".pgm", ".tga", ".jp2"])
def test_grey_files_of_lossless_formats_keep_their_pixels(tmp_path, ending):
    found = read(save(tmp_path, noise(), ending))
    assert_equal_arrays(found.train.images, noise()[..., np.newaxis])
    assert found.kind == "files"
    assert found.train.images.ctypes.data % ALIGNMENT == 0
    assert (found.notes, found.warnings) == ((), ())


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_colour_files_of_lossless_formats_keep_their_pixels(tmp_path, ending):
    x = noise(4, 9, 10, 3)
    options = {"lossless": True} if ending == ".webp" else {}
    assert_equal_arrays(pixels(save(tmp_path, x, ending, **options)), x)


def test_a_folder_may_contain_files_of_all_formats(tmp_path):
    for ending in (".png", ".jpg", ".webp", ".bmp", ".gif", ".tif", ".jfif"):
        save(tmp_path, noise(1, 9, 10, 3), ending)
    assert pixels(tmp_path).shape == (7, 9, 10, 3)


def test_files_are_read_in_the_order_of_their_names(tmp_path):
    x = noise(3)
    for image, name in zip(x, ("b.png", "c.bmp", "a.tif"), strict=True):
        Image.fromarray(image).save(tmp_path / name)
    assert_equal_arrays(pixels(tmp_path), x[[2, 0, 1]][..., np.newaxis])


def test_unused_files_are_counted_by_ending_without_hidden_files(tmp_path):
    save(tmp_path, noise())
    for name in ("a.txt", "b.TXT", "c.csv", "LICENSE", "d.h5", "e.eps", ".hidden.png", ".DS_Store"):
        (tmp_path / name).write_text("not an image")
    found = read(tmp_path)
    assert len(found.train.images) == 4
    assert joined_notes(found.notes) == (
        "6 files were not used: 2 .txt, 1 without an ending, 1 .csv, 1 .eps, 1 .h5."
    )


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("not an image")
    assert "contains no images: expected files such as PNG" in message_of_refusal(tmp_path)


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
        6: Image.Transpose.ROTATE_90,  # A viewer applies the inverse.
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
def test_the_first_frame_of_an_animation_is_read_with_a_note(tmp_path, ending):
    frames = [Image.new("RGB", (10, 9), colour) for colour in ("red", "lime", "blue")]
    save(tmp_path, frames[:1], ".bmp")
    frames[0].save(tmp_path / f"moving{ending}", save_all=True, append_images=frames[1:])
    found = read(tmp_path)
    np.testing.assert_allclose(found.train.images[1], found.train.images[0], atol=3)
    assert (
        joined_notes(found.notes) == "Of 1 file with several frames, only the first frame was used."
    )


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
    assert_equal_arrays(pixels(save(tmp_path, x, ending)), x[..., np.newaxis])


def test_8_bit_images_among_16_bit_images_are_scaled_with_a_warning(tmp_path):
    deep = noise(4, high=65536, dtype=np.uint16)
    save(tmp_path / "a", noise())
    save(tmp_path / "b", deep)
    found = read(tmp_path)
    expected = np.concatenate([noise().astype(np.uint16) * 257, deep])
    assert_equal_arrays(found.train.images, expected[..., np.newaxis])
    assert joined_notes(found.warnings) == (
        "4 images with 8 bits and 4 with 16 bits were found: "
        "the pixels with 8 bits were multiplied by 257."
    )


def test_16_bit_images_of_8_bit_values_become_bytes_among_8_bit_images(tmp_path):
    save(tmp_path / "a", noise())
    save(tmp_path / "b", noise(seed=1, dtype=np.uint16))
    found = read(tmp_path)
    assert_equal_arrays(
        found.train.images, np.concatenate([noise(), noise(seed=1)])[..., np.newaxis]
    )
    assert "no pixel is above 255" in joined_notes(found.warnings)


def test_16_bit_grey_among_8_bit_colour_fills_all_channels(tmp_path):
    save(tmp_path / "a", noise(3, 9, 10, 3))
    save(tmp_path / "b", np.full((1, 9, 10), 32896, np.uint16))
    found = pixels(tmp_path)
    assert_equal_arrays(found[:3], noise(3, 9, 10, 3).astype(np.uint16) * 257)
    assert set(np.unique(found[3])) == {32896}


KINDS = {
    "grey": (np.uint8, (9, 10), ".png", 256),
    "colour": (np.uint8, (9, 10, 3), ".bmp", 256),
    "deep": (np.uint16, (9, 10), ".png", 65536),
    "long": (np.int32, (9, 10), ".tif", 2**31),
    "float": (np.float32, (9, 10), ".tif", 100),
    "large": (np.uint8, (11, 10), ".png", 256),
}


@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
def test_any_mixture_of_images_is_read_correctly_or_refused(tmp_path_factory, kinds):
    folder = tmp_path_factory.mktemp("mixture")
    arrays = []
    for number, kind in enumerate(kinds):
        dtype, shape, ending, high = KINDS[kind]
        arrays.append(noise(1, *shape, seed=number, high=high, dtype=dtype)[0])
        save(folder / str(number), arrays[-1:], ending)
    types = {array.dtype.name for array in arrays}
    if len(types) > 1 and types != {"uint8", "uint16"}:
        assert "different types" in message_of_refusal(folder)
    elif len({array.shape[:2] for array in arrays}) > 1:
        assert "different sizes" in message_of_refusal(folder)
    else:
        found = pixels(folder)
        for image, array in zip(found, arrays, strict=True):
            values = array.reshape(*array.shape[:2], -1).astype(found.dtype)
            if array.dtype == np.uint8 and found.dtype == np.uint16:
                values *= 257
            np.testing.assert_array_equal(image, np.broadcast_to(values, image.shape))
        assert found.shape[-1] == (3 if "colour" in kinds else 1)


def test_other_mixtures_of_types_are_refused_with_an_example_of_each(tmp_path):
    save(tmp_path / "a", noise())
    save(tmp_path / "b", noise(dtype=np.float32), ".tif")
    message = message_of_refusal(tmp_path)
    assert f"b{os.sep}000.tif (float32), a{os.sep}000.png (uint8)" in message


def write_16_bit_colour_png(path, values):
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


def test_16_bit_colour_is_read_as_8_bits_with_a_warning(tmp_path):
    write_16_bit_colour_png(tmp_path / "a.png", np.full((9, 10, 3), 0x1234))
    found = read(tmp_path)
    assert set(np.unique(found.train.images)) == {0x12}
    assert "1 colour file has 16 bits per channel" in joined_notes(found.warnings)


def test_grey_files_among_colour_files_fill_three_channels(tmp_path):
    save(tmp_path / "a", noise(1))
    save(tmp_path / "b", noise(1, 9, 10, 3))
    found = pixels(tmp_path)
    assert_equal_arrays(found[0], np.repeat(noise(1)[0][..., np.newaxis], 3, axis=-1))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("YCbCr", (255, 128, 128), [255, 255, 255]),
        ("LAB", (255, 128, 128), [255, 255, 255]),
    ],
)
def test_other_colour_modes_become_grey_or_rgb(tmp_path, mode, colour, expected):
    found = pixels(save(tmp_path, [Image.new(mode, (10, 9), colour)], ".tif"))
    np.testing.assert_allclose(found[0, 4, 4], expected, atol=2)


def test_palettes_keep_their_colours(tmp_path):
    red = Image.new("RGB", (10, 9), (250, 0, 0)).quantize(4)
    assert pixels(save(tmp_path, [red]))[0, 0, 0].tolist() == [250, 0, 0]
