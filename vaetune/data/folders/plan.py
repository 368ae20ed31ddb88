"""The common size, type and channels of the image files of a folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vaetune.config import MAX_CHANNELS, Pages, ReadingSpec, Resize
from vaetune.data.folders.headers import ImageFile, Page
from vaetune.errors import DataError

_MAX_SIZES = 4


@dataclass(frozen=True)
class Plan:
    """How the image files of a folder become one array.

    Attributes:
        size: Height and width of all images.
        channels: Number of channels of all images.
        dtype: Type of the array.
        is_mixed: Whether some files have 8 bits and others 16.
        pages: Meaning of the pages of TIFF files; None without such files.
        resize: Method of resizing images of other sizes.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    is_mixed: bool
    pages: Pages | None
    resize: Resize

    @property
    def page_channels(self) -> int:
        """Number of channels of a page."""
        return 1 if self.pages == "channels" else self.channels

    def images_in(self, file: ImageFile) -> int:
        """Returns the number of images that a file contains."""
        return 1 if self.pages == "channels" else len(file.pages)

    def view(self, images: NDArray[Any], first: int, page: int) -> NDArray[Any]:
        """Returns the part of an array that belongs to a page.

        Args:
            images: Pixels, (n, height, width, channels).
            first: Index of the first image of the file.
            page: Number of the page in the file.
        """
        image, channel = (first, page) if self.pages == "channels" else (first + page, None)
        part: NDArray[Any] = images[image]
        return part if channel is None else part[..., channel : channel + 1]


def make_plan(folder: Path, files: Sequence[ImageFile], spec: ReadingSpec) -> Plan:
    """Finds size, type and channels that fit all image files of a folder.

    Raises:
        DataError: The files have different sizes and no size is requested, or pixels of types that
            have no common scale.
    """
    types = _types(folder, files)
    pages = _meaning_of_pages(files)
    if pages == "channels":
        channels = len(files[0].pages)
    else:
        channels = max(page.channels for file in files for page in file.pages)
    return Plan(
        size=spec.image_size or _only_size(folder, files),
        channels=channels,
        dtype="uint16" if len(types) > 1 else types[0],
        is_mixed=len(types) > 1,
        pages=pages,
        resize=spec.resize or "crop",
    )


def _types(folder: Path, files: Sequence[ImageFile]) -> list[str]:
    """Returns the types of the pixels, sorted by name."""
    examples: dict[str, Path] = {}
    for file in files:
        for page in file.pages:
            examples.setdefault(page.dtype, file.place.path.relative_to(folder))
    types = sorted(examples)
    if len(types) > 1 and types != ["uint16", "uint8"]:
        named = ", ".join(f"{examples[name]} ({name})" for name in types)
        raise DataError(
            f"{folder} contains pixels of different types: {named}. Expected one type. Save all "
            "files with the same type."
        )
    return types


def _meaning_of_pages(files: Sequence[ImageFile]) -> Pages | None:
    """Pages are channels if all files have equally many, each grey and of one size."""
    counts = {len(file.pages) for file in files}
    if counts == {1}:
        return None
    are_channels = (
        len(files) > 1
        and len(counts) == 1
        and max(counts) <= MAX_CHANNELS
        and all(_are_alike_and_grey(file.pages) for file in files)
    )
    return "channels" if are_channels else "images"


def _are_alike_and_grey(pages: Sequence[Page]) -> bool:
    return all(page.channels == 1 and page.size == pages[0].size for page in pages)


def _only_size(folder: Path, files: Sequence[ImageFile]) -> tuple[int, int]:
    """Returns the size of all images."""
    sizes = Counter(page.size for file in files for page in file.pages)
    if len(sizes) == 1:
        return files[0].pages[0].size
    most = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count} of {height} x {width}" for (height, width), count in most[:_MAX_SIZES]]
    if more := len(most) - len(named):
        named.append(f"{sum(sizes.values()) - sum(n for _, n in most[:_MAX_SIZES])} of {more} more")
    raise DataError(
        f"{folder} contains images of {len(sizes)} different sizes: {', '.join(named)}. Expected "
        "one size. Resize all images with --image-size 64, or with image_size = 64 and resize = "
        '"crop", "pad" or "stretch" under [data] in the search file.'
    )
