"""Opens `.npy` files that are larger than memory, and refuses archives that are."""

import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import ReadingSpec, Resize
from vaetune.data.arrays.headers import read_npy_header
from vaetune.data.arrays.layouts import describe_unflattened, find_layout, square_side
from vaetune.data.arrays.names import NO_PADDING, resize_images
from vaetune.data.disk.cache import remember
from vaetune.data.disk.images import DiskImages, ImageFile
from vaetune.data.raw import RawImages, RawSplit
from vaetune.errors import DataError

SHARE_OF_MEMORY = 0.5
"""Images that need a larger share of memory stay on the disk."""

_CGROUPS = Path("/sys/fs/cgroup")
"""Folder of the control groups, which limit the memory of containers."""


@dataclass(frozen=True)
class Resized:
    """Resizes images.

    Attributes:
        size: Height and width.
        how: Method of resizing, see `prepare.resize`.
    """

    size: tuple[int, int]
    how: Resize

    def __call__(self, images: NDArray[Any]) -> NDArray[Any]:
        """Returns the resized images."""
        return resize_images(images, self.size, self.how)


def available_memory() -> int:
    """Returns the main memory of this machine or container, in bytes."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(installed, *_container_limits())


def _container_limits() -> Iterator[int]:
    """Yields the memory limits of the control groups of this process, of versions 2 and 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        inner = _CGROUPS / controllers / group.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(_CGROUPS):
                yield from _limit_in(folder / name)


def _limit_in(path: Path) -> Iterator[int]:
    try:
        text = path.read_text().strip()
    except OSError:
        return
    if text.isdigit():  # "max" is no limit.
        yield int(text)


def bytes_in_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Returns the memory that an array of images and its scaled copy need."""
    stays = dtype in (np.dtype(np.uint8), np.dtype(np.float32))
    return math.prod(shape) * (dtype.itemsize + (0 if stays else 4))


def is_larger_than_memory(needed: int) -> bool:
    """Whether images need too large a share of memory to be read at once."""
    return needed > SHARE_OF_MEMORY * available_memory()


def stays_on_disk(path: Path, spec: ReadingSpec) -> bool:
    """Whether the images of an array file are read from the disk in training.

    Raises:
        DataError: They do not fit into memory, but the file is not an `.npy` file.
    """
    if path.suffix.lower() == ".npy":
        if spec.from_disk is not None:
            return spec.from_disk
        header = _read_header(path)
        return header is not None and is_larger_than_memory(bytes_in_memory(*header[:2]))
    if spec.from_disk:
        raise DataError(
            f"{path} cannot be read with from_disk = true, which needs an .npy file or a folder. "
            f"{_how_to_convert(path)}"
        )
    if path.suffix.lower() == ".npz" and spec.from_disk is None:
        _check_archive(path)
    return False


def _check_archive(path: Path) -> None:
    """Checks that the arrays of an archive fit into memory.

    Raises:
        DataError: They do not.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            needed = sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return  # Reading it says what is wrong.
    if needed > available_memory():
        raise DataError(
            f"{path} has {needed / 1e9:,.1f} GB of arrays, which do not fit into memory "
            f"({available_memory() / 1e9:,.1f} GB). {_how_to_convert(path)}"
        )


def _how_to_convert(path: Path) -> str:
    if path.suffix.lower() != ".npz":
        return "Save the images with numpy.save."
    name = "x_train"
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = [member.removesuffix(".npy") for member in archive.namelist()]
        name = next((a for a in (name, "x", "images", "arr_0", *arrays) if a in arrays), name)
    except (OSError, zipfile.BadZipFile):
        pass
    return (
        'Save its images once, on a machine with enough memory: python -c "import numpy as np; '
        f"np.save('{path.stem}.npy', np.load('{path}')['{name}'])\""
    )


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], bool, int] | None:
    """Returns shape, type, order and offset of an `.npy` file; None if it is damaged."""
    try:
        with path.open("rb") as file:
            shape, is_fortran, dtype = read_npy_header(file)
            return shape, dtype, is_fortran, file.tell()
    except (OSError, ValueError):
        return None


def open_on_disk(path: Path, spec: ReadingSpec, source: str) -> RawImages:
    """Returns the images of an `.npy` file, which stay on the disk. The file is never written.

    Args:
        path: The file.
        spec: Options of reading.
        source: Name of the image set in messages.

    Raises:
        DataError: The file is damaged, or cannot be read in parts.
    """
    header = _read_header(path)
    if header is None:
        raise DataError(f"{source} is damaged or not an .npy file. Save it with numpy.save.")
    shape, dtype, is_fortran, offset = header
    if dtype.kind not in "buif":
        raise DataError(
            f"{source} contains values of type {dtype}, expected numbers. Convert the images to "
            "uint8, or to floats in 0..1."
        )
    side, warnings = square_side(shape), []
    if side is not None:
        warnings.append(describe_unflattened(shape[1], side))
        shape = (shape[0], side, side)
    layout = find_layout(shape, spec.layout, None, source)
    if is_fortran or layout == "images_last":
        raise DataError(
            f"{source} does not hold one image after the other, so it cannot be read from the "
            "disk. Save it with numpy.save and the images as the first axis, in C order."
        )
    images = DiskImages(ImageFile(path, offset, dtype, shape, layout))
    raw = RawImages("arrays", RawSplit(images), layout=layout, warnings=tuple(warnings))
    return _resized(raw, images, spec)


def _resized(raw: RawImages, images: DiskImages, spec: ReadingSpec) -> RawImages:
    """Returns images in the size that the user asks for, which are resized when they are read."""
    size, how = spec.image_size, spec.resize or "crop"
    if size is None or images.shape[1:3] == size or not len(images):
        return raw
    if how == "pad" and remember("negative", [images], lambda: _has_negative(images)):
        raise DataError(NO_PADDING)
    height, width = images.shape[1:3]
    return replace(
        raw,
        train=RawSplit(images.changed(Resized(size, how))),
        image_size=size,
        resize=how,
        notes=(f"{len(images):,} images were resized from {height} x {width} ({how}).",),
    )


def _has_negative(images: DiskImages) -> bool:
    return any(bool((chunk < 0).any()) for chunk in images.chunks(2**24))
