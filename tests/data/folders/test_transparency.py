"""Folders of image files: the background of transparent pixels."""

import numpy as np
import pytest
from picture_folders import assert_equal_arrays, joined_notes, noise, pixels, read, save
from PIL import Image


def glyph(ink, seed=0):
    """An RGBA image of one grey value with a random alpha channel.

    Args:
        ink: Value of the three colour channels, 0 to 255.
        seed: Random seed of the alpha channel.
    """
    image = np.full((9, 10, 4), ink, np.uint8)
    image[..., 3] = noise(1, seed=seed)[0]
    return image


def test_black_glyphs_get_a_white_background(tmp_path):
    found = read(save(tmp_path, [glyph(0, seed) for seed in range(3)]))
    expected = 255 - np.stack([noise(1, seed=seed)[0] for seed in range(3)])
    np.testing.assert_allclose(found.train.images[..., 0], expected, atol=1)
    assert found.background == "white"
    assert "3 of 3 images have transparent pixels, with white behind" in joined_notes(found.notes)
    assert 'Set background = "white" or another colour under [data]' in joined_notes(found.notes)


def test_white_glyphs_get_a_black_background(tmp_path):
    found = read(save(tmp_path, [glyph(255)]))
    np.testing.assert_allclose(found.train.images[0, ..., 0], noise(1)[0], atol=1)
    assert found.background == "black"
    assert "1 of 1 images has transparent pixels, with black behind" in joined_notes(found.notes)


def test_the_background_is_chosen_for_all_images_together(tmp_path):
    inks = [0] * 8 + [255] * 2
    assert read(save(tmp_path, [glyph(ink) for ink in inks])).background == "black"
    assert read(save(tmp_path, [glyph(ink) for ink in [0] * 9 + [255]])).background == "white"


def test_opaque_images_do_not_change_if_others_get_a_background(tmp_path):
    save(tmp_path / "a", noise(1, 9, 10, 3))
    save(tmp_path / "b", [glyph(0)])
    found = read(tmp_path)
    assert_equal_arrays(found.train.images[0], noise(1, 9, 10, 3)[0])
    assert found.train.images[1].max() > 200
    assert "1 of 2 images" in joined_notes(found.notes)


@pytest.mark.parametrize("colour", ["black", "white", "#ff8000"])
def test_a_given_background_is_used_and_no_other_is_suggested(tmp_path, colour):
    found = read(save(tmp_path, [glyph(0)]), background=colour)
    expected = {"black": [0, 0, 0], "white": [255, 255, 255], "#ff8000": [255, 128, 0]}[colour]
    coverage = noise(1)[0][..., np.newaxis] / 255
    np.testing.assert_allclose(found.train.images[0], (1 - coverage) * expected, atol=1.5)
    assert found.background == colour
    assert "[data]" not in joined_notes(found.notes)


def test_a_fully_opaque_alpha_channel_is_dropped(tmp_path):
    opaque = noise(2, 9, 10, 4)
    opaque[..., 3] = 255
    found = read(save(tmp_path, opaque))
    assert_equal_arrays(found.train.images, opaque[..., :3])
    assert found.background is None
    assert found.notes == ()


def test_fully_transparent_images_are_counted_in_a_warning(tmp_path):
    hidden = np.full((9, 10, 4), 200, np.uint8)
    hidden[..., 3] = 0
    found = read(save(tmp_path, [hidden, glyph(0)]))
    assert "1 of 2 images was fully transparent" in joined_notes(found.warnings)
    assert found.background == "white"
    assert read(save(tmp_path, [hidden] * 2)).background == "black"


def test_transparent_grey_images_have_one_channel_on_a_grey_background(tmp_path):
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
