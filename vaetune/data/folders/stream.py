"""Reading of a folder of image files in parts: files are decoded each time they are used."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import Layout, Pages, ReadingSpec, Resize
from vaetune.data.disk.images import DiskImages
from vaetune.data.folders import notes as folder_notes
from vaetune.data.folders.files import find_files
from vaetune.data.folders.headers import FAILURES, ImageFile, read_headers, reason_of
from vaetune.data.folders.layout import arrange
from vaetune.data.folders.plan import Plan, make_plan
from vaetune.data.folders.reader import class_names_of, decode_into, split_up
from vaetune.data.raw import RawImages
from vaetune.data.zero_copy import empty_aligned
from vaetune.errors import DataError


class FolderFile:
    """The image files of a folder in the place of one file; see `disk.images.ImageFile`.

    Args:
        folder: Folder of the files.
        files: Files in the order of their images.
        plan: Common size, type and channels of the images.
        background: Colour behind transparent pixels; None for black.
    """

    layout: Layout = "channels_last"

    def __init__(
        self, folder: Path, files: Sequence[ImageFile], plan: Plan, background: str | None
    ) -> None:
        self.path = folder.resolve()
        self._files = files
        self._plan = plan
        self._background = background
        counts = [plan.images_in(file) for file in files]
        self._file_of = np.repeat(np.arange(len(files)), counts)
        self._starts = np.cumsum([0, *counts])
        self.dtype = np.dtype(plan.dtype)
        self.shape: tuple[int, ...] = (len(self._file_of), *plan.size, plan.channels)
        self._last: tuple[int, NDArray[Any]] | None = None

    @property
    def identity(self) -> list[Any]:
        """Facts that change if a file or the way of reading changes."""
        digest = hashlib.sha256()
        for file in self._files:
            with suppress(OSError):
                status = file.place.path.stat()
                digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
            digest.update(os.fsencode(file.place.path) + b"\0")
        return [str(self.path), digest.hexdigest(), repr(self._plan), self._background]

    def check(self) -> None:
        """Does nothing: `read` finds out whether a file is there."""

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Returns images as (n, height, width, channels), in the order of their numbers.

        Raises:
            DataError: A file cannot be decoded.
        """
        images = empty_aligned((len(rows), *self.shape[1:]), self.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and of damaged details.
            for place, row in enumerate(rows.tolist()):
                number = int(self._file_of[row])
                images[place] = self._decode(number)[row - self._starts[number]]
        return images

    def _decode(self, number: int) -> NDArray[Any]:
        """Returns the images of a file. Those of the last file are kept, for its next page."""
        if self._last is None or self._last[0] != number:
            file = self._files[number]
            pixels = np.empty((self._plan.images_in(file), *self.shape[1:]), self.dtype)
            try:
                decode_into(pixels, 0, file, self._plan, self._background)
            except FAILURES as error:
                reason = reason_of(error, file.place.path)
                raise DataError(
                    f"{file.place.path} cannot be read: {reason}. Repair or remove the file."
                ) from error
            self._last = number, pixels
        return self._last[1]


def open_folder(
    folder: Path,
    size: tuple[int, int],
    resize: Resize | None,
    background: str | None = None,
    pages: Pages | None = None,
    skip_unreadable: bool = False,
) -> RawImages:
    """Opens the image files of a folder. Only their headers are read now.

    Args:
        folder: Folder of image files.
        size: Height and width of all images.
        resize: Method of resizing images of other sizes. None: refuse them.
        background: Colour behind transparent pixels; None for black.
        pages: Meaning of the pages of TIFF files in training.
        skip_unreadable: Whether to leave out files with a header that cannot be read.

    Raises:
        DataError: There are no images, files are damaged, or images have another size.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images and of damaged details.
        found = find_files(folder)
        arrangement = arrange(folder, found.images)
        files, unreadable = read_headers(arrangement.places, background)
    if not files or (unreadable and not skip_unreadable):
        raise folder_notes.unreadable_error(folder, unreadable, may_skip=False)
    if resize is None:
        check_sizes(folder, [page.size for file in files for page in file.pages], size)
    plan = _plan_as(folder, files, size, resize or "crop", pages)
    file = FolderFile(folder, files, plan, background)
    splits = split_up(
        folder, files, plan, lambda first, last: DiskImages(file, np.arange(first, last))
    )
    if "train" not in splits:
        raise folder_notes.unreadable_error(folder, unreadable, may_skip=False)
    is_resized = any(page.size != size for one in files for page in one.pages)
    return RawImages(
        "files",
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        class_names=class_names_of(files),
        pages=plan.pages,
        image_size=size if is_resized else None,
        resize=resize if is_resized else None,
        notes=(
            *arrangement.notes,
            *folder_notes.notes(files, plan),
            *found.notes(),
            *arrangement.warnings,
            *folder_notes.unreadable_warning(folder, unreadable),
        ),
    )


def check_sizes(
    source: object, found: Sequence[tuple[int, int]], expected: tuple[int, int]
) -> None:
    """Checks that images have the height and width of a model.

    Args:
        source: Name of the image set in the message.
        found: Height and width of each image.
        expected: Height and width that the model takes.

    Raises:
        DataError: An image has another size.
    """
    others = [size for size in found if size != expected]
    if not others:
        return
    several = len(set(others)) > 1
    height, width = others[0]
    raise DataError(
        f"{source} has images of {height} x {width} pixels{' and other sizes' if several else ''}, "
        f"but the model takes {expected[0]} x {expected[1]}. Resize them with --resize crop, "
        '--resize pad or --resize stretch (in Python: resize="crop").'
    )


def _plan_as(
    folder: Path,
    files: Sequence[ImageFile],
    size: tuple[int, int],
    resize: Resize,
    pages: Pages | None,
) -> Plan:
    """Returns the plan of a folder: pages are channels if they were in training.

    Raises:
        DataError: Pixels have several types.
    """
    plan = make_plan(folder, files, ReadingSpec(image_size=size, resize=resize))
    if plan.is_mixed:
        raise DataError(
            f"{folder} contains images of 8 bits and images of 16 bits. Put them into two folders."
        )
    counts = {len(file.pages) for file in files}
    if pages == "channels" and plan.channels == 1 and len(counts) == 1:
        plan = replace(plan, pages="channels", channels=counts.pop())
    return plan
