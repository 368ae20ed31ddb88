"""Reading of a folder of image files into a single array."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaetune.config import ReadingSpec
from vaetune.data.disk.images import Images
from vaetune.data.folders import notes as folder_notes, transparency
from vaetune.data.folders.files import counted, find_files
from vaetune.data.folders.headers import FAILURES, ImageFile, read_headers, reason_of
from vaetune.data.folders.layout import SPLITS, SplitName, arrange
from vaetune.data.folders.plan import Plan, make_plan
from vaetune.data.folders.transparency import Look
from vaetune.data.prepare import decode, resize, to_channels
from vaetune.data.raw import RawImages, RawSplit
from vaetune.data.zero_copy import empty_aligned
from vaetune.files import escape_bytes


@dataclass
class _Pixels:
    """Decoded images.

    Attributes:
        images: Pixels, (n, height, width, channels).
        files: Files with the index of their first image, in the order of the images.
        looks: Effect of the background on each page.
        unreadable: Reasons why files could not be decoded, by path.
    """

    images: NDArray[Any]
    files: list[tuple[ImageFile, int]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)


Allocate = Callable[[tuple[int, ...], str], NDArray[Any]]
"""Function from a shape and a type to an empty array."""


def read_folder(folder: Path, spec: ReadingSpec, allocate: Allocate = empty_aligned) -> RawImages:
    """Reads all image files of a folder that Pillow can read.

    Folders such as train, val and test are splits; other sub-folders are labels. If all files are
    grey, images have one channel; otherwise all images have three. The headers of all files are
    read first. At any time, only one decoded image is in memory in addition to the array.

    Args:
        folder: Folder of image files.
        spec: Options of reading.
        allocate: Provides the array of the decoded images.

    Raises:
        DataError: There are no images, files are damaged, sizes differ, types have no common
            scale, or images are both in a folder and in its sub-folders.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images and of damaged details.
        return _read_quietly(folder, spec, allocate)


def _read_quietly(folder: Path, spec: ReadingSpec, allocate: Allocate) -> RawImages:
    found = find_files(folder)
    arrangement = arrange(folder, found.images)
    files, unreadable = read_headers(arrangement.places, spec.background)
    if not files:
        raise folder_notes.unreadable_error(folder, unreadable)
    plan, pixels = _decode_readable(folder, files, spec, allocate)
    unreadable |= pixels.unreadable
    has_training = any(file.place.split == "train" for file, _ in pixels.files)
    if not has_training or (unreadable and not spec.skip_unreadable):
        raise folder_notes.unreadable_error(folder, unreadable)
    background = _settle_background(pixels, plan, spec.background)
    kept = [file for file, _ in pixels.files]
    notes = [*arrangement.notes, *folder_notes.notes(kept, plan), *found.notes()]
    notes += transparency.notes(pixels.looks, background, is_chosen=spec.background is None)
    problems = [*arrangement.warnings, *folder_notes.unreadable_warning(folder, unreadable)]
    problems += [*folder_notes.shortened(kept), *transparency.warnings(pixels.looks)]
    problems += _join_types(pixels, plan)
    splits = split_up(folder, kept, plan, lambda first, last: pixels.images[first:last])
    is_resized = any(page.size != plan.size for file in kept for page in file.pages)
    return RawImages(
        "files",
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        class_names=class_names_of(kept),
        pages=plan.pages,
        image_size=plan.size if is_resized else None,
        resize=plan.resize if is_resized else None,
        background=background,
        notes=tuple(notes),
        warnings=tuple(problems),
    )


def _decode_readable(
    folder: Path, files: Sequence[ImageFile], spec: ReadingSpec, allocate: Allocate
) -> tuple[Plan, _Pixels]:
    """Decodes files as it fits those of them that can be decoded."""
    plan = make_plan(folder, files, spec)
    pixels = _decode_all(files, plan, spec.background, allocate)
    if pixels.unreadable and pixels.files and spec.skip_unreadable:
        kept = [file for file, _ in pixels.files]
        fitting = make_plan(folder, kept, spec)
        if fitting != plan:
            unreadable = pixels.unreadable
            plan = fitting
            pixels = _decode_all(kept, fitting, spec.background, allocate)
            pixels.unreadable |= unreadable
    return plan, pixels


def _decode_all(
    files: Sequence[ImageFile], plan: Plan, background: str | None, allocate: Allocate
) -> _Pixels:
    """Decodes all files. Those that cannot be read leave no gap."""
    count = sum(plan.images_in(file) for file in files)
    pixels = _Pixels(allocate((count, *plan.size, plan.channels), plan.dtype))
    at = 0
    for file in files:
        try:
            looks = decode_into(pixels.images, at, file, plan, background)
        except FAILURES as error:
            pixels.unreadable[file.place.path] = reason_of(error, file.place.path)
            continue
        pixels.looks += looks
        pixels.files.append((file, at))
        at += plan.images_in(file)
    pixels.images = pixels.images[:at]
    return pixels


def decode_into(
    images: NDArray[Any], at: int, file: ImageFile, plan: Plan, background: str | None
) -> list[Look]:
    """Decodes a file into its place in an array, and returns how its pages look.

    Args:
        images: Pixels, (n, height, width, channels).
        at: Index of the first image of the file.
        file: The file.
        plan: Common size, type and channels of the images.
        background: Colour behind transparent pixels; None for black.

    Raises:
        Exception: One of `FAILURES`: the file cannot be read.
    """
    looks = []
    # Pillow scrambles uncompressed TIFF files with an orientation if it opens them by name.
    with file.place.path.open("rb") as stream, Image.open(stream) as image:
        for number, page in enumerate(file.pages):
            if number:
                image.seek(number)
            values = decode(image, background)
            if values.shape[:2] != page.size or values.dtype.name != page.dtype:
                raise ValueError("its pixels do not fit its header")
            looks.append(transparency.look_of(image, values, is_chosen=background is None))
            values = resize(values, plan.size, plan.resize)
            plan.view(images, at, number)[...] = to_channels(values, plan.page_channels)
    return looks


def _settle_background(pixels: _Pixels, plan: Plan, background: str | None) -> str | None:
    """Returns the colour behind transparent pixels, and decodes them on it once more if needed."""
    if not transparency.are_transparent(pixels.looks):
        return None
    if background is not None:
        return background
    chosen = transparency.choose(pixels.looks)
    if chosen == "black":  # Everything was decoded on black.
        return chosen
    looks = iter(pixels.looks)
    for file, at in pixels.files:
        if transparency.are_transparent([next(looks) for _ in file.pages]):
            decode_into(pixels.images, at, file, plan, chosen)
    return chosen


def _join_types(pixels: _Pixels, plan: Plan) -> Iterator[str]:
    """Gives files of 8 and 16 bits a common scale. Yields a warning if there are both."""
    parts: dict[str, list[NDArray[Any]]] = {"uint8": [], "uint16": []}
    if not plan.is_mixed:
        return
    for file, at in pixels.files:
        for number, page in enumerate(file.pages):
            parts[page.dtype].append(plan.view(pixels.images, at, number))
    found = (
        f"{counted(len(parts['uint8']), 'image')} with 8 bits and "
        f"{len(parts['uint16'])} with 16 bits were found"
    )
    if max((int(part.max()) for part in parts["uint16"]), default=0) > 255:
        for part in parts["uint8"]:
            part *= np.uint16(257)
        yield f"{found}: the pixels with 8 bits were multiplied by 257."
    else:
        pixels.images = _narrow(pixels.images)
        yield f"{found}: no pixel is above 255, so all of them were taken as 8 bits."


def _narrow(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns images of 16 bits as bytes, in the same memory."""
    narrow = images.reshape(-1).view(np.uint8)[: images.size].reshape(images.shape)
    for index in range(len(images)):
        narrow[index] = images[index].astype(np.uint8)
    return narrow


def split_up(
    folder: Path, files: Sequence[ImageFile], plan: Plan, take: Callable[[int, int], Images]
) -> dict[SplitName, RawSplit]:
    """Returns the splits that have images.

    Args:
        folder: Folder of image files.
        files: Files of all splits, one split after the other.
        plan: Common size, type and channels of the images.
        take: Function that returns the images from a first number to a last one, exclusively.
    """
    splits: dict[SplitName, RawSplit] = {}
    at = 0
    for split in SPLITS:
        labels, names = _list_facts(folder, files, split, plan)
        if len(names):
            splits[split] = RawSplit(take(at, at + len(names)), labels, names)
            at += len(names)
    return splits


def _list_facts(
    folder: Path, files: Sequence[ImageFile], split: SplitName, plan: Plan
) -> tuple[NDArray[np.int64] | None, NDArray[Any]]:
    """Returns the class indices and the names of the images of a split.

    A class index counts the sorted labels of all splits. The name of an image is the path of its
    file within the folder, and its number in the file if a file may contain several images.

    Args:
        folder: Folder of image files.
        files: Files of all splits, one split after the other.
        split: The split.
        plan: Common size, type and channels of the images.
    """
    number = {label: index for index, label in enumerate(class_names_of(files) or ())}
    labels: list[int] = []
    names: list[str] = []
    for file in files:
        if file.place.split != split:
            continue
        name = escape_bytes(file.place.path.relative_to(folder).as_posix())
        count = plan.images_in(file)
        names += [name] if count == 1 else [f"{name}[{page}]" for page in range(count)]
        labels += [number[file.place.label]] * count if file.place.label is not None else []
    classes = np.array(labels, np.int64) if labels else None
    return classes, np.array(names, dtype=np.dtypes.StringDType())


def class_names_of(files: Iterable[ImageFile]) -> tuple[str, ...] | None:
    """Returns the sorted labels of files, or None if they have none."""
    labels = {file.place.label for file in files}
    return tuple(sorted(label for label in labels if label is not None)) or None
