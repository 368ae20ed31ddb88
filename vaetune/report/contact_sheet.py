"""Writes a contact sheet: a PNG of images, as a model sees them."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, PngImagePlugin

from vaetune.files import write_atomically, writing_to
from vaetune.report.charts.channels import scale_of_numbers, shown_channels, to_pictures
from vaetune.report.charts.grids import GridInfo, grid_to_picture
from vaetune.report.picture_files import MARK, check_picture
from vaetune.study import Pixels

_COLUMNS = (7, 8, 9, 10)
"""Numbers of images in a row. The one that leaves out the fewest images is chosen."""

_WIDTH = 1600
"""Largest width of a contact sheet in pixels."""

_HEIGHT_OF_CHANNELS = 1000
"""Largest height in pixels where each channel is shown, times the scale of the numbers."""

_PAPER = (217, 221, 226, 255)
"""Colour between the images. Both black and white images stand out from it."""

_MARGIN = 8


def arrange_images(images: Pixels, show: Sequence[int] | None, width: int = 800) -> GridInfo:
    """Arranges images in whole rows of up to ten.

    Args:
        images: Images, (n, height, width, channels), 0..255, n at least 1.
        show: Channels to show, see `shown_channels`. If each is shown, rows are shorter.
        width: Largest width in pixels where each channel is shown, times the scale of the numbers.
    """
    pictures = to_pictures(images, show)
    count = rows = len(images)
    columns = max(_COLUMNS, key=lambda number: (count // number * number, number))
    columns = min(columns, count)
    if not shown_channels(images.shape[-1], show):
        scale = scale_of_numbers(*images.shape[1:3])
        columns = max(1, min(columns, scale * width // pictures.shape[2]))
        rows = max(1, scale * _HEIGHT_OF_CHANNELS // pictures.shape[1])
    rows = min(rows, count // columns)
    tiles = pictures[: rows * columns].reshape(rows, columns, *pictures.shape[1:])
    return GridInfo(tiles)


def write_contact_sheet(path: Path, images: Pixels, show: Sequence[int] | None) -> int:
    """Writes images to a PNG file, in place of an earlier contact sheet.

    Args:
        path: File to write. Its folder is created.
        images: Images, as for `arrange_images`.
        show: Channels to show, as for `arrange_images`.

    Returns:
        Number of images in the file.

    Raises:
        ResultsError: The file cannot be written, or is not a contact sheet.
    """
    grid = arrange_images(images, show)
    picture = grid_to_picture(grid, most_width=_WIDTH)
    size = (picture.width + 2 * _MARGIN, picture.height + 2 * _MARGIN)
    sheet = Image.new("RGBA", size, _PAPER)
    sheet.alpha_composite(picture, (_MARGIN, _MARGIN))
    marks = PngImagePlugin.PngInfo()
    marks.add_text("Software", MARK)
    check_picture(path, "contact sheet", "--sheet")
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    whole = sheet.convert("RGB")
    write_atomically(path, lambda file: whole.save(file, format="PNG", pnginfo=marks))
    rows, columns = grid.tiles.shape[:2]
    return int(rows * columns)
