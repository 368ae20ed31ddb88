"""Images with any number of channels are converted to pictures in grey or colour."""

import numpy as np
import pytest

from vaetune.report.charts.channels import FRAME, columns_of_channels, shown_channels, to_pictures
from vaetune.report.charts.grids import (
    compute_interpolations,
    compute_manifold,
    compute_reconstructions,
    compute_samples,
    grid_to_picture,
    to_file,
)


def make_images(channels, count=6, height=8, width=9):
    """Images in which channel c has the value 100 + c everywhere."""
    values = (100 + np.arange(channels)).astype(np.uint8)
    return np.broadcast_to(values, (count, height, width, channels)).copy()


def digits_of(picture, top, left, count=1, scale=1):
    """The pixels of a drawn number as rows of text. `count`: number of digits."""
    end, right = top + 5 * scale, left + (4 * count - 1) * scale
    cut = picture[top:end:scale, left:right:scale, 0]
    return ["".join("#" if value == 255 else "." for value in row) for row in cut]


def test_grey_and_colour_images_are_returned_unchanged():
    for channels in (1, 3):
        images = make_images(channels)
        assert to_pictures(images) is images


def test_the_first_three_of_four_channels_are_colours():
    assert to_pictures(make_images(4))[0, 0, 0].tolist() == [100, 101, 102]


@pytest.mark.parametrize(
    ("show", "colour"),
    [((4,), [104]), ((4, 0), [104, 100, 0]), ((4, 2, 0), [104, 102, 100])],
)
def test_chosen_channels_are_grey_or_colours(show, colour):
    pictures = to_pictures(make_images(5), show)
    assert pictures.shape == (6, 8, 9, len(colour))
    assert pictures[3, 4, 5].tolist() == colour


def test_two_chosen_channels_are_red_and_green():
    assert to_pictures(make_images(2), (0, 1))[0, 0, 0].tolist() == [100, 101, 0]


def test_a_choice_of_missing_channels_is_ignored():
    assert shown_channels(3, (5,)) == (0, 1, 2)
    assert shown_channels(2, (0, 2)) == ()


@pytest.mark.parametrize("channels", [2, 5, 7, 32])
@pytest.mark.parametrize("side", [8, 64])
def test_without_a_choice_each_channel_is_shown_in_grey(channels, side):
    generator = np.random.default_rng(0)
    images = generator.integers(80, 240, (2, 3, side, side + 1, channels)).astype(np.uint8)
    pictures = to_pictures(images)
    assert pictures.shape[:2] == (2, 3)
    assert pictures.shape[-1] == 1
    columns = columns_of_channels(channels)
    rows = -(-channels // columns)
    scale = max(1, side // 32)
    for channel in range(channels):
        top = channel // columns * (side + 8 * scale) + 7 * scale
        left = channel % columns * (side + 1 + 2 * scale) + scale
        part = pictures[:, :, top : top + side, left : left + side + 1, 0]
        np.testing.assert_array_equal(part, images[..., channel])
    assert pictures.shape[2] == rows * (side + 8 * scale)


def test_channels_are_numbered_from_zero():
    picture = to_pictures(make_images(14, height=8, width=9))[0]
    assert digits_of(picture, 1, 1) == ["###", "#.#", "#.#", "#.#", "###"]
    assert digits_of(picture, 1, 1 + 11) == [".#.", "##.", ".#.", ".#.", "###"]
    number_13 = digits_of(picture, 3 * 16 + 1, 1 + 11, 2)  # fourth row, second column
    assert number_13 == [".#..###", "##....#", ".#..###", ".#....#", "###.###"]
    assert picture[0, 0, 0] == FRAME


def test_numbers_of_large_images_are_larger():
    picture = to_pictures(make_images(2, height=96, width=70))[0]
    assert digits_of(picture, 2, 2, scale=2) == ["###", "#.#", "#.#", "#.#", "###"]


def test_grids_of_many_channels_show_fewer_images():
    images = make_images(5, count=50)
    assert compute_samples(images).tiles.shape[:2] == (1, 3)
    assert compute_samples(images, show=(4, 1, 0)).tiles.shape == (5, 10, 8, 9, 3)
    assert compute_reconstructions(images[:10], images[:10]).tiles.shape[:2] == (2, 3)
    assert compute_reconstructions(images[:10], images[:10], (1,)).tiles.shape == (2, 10, 8, 9, 1)
    few = make_images(32, count=2)
    assert compute_samples(few).tiles.shape[:2] == (1, 1)
    assert compute_reconstructions(few, few).tiles.shape[:2] == (2, 1)


def test_a_manifold_of_many_channels_has_a_panel_for_each():
    decoded = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 9, 5)).astype(np.uint8)
    info = compute_manifold(decoded)
    assert "z[0] to the right" in info.caption
    assert info.across == info.down == ()
    panel = info.image[7 : 7 + 24, 1 + 38 : 1 + 38 + 36, 0]  # the panel of channel 1
    np.testing.assert_array_equal(panel[8:16, 27:36], decoded[1, 3, :, :, 1])
    chosen = compute_manifold(decoded, (1,))
    assert len(chosen.across) == 4
    assert chosen.tiles.shape == (3, 4, 8, 9, 1)


@pytest.mark.parametrize("channels", [2, 4, 5, 32])
def test_every_grid_draws_any_number_of_channels(channels):
    images = make_images(channels, count=10)
    for grid in (
        compute_samples(images),
        compute_reconstructions(images, images),
        compute_manifold(images[:4].reshape(2, 2, *images.shape[1:])),
        compute_interpolations(images[:2], images[:3][None]),
    ):
        assert grid.tiles.shape[-1] in (1, 3)
        assert to_file(grid_to_picture(grid)).startswith(b"\x89PNG")
