"""Writes pictures into the page, as data URLs of small files.

Grey pictures are PNG files, which keep every pixel. Colours with many shades compress badly in
them: a WebP file of high quality has a quarter of the bytes, and looks the same.
"""

import base64
import io

from PIL import Image, features

from vaetune.report.charts.grids import GridInfo, enlarge, grid_to_picture, to_file

_QUALITY = 90
"""Quality of WebP files, of 100."""

_LEAST_WIDTH = 640
"""Smallest width of a WebP file in pixels. It stores colours at half the resolution, so that each
pixel of a small picture has to be enlarged to keep its own."""


def grid_to_data_url(info: GridInfo, least_width: int = 840, most_width: int = 1000) -> str:
    """Returns a picture of images for the page; see `grid_to_picture`."""
    picture = grid_to_picture(info, least_width, most_width)
    return smaller_data_url(to_file(picture), picture)


def smaller_data_url(png: bytes, image: Image.Image) -> str:
    """Returns the data URL of a PNG file, or of a smaller WebP file of the same picture.

    Args:
        png: The PNG file.
        image: The picture, grey or in colour, with or without transparency.
    """
    webp = b"" if _is_grey(image) else _to_webp(image)
    kind, file = ("webp", webp) if 0 < len(webp) < len(png) else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _is_grey(image: Image.Image) -> bool:
    bands = image.convert("RGB").split()
    return bands[0] == bands[1] == bands[2]


def _to_webp(image: Image.Image) -> bytes:
    """Returns a WebP file; empty if Pillow was built without it."""
    if not features.check("webp"):
        return b""
    buffer = io.BytesIO()
    enlarge(image, _LEAST_WIDTH).save(buffer, format="WEBP", quality=_QUALITY)
    return buffer.getvalue()
