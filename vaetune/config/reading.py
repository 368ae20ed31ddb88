"""How images are read: the options of a search file, and the record of what was done."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt

from vaetune.config.dimensions import Number, Table
from vaetune.errors import short_repr

Layout = Literal["channels_last", "channels_first", "images_last"]
"""Order of the axes of an array of images."""

Resize = Literal["crop", "pad", "stretch"]
"""How an image gets another size: cut at its centre, with a border, or with other proportions."""

Pages = Literal["images", "channels"]
"""What the pages of a TIFF file are."""

MIN_IMAGES = 12
"""Smallest number of training images, and of distinct images."""

MIN_IMAGE_SIDE = 8
"""Smallest height and width, in pixels."""

MAX_CHANNELS = 32


def _parse_size(value: Any) -> Any:
    """Parses a side such as 64, or a height and width such as "64x48"."""
    text = value.strip() if isinstance(value, str) else ""
    if match := re.fullmatch(r"(\d+)(?:\s*[xX]\s*(\d+))?", text):
        sides = (int(match[1]), int(match[2] or match[1]))
    elif isinstance(value, int) and not isinstance(value, bool):
        sides = (value, value)
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        sides = (value[0], value[1])
    else:
        raise ValueError(
            f'must be a side such as 64 or HEIGHTxWIDTH such as "64x48", received '
            f"{short_repr(value)}"
        )
    small = [side for side in sides if isinstance(side, int) and side < MIN_IMAGE_SIDE]
    if small:
        raise ValueError(f"must be at least {MIN_IMAGE_SIDE}, received {small[0]}")
    return sides


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError(
            f"must be the values of black and of white, the smaller one first, received "
            f"{list(bounds)}"
        )
    return bounds


def _is_colour(colour: str) -> str:
    if colour not in ("black", "white") and not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise ValueError(
            f'must be "black", "white" or a colour such as "#ffcc00", received {short_repr(colour)}'
        )
    return colour.lower()


Side = Annotated[StrictInt, Field(ge=MIN_IMAGE_SIDE)]

ImageSize = Annotated[tuple[Side, Side], BeforeValidator(_parse_size)]
"""Height and width in pixels. It is written as 64, "64x48" or [64, 48]."""

PixelRange = Annotated[tuple[Number, Number], AfterValidator(_ascending)]

Colour = Annotated[str, AfterValidator(_is_colour)]

Channel = Annotated[StrictInt, Field(ge=0, lt=MAX_CHANNELS)]


class ReadingSpec(Table):
    """How the images of a data set are read. None leaves the choice to vaetune.

    Attributes:
        range: Pixel values that become 0 (black) and 1 (white).
        layout: Order of the axes of an array.
        image_size: Height and width to which all images are resized.
        resize: Method of resizing. None: "crop".
        background: Colour behind transparent pixels: "black", "white" or "#rrggbb".
        skip_unreadable: Whether to leave out files that cannot be read, instead of refusing them.
        show: Channels that pictures show, numbered from 0: one in grey, or three as red, green
            and blue.
        from_disk: Whether training reads the images from the disk. None: only if they need more
            than half of the memory.
    """

    range: PixelRange | None = None
    layout: Layout | None = None
    image_size: ImageSize | None = None
    resize: Resize | None = None
    background: Colour | None = None
    skip_unreadable: StrictBool | None = None
    show: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=3)] | None = None
    from_disk: StrictBool | None = None


class Facts(Table):
    """A part of a journal. Keys of later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Copies(Facts):
    """Images that are equal, pixel by pixel.

    Attributes:
        distinct: Number of distinct images.
        within: Number of images that repeat an earlier one of the same split.
        across: Number of validation and test images that are also in an earlier split.
        constant: Number of images whose pixels are all equal.
    """

    distinct: int
    within: int = 0
    across: int = 0
    constant: int = 0


class Reading(Facts):
    """How a data set was read. A new image must be prepared in the same way.

    Attributes:
        kind: Image files or arrays.
        dtype: Type of the pixel values as they were found, such as "uint16".
        low: Smallest value found in any split.
        high: Largest value found in any split.
        range: Values that become 0 and 1. Values outside are clipped.
        rule: "certain" and "likely" are decided from the values; "given" is `ReadingSpec.range`.
        clipped: Number of values that were outside `range`.
        layout: Order of the axes as they were found.
        pages: Meaning of the pages of TIFF files; None without such files.
        image_size: Height and width after resizing; None if no image was resized.
        resize: Method of resizing; None if no image was resized.
        background: Colour put behind transparent pixels; None without such pixels.
        show: Channels that pictures show; None: all of them.
        copies: Images that are equal.
        own_splits: Splits that came with the set; vaetune held out the others.
        notes: Other facts about the data set, one sentence each.
        warnings: Facts that may be mistakes, one sentence each.
    """

    kind: Literal["files", "arrays"]
    dtype: str
    low: float
    high: float
    range: tuple[float, float]
    rule: Literal["certain", "likely", "given"] = "certain"
    clipped: int = 0
    layout: Layout = "channels_last"
    pages: Pages | None = None
    image_size: tuple[int, int] | None = None
    resize: Resize | None = None
    background: str | None = None
    show: tuple[int, ...] | None = None
    copies: Copies | None = None
    own_splits: tuple[Literal["validation", "test"], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def explain_change(self, before: "Reading | None") -> str:
        """A sentence on what is read differently than in an earlier search; empty if nothing is.

        Args:
            before: Reading of the images of the search; None if the search did not record it.
        """
        rules = self._rules() if before is None else self._differences(before)
        if not rules:
            return ""
        return (
            f" Images are read in another way than in that search: {'; '.join(rules)}. Its report "
            "and its exports still work."
        )

    def _rules(self) -> list[str]:
        low, high = self.range
        is_plain = self.range in ((0.0, 255.0), (0.0, 1.0)) and not self.clipped
        rules = [] if is_plain else [f"{self.dtype} values {low:g}..{high:g} are taken as 0..1"]
        return rules + [text.rstrip(".") for text in (*self.notes, *self.warnings)]

    def _differences(self, before: "Reading") -> list[str]:
        names = ("dtype", "range", "layout", "pages", "image_size", "resize", "background")
        pairs = {name: (getattr(before, name), getattr(self, name)) for name in names}
        return [f"{name}: {old} -> {new}" for name, (old, new) in pairs.items() if old != new]
