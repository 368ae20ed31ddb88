"""Contact sheets keep the pixels of images and replace only earlier contact sheets."""

import numpy as np
import pytest
from PIL import Image

from vaetune.errors import ResultsError
from vaetune.report.contact_sheet import arrange_images, write_contact_sheet


def noise(count, height, width, channels):
    shape = (count, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(("channels", "shape"), [(1, (8, 9, 1)), (3, (64, 48, 3))])
def test_images_are_in_rows_of_ten_in_their_order(channels, shape):
    images = noise(40, *shape)
    tiles = arrange_images(images, None).tiles
    np.testing.assert_array_equal(tiles, images.reshape(4, 10, *shape))


@pytest.mark.parametrize("side", [8, 28, 64, 128])
@pytest.mark.parametrize("channels", [2, 5, 14, 32])
def test_sheets_of_many_channels_fit_a_page(side, channels):
    rows, columns, height, width, _ = arrange_images(
        noise(40, side, side, channels), None
    ).tiles.shape
    scale = max(1, side // 32)
    assert columns * width <= max(800 * scale, width)
    assert rows * height <= max(1000 * scale, height)
    assert columns * rows >= 1


def test_five_channels_still_show_forty_images():
    images = noise(40, 28, 28, 5)
    rows, columns = arrange_images(images, None).tiles.shape[:2]
    assert rows * columns == 40
    assert arrange_images(images, (4, 2, 0)).tiles.shape == (4, 10, 28, 28, 3)


def test_the_file_has_the_pixels_of_the_images(tmp_path):
    path = tmp_path / "new" / "sheet.png"
    images = noise(20, 9, 10, 3)
    assert write_contact_sheet(path, images, None) == 20
    sheet = np.asarray(Image.open(path))
    assert sheet.ndim == 3
    scale = 8  # 118 pixels in a row, enlarged to at least 840
    first = sheet[8 : 8 + 9 * scale : scale, 8 : 8 + 10 * scale : scale]
    np.testing.assert_array_equal(first, images[0])
    assert list(path.parent.iterdir()) == [path]


def test_a_sheet_has_whole_rows(tmp_path):
    assert write_contact_sheet(tmp_path / "three.png", noise(3, 8, 8, 1), None) == 3
    assert write_contact_sheet(tmp_path / "many.png", noise(25, 8, 8, 1), None) == 24


def test_an_earlier_sheet_is_replaced_and_any_other_file_is_kept(tmp_path):
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, noise(10, 8, 8, 1), None)
    before = path.read_bytes()
    write_contact_sheet(path, 255 - noise(10, 8, 8, 1), None)
    assert path.read_bytes() != before
    for name, content in (("photo.png", None), ("text.png", b"text"), ("empty.png", b"")):
        other = tmp_path / name
        if content is None:
            Image.new("L", (4, 4)).save(other)
        else:
            other.write_bytes(content)
        kept = other.read_bytes()
        with pytest.raises(ResultsError, match=r"not a contact sheet.*--sheet"):
            write_contact_sheet(other, noise(10, 8, 8, 1), None)
        assert other.read_bytes() == kept


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultsError, match="cannot be written"):
        write_contact_sheet(tmp_path / "file" / "sheet.png", noise(10, 8, 8, 1), None)
