"""Pictures of the page are small files that look like the originals."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, features

from vaetune.report.charts.data_urls import grid_to_data_url, smaller_data_url
from vaetune.report.charts.grids import compute_samples, grid_to_picture, to_file


def make_smooth_images(side, channels=3, count=4):
    """Images with smooth gradients and little noise, like those of a decoder."""
    ramp = np.linspace(0, 200, side)
    images = ramp[:, None, None] * np.linspace(0.2, 1.0, side)[:, None] * np.ones(channels)
    noise = np.random.default_rng(0).uniform(0, 20, (count, side, side, channels))
    return (images + noise).astype(np.uint8)


def open_data_url(url):
    kind, _, encoded = url.removeprefix("data:image/").partition(";base64,")
    return kind, Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_a_picture_with_many_colours_becomes_a_smaller_and_similar_webp_file(monkeypatch):
    grid = compute_samples(make_smooth_images(64))
    png = to_file(grid_to_picture(grid))
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", None)  # The PNG file is not decoded.
        url = grid_to_data_url(grid)
    kind, image = open_data_url(url)
    assert (kind, image.mode) == ("webp", "RGBA")
    assert len(url) < 0.5 * len(base64.b64encode(png))
    expected = np.asarray(Image.open(io.BytesIO(png)), float)
    shown = np.asarray(image, float)
    assert shown.shape == expected.shape
    is_image = expected[..., 3] > 0
    np.testing.assert_array_equal(shown[..., 3] > 0, is_image)
    error = (shown - expected)[is_image][:, :3]
    assert np.sqrt((error**2).mean()) < 4


def test_a_small_picture_is_enlarged_and_its_pixels_keep_their_colours():
    pixels = np.tile(np.array([[[250, 0, 0], [0, 0, 250]]], np.uint8), (16, 8, 1))
    kind, image = open_data_url(smaller_data_url(b" " * 10**6, Image.fromarray(pixels)))
    assert (kind, image.size) == ("webp", (640, 640))
    centres = np.asarray(image)[20::40, 20::40].astype(int)
    assert np.abs(centres - pixels).max() < 12


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_pictures_keep_every_pixel(channels):
    grey = make_smooth_images(64, 1).repeat(channels, axis=-1)
    grid = compute_samples(grey)
    png = base64.b64encode(to_file(grid_to_picture(grid))).decode()
    assert grid_to_data_url(grid) == f"data:image/png;base64,{png}"


def test_without_webp_the_page_has_png_files(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: False)
    assert open_data_url(grid_to_data_url(compute_samples(make_smooth_images(64))))[0] == "png"
