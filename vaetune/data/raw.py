"""Images as they were found, before their values are scaled and split."""

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from vaetune.config import Layout, Pages, Resize
from vaetune.data.disk.images import Images


@dataclass(frozen=True, eq=False)
class RawSplit:
    """Images and labels of one split, as they were found.

    Attributes:
        images: Pixels, (n, height, width, channels), of any numeric type.
        labels: Labels, (n,); class indices if `RawImages.class_names` is set. None without labels.
        names: Paths of the files within the folder, (n,) str. None for an array.
    """

    images: Images
    labels: NDArray[Any] | None = None
    names: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class RawImages:
    """The images of a data set, as they were found.

    Attributes:
        kind: Image files or arrays.
        train: Training images, or all images of a set without splits of its own.
        validation: The set's own validation images, or None.
        test: The set's own test images, or None.
        class_names: Class names, if labels are class indices; otherwise None.
        layout: Order of the axes of arrays as they were found.
        pages: Meaning of the pages of TIFF files; None without such files.
        image_size: Height and width after resizing; None if no image was resized.
        resize: Method of resizing; None if no image was resized.
        background: Colour put behind transparent pixels; None without such pixels.
        notes: Other facts about the data set, one sentence each.
        warnings: Facts that may be mistakes, one sentence each.
    """

    kind: Literal["files", "arrays"]
    train: RawSplit
    validation: RawSplit | None = None
    test: RawSplit | None = None
    class_names: tuple[str, ...] | None = None
    layout: Layout = "channels_last"
    pages: Pages | None = None
    image_size: tuple[int, int] | None = None
    resize: Resize | None = None
    background: str | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def own_splits(self) -> tuple[Literal["validation", "test"], ...]:
        """Returns the splits that the set has besides the training images."""
        own: list[Literal["validation", "test"]] = []
        if self.validation:
            own.append("validation")
        if self.test:
            own.append("test")
        return tuple(own)
