"""Reading of the headers of image files, which tell size and type without decoding pixels."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vaetune.data.folders.layout import Place
from vaetune.data.prepare import decoded_channels, decoded_type
from vaetune.errors import one_line

FAILURES = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""Exceptions that Pillow raises for damaged files."""

_ORIENTATION = 0x0112

_ON_THE_SIDE = (5, 6, 7, 8)
"""Values of the EXIF orientation that swap height and width."""

_DEEP_COLOUR = ("PNG", "TIFF")
"""Pillow's formats with colours of 16 bits."""

_LAYERED = ("TIFF", "PSD")
"""Pillow's formats in which more than one picture in a file is no animation."""


@dataclass(frozen=True, slots=True)
class Page:
    """The header of an image file, or of a page of a TIFF file.

    Attributes:
        size: Height and width of the upright image.
        dtype: Type of the decoded pixels.
        channels: Number of channels of the decoded pixels: 1 or 3.
        is_shortened: Whether Pillow reads only 8 of 16 bits, as it does for colour.
    """

    size: tuple[int, int]
    dtype: str
    channels: int
    is_shortened: bool


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file before it is decoded.

    Attributes:
        place: Path, split and label.
        pages: Headers of its images: all pages of a TIFF file, otherwise one.
        is_animated: Whether only the first of several frames is used.
    """

    place: Place
    pages: tuple[Page, ...]
    is_animated: bool


def read_headers(
    places: Iterable[Place], background: str | None
) -> tuple[list[ImageFile], dict[Path, str]]:
    """Reads the headers of image files.

    Args:
        places: Files with their splits and labels.
        background: Colour behind transparent pixels.

    Returns:
        The files that can be read, in the same order; and the reasons why others cannot, by path.
    """
    files: list[ImageFile] = []
    unreadable: dict[Path, str] = {}
    known: dict[tuple[Page, ...], tuple[Page, ...]] = {}
    for place in places:
        try:
            pages, is_animated = _read_header(place.path, background)
        except FAILURES as error:
            unreadable[place.path] = reason_of(error, place.path)
        else:  # Equal headers are kept once, to save memory.
            files.append(ImageFile(place, known.setdefault(pages, pages), is_animated))
    return files, unreadable


def reason_of(error: Exception, path: Path) -> str:
    """Returns why a file cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(error).replace(str(path), "").replace("''", "it") or type(error).__name__


def _read_header(path: Path, background: str | None) -> tuple[tuple[Page, ...], bool]:
    """Returns the headers of all pages, and whether the file is animated."""
    with Image.open(path) as image:
        pages = []
        for number in range(getattr(image, "n_frames", 1) if image.format == "TIFF" else 1):
            if number:
                image.seek(number)
            pages.append(_page(image, background))
        is_animated = image.format not in _LAYERED and getattr(image, "is_animated", False)
        return tuple(pages), bool(is_animated)


def _page(image: Image.Image, background: str | None) -> Page:
    width, height = image.size
    # Pillow turns the size of a TIFF file already. The method of PNG files would decode them.
    if image.format != "TIFF" and Image.Image.getexif(image).get(_ORIENTATION) in _ON_THE_SIDE:
        width, height = height, width
    dtype = decoded_type(image)
    coding = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    is_shortened = dtype == "uint8" and image.format in _DEEP_COLOUR and ";16" in coding
    return Page((height, width), dtype, decoded_channels(image, background), is_shortened)
