"""Grids of images: exact pixels, and names of rows and columns."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from vaetune.report.charts.clusters import to_png
from vaetune.report.charts.grids import (
    DPI,
    GridInfo,
    compute_interpolations,
    compute_manifold,
    compute_reconstructions,
    compute_samples,
    compute_traversal,
    draw_grid,
    grid_to_picture,
    to_file,
)
from vaetune.report.charts.latent_walks import Activity
from vaetune.report.charts.svg import to_svg
from vaetune.study.artifacts import prior_grid

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MANIFOLD = np.arange(3 * 3 * 4 * 6, dtype=np.uint8).reshape(3, 3, 4, 6, 1)


def svg_texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def png_of(info):
    return to_png(draw_grid(info), DPI)


def make_tiles(rows, columns, height=8, width=8):
    """Tiles that differ in brightness, none black or white."""
    values = 10 + np.arange(rows * columns, dtype=np.uint8).reshape(rows, columns, 1, 1, 1)
    return np.broadcast_to(values, (rows, columns, height, width, 1)).copy()


def test_a_manifold_names_the_latent_value_of_each_row_and_column():
    info = compute_manifold(MANIFOLD)
    assert info.across == pytest.approx(prior_grid(3)[0, :, 0])
    assert info.down == pytest.approx(prior_grid(3)[:, 0, 1])
    assert info.across[0] < info.across[-1]  # to the right
    assert info.down[0] > info.down[-1]  # upwards


def test_a_manifold_keeps_its_tiles_in_place_without_gaps():
    image = compute_manifold(MANIFOLD).image
    assert image.shape == (12, 18, 4)
    np.testing.assert_array_equal(image[4:8, 12:18, 0], MANIFOLD[1, 2, :, :, 0])
    assert (image[..., 3] == 255).all()


@pytest.mark.parametrize("side", [1, 2, 15, 30])
def test_manifolds_of_any_side_are_drawn(side):
    tiles = np.zeros((side, side, 8, 8, 1), np.uint8)
    assert to_png(draw_grid(compute_manifold(tiles))).startswith(PNG_SIGNATURE)


def test_a_manifold_is_labelled_with_signed_values_and_a_plain_zero():
    even = np.zeros((30, 30, 8, 8, 1), np.uint8)  # no tile is at 0
    for manifold, extreme in ((MANIFOLD, "1.0"), (even, "2.1")):
        texts = svg_texts(to_svg(draw_grid(compute_manifold(manifold))))
        assert {"z[0]", "z[1]", "0.0", extreme, f"\N{MINUS SIGN}{extreme}"} <= set(texts)
        assert "\N{MINUS SIGN}0.0" not in texts


def test_samples_fill_whole_rows():
    samples = np.zeros((23, 8, 8, 1), np.uint8)
    assert compute_samples(samples).tiles.shape == (2, 10, 8, 8, 1)
    assert compute_samples(samples[:4]).tiles.shape == (1, 4, 8, 8, 1)


def test_originals_are_above_their_reconstructions():
    originals = np.full((5, 8, 8, 1), 200, np.uint8)
    info = compute_reconstructions(originals, originals // 2)
    assert info.tiles.shape == (2, 5, 8, 8, 1)
    assert info.tiles[0].min() == 200
    assert info.tiles[1].max() == 100
    texts = svg_texts(to_svg(draw_grid(info)))
    assert texts == ["original", "reconstructed"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (9, 20), (40, 11)])
def test_images_of_any_size_and_colour_are_drawn(size, channels):
    tiles = np.full((4, *size, channels), 7, np.uint8)
    info = compute_samples(tiles, columns=2)
    assert info.image.shape == (2 * size[0] + 2, 2 * size[1] + 2, 4)
    assert to_png(draw_grid(info)).startswith(PNG_SIGNATURE)


def test_colour_and_grey_images_keep_their_values():
    colour = np.zeros((1, 8, 8, 3), np.uint8)
    colour[..., 0] = 250
    assert compute_samples(colour).image[0, 0].tolist() == [250, 0, 0, 255]
    grey = np.full((1, 8, 8, 1), 90, np.uint8)
    assert compute_samples(grey).image[0, 0].tolist() == [90, 90, 90, 255]


def test_images_are_enlarged_in_whole_pixels_with_transparent_gaps():
    tiles = np.array([10, 200], np.uint8).reshape(2, 1, 1, 1).repeat(8, 1).repeat(8, 2)
    pixels = pixels_of(to_file(grid_to_picture(compute_samples(tiles), least_width=50)))
    assert pixels.shape == (24, 54, 4)  # 18 pixels wide, three times
    assert set(np.unique(pixels[:, :24, 0])) == {10}
    assert set(np.unique(pixels[:, 24:30, 3])) == {0}
    assert set(np.unique(pixels[:, 30:, 0])) == {200}


def test_large_images_are_not_enlarged():
    info = compute_samples(np.zeros((1, 100, 900, 3), np.uint8))
    assert pixels_of(to_file(grid_to_picture(info))).shape == (100, 900, 4)


def test_large_images_are_reduced_in_a_page():
    tiles = np.zeros((15 * 15, 128, 128, 3), np.uint8)
    wide = compute_manifold(tiles.reshape(15, 15, 128, 128, 3))
    assert pixels_of(to_file(grid_to_picture(wide))).shape == (1000, 1000, 4)


# Names around the images


def test_an_interpolation_is_between_its_pair_of_images():
    originals = make_tiles(4, 1)[:, 0]
    info = compute_interpolations(originals, make_tiles(2, 3) + 100)
    assert info.tiles[:, :, 0, 0, 0].tolist() == [
        [10, 110, 111, 112, 11],
        [12, 113, 114, 115, 13],
    ]
    assert info.column_names == ("image", "0.0", "0.5", "1.0", "image")


def test_a_wide_gap_separates_images_from_their_interpolation():
    image = compute_interpolations(make_tiles(2, 1)[:, 0], make_tiles(1, 3)).image
    clear = np.flatnonzero((image[..., 3] == 0).all(axis=0))
    runs = np.split(clear, np.flatnonzero(np.diff(clear) > 1) + 1)
    assert [len(run) for run in runs] == [10, 2, 2, 10]


def test_column_names_are_centred_despite_wide_gaps():
    info = GridInfo(make_tiles(1, 4), breaks=(1, 3))
    image = info.image[..., 0]
    assert [image[0, round(x)] for x in info.column_centres] == [10, 11, 12, 13]
    assert [image[0, round(x - 3.5)] for x in info.column_centres] == [10, 11, 12, 13]
    assert [image[0, round(x + 3.5)] for x in info.column_centres] == [10, 11, 12, 13]


def test_rows_of_a_traversal_name_the_dimension_and_its_variance():
    dimensions = (Activity(5, 0.934), Activity(0, 0.02))
    info = compute_traversal(dimensions, (-2.5, 0.0, 2.5), make_tiles(2, 3))
    texts = svg_texts(to_svg(draw_grid(info)))
    assert {"z[5], variance 0.93", "z[0], variance 0.02"} <= set(texts)
    assert {"\N{MINUS SIGN}2.5", "0.0", "2.5"} <= set(texts)


@pytest.mark.parametrize(
    "info",
    [
        compute_samples(make_tiles(3, 4)[:, 0]),
        compute_reconstructions(make_tiles(5, 1)[:, 0], make_tiles(5, 1)[:, 0]),
        compute_manifold(np.full((5, 5, 9, 8, 1), 77, np.uint8)),
        compute_interpolations(make_tiles(4, 1)[:, 0], make_tiles(2, 11)),
    ],
)
def test_each_pixel_is_a_whole_square_of_the_png(info):
    """Resampling would blur small images, so the figure must contain the exact pixel values."""
    grey = pixels_of(png_of(info))[..., :3]
    image = info.image[..., 0]
    scale = max(1, min(1240 // image.shape[1], 2600 // image.shape[0]))
    enlarged = np.where(info.image[..., 3] == 0, 255, image)
    enlarged = enlarged.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width = enlarged.shape
    places = [
        (top, left)
        for top in range(grey.shape[0] - height + 1)
        for left in range(grey.shape[1] - width + 1)
        if (grey[top, left : left + width, 0] == enlarged[0]).all()
        and (grey[top : top + height, left : left + width, 0] == enlarged).all()
    ]
    assert len(places) == 1


def test_nothing_is_cut_off_at_the_edges():
    """The margin of the figure is white, even with long names."""
    dimensions = [Activity(number, 123456.0) for number in range(32)]
    for height, width in ((8, 8), (8, 60), (60, 8)):
        tiles = np.full((32, 11, height, width, 1), 99, np.uint8)
        pixels = pixels_of(png_of(compute_traversal(dimensions, np.linspace(-2.5, 2.5, 11), tiles)))
        for edge in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
            assert (edge == 255).all()


def test_overlapping_column_names_are_left_out_evenly():
    dimensions = [Activity(number, 1.0) for number in range(32)]
    tiles = np.zeros((32, 11, 100, 8, 1), np.uint8)  # so high that nothing is enlarged
    info = compute_traversal(dimensions, np.linspace(-2.5, 2.5, 11), tiles)
    texts = svg_texts(to_svg(draw_grid(info)))
    assert sum(text.startswith("z[") for text in texts) == 32
    assert [text for text in texts if text[-2:] in (".5", ".0")] == ["\N{MINUS SIGN}2.5", "0.5"]
