"""Images that stay on the disk: their rows are read from a file each time they are used.

The file is opened read-only. A split is a list of row numbers, so nothing is reordered or copied.
"""

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vaetune.config import Layout
from vaetune.data.arrays.layouts import to_channels_last
from vaetune.data.zero_copy import empty_aligned
from vaetune.errors import DataError

Step = Callable[[NDArray[Any]], NDArray[Any]]
"""Function that changes images, one by one. Its `repr` describes it completely."""

_MAX_BUFFERS = 512
"""Rows that one system call reads. POSIX guarantees 16 and Linux 1024."""

_MAX_BYTES = 2**26
"""Bytes that one system call reads."""


class StoredImages(Protocol):
    """Images on the disk, which are read by their numbers.

    Attributes:
        path: File or folder of the images.
        dtype: Type of the values.
        shape: Shape of the array of all images, with 3 or 4 axes. The first one counts the images.
        layout: Order of the axes, with the images first.
    """

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    layout: Layout

    @property
    def identity(self) -> list[Any]:
        """Facts that change if the images change."""

    def check(self) -> None:
        """Checks that the images are on this machine, and that they have not changed."""

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Returns images as (n, height, width, channels), in the order of their numbers."""


class ImageFile:
    """An array of images in a file, one image after the other.

    Args:
        path: The file.
        offset: Position of the first image in the file, in bytes.
        dtype: Type of the values.
        shape: Shape of the array, with 3 or 4 axes. The first one counts the images.
        layout: Order of the axes, with the images first.

    Raises:
        DataError: The file cannot be read.
    """

    def __init__(
        self,
        path: Path,
        offset: int,
        dtype: DTypeLike,
        shape: Sequence[int],
        layout: Layout = "channels_last",
    ) -> None:
        self.path = path.resolve()
        self.offset = offset
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = tuple(shape)
        self.layout: Layout = layout
        self._descriptor: int | None = None
        self._seen: tuple[int, int] | None = None
        self._seen = self._look()
        if offset + math.prod(shape) * self.dtype.itemsize > self._seen[0]:
            raise DataError(
                f"{path} is damaged: it is shorter than its header says. Save it again."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None}

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]

    @property
    def identity(self) -> list[Any]:
        """Facts that change if the images in the file change."""
        return [str(self.path), self._seen, self.offset, self.dtype.str, self.shape, self.layout]

    def _look(self) -> tuple[int, int]:
        """Returns the size of the file in bytes, and its time in nanoseconds."""
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                if self._seen is None:
                    raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
                raise DataError(
                    f"The images {self.path} are not on this machine ({error.strerror}). Copy the "
                    "file to this path on every machine, or use workers of one machine."
                ) from error
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns

    def check(self) -> None:
        """Checks that the file is on this machine, and that it has not changed.

        Raises:
            DataError: It is not, or it has.
        """
        if self._look() != self._seen:
            raise DataError(
                f"{self.path} has another size or time than when the search started. Restore it, "
                "and run the same command again."
            )

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Returns images as (n, height, width, channels), in the order of their row numbers.

        The file is read in its own order.

        Raises:
            DataError: The file changed, or cannot be read.
        """
        self.check()
        shape = (len(rows), *self.shape[1:])
        images = empty_aligned(shape, self.dtype)
        size = math.prod(shape[1:]) * self.dtype.itemsize
        memory: memoryview = images.reshape(-1).view(np.uint8).data
        ascending = bool((np.diff(rows) > 0).all())
        places = None if ascending else np.argsort(rows, kind="stable")
        in_order = rows if places is None else rows[places]
        runs = list(_runs(in_order, min(_MAX_BUFFERS, max(1, _MAX_BYTES // max(1, size)))))
        for first, last in runs:
            self._announce(self.offset + int(in_order[first]) * size, (last - first) * size)
        for first, last in runs:
            if places is None:
                buffers = [memory[first * size : last * size]]
            else:
                buffers = [memory[p * size : (p + 1) * size] for p in places[first:last].tolist()]
            self._fill(buffers, self.offset + int(in_order[first]) * size)
        return np.ascontiguousarray(to_channels_last(images, self.layout))

    def _announce(self, position: int, size: int) -> None:
        """Lets the system read bytes that are needed soon, many of them at the same time."""
        if hasattr(os, "posix_fadvise") and self._descriptor is not None:
            os.posix_fadvise(self._descriptor, position, size, os.POSIX_FADV_WILLNEED)

    def _fill(self, buffers: Sequence[memoryview], position: int) -> None:
        """Reads consecutive bytes of the file into buffers."""
        expected = sum(len(buffer) for buffer in buffers)
        assert self._descriptor is not None
        try:
            count = os.preadv(self._descriptor, buffers, position)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
        if count != expected:
            raise DataError(f"{self.path} became shorter while it was read. Save it again.")


def _runs(rows: NDArray[np.int64], longest: int) -> Iterator[tuple[int, int]]:
    """Yields the start and end of consecutive row numbers, at most `longest` at a time."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    for start, end in itertools.pairwise(edges):
        for first in range(start, end, longest):
            yield first, min(first + longest, end)


class DiskImages:
    """Images of a file that are read when they are indexed, as arrays are.

    Indexing with a number, a slice or an array of numbers reads these images into memory; `take`
    chooses images without reading them.

    Args:
        file: The file.
        rows: Numbers of its images, in the order of the split. None: all images.
        steps: Changes to the images after they are read, in this order.
        like: Shape of an image and type of the values after all steps. None: those of the file.
    """

    ndim = 4

    def __init__(
        self,
        file: StoredImages,
        rows: NDArray[np.int64] | None = None,
        steps: tuple[Step, ...] = (),
        like: tuple[tuple[int, ...], np.dtype[Any]] | None = None,
    ) -> None:
        self.file = file
        self.rows = np.arange(file.shape[0]) if rows is None else rows
        self._steps = steps
        if like is None:
            example = to_channels_last(np.empty((0, *file.shape[1:]), file.dtype), file.layout)
            like = (example.shape[1:], example.dtype)
        self._image_shape, self.dtype = like

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images, height, width and channels."""
        return (len(self), *self._image_shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all images would need in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, key: Any) -> NDArray[Any]:
        is_single = isinstance(key, (int, np.integer))
        images = self.file.read(np.atleast_1d(self.rows[key]))
        for step in self._steps:
            images = step(images)
        return images[0] if is_single else images

    def take(self, indices: NDArray[np.int64] | slice) -> "DiskImages":
        """Returns the images at these indices, in this order, without reading them."""
        like = (self._image_shape, self.dtype)
        return DiskImages(self.file, self.rows[indices], self._steps, like)

    def followed_by(self, other: "DiskImages") -> "DiskImages":
        """Returns these images and then others of the same file, without reading them."""
        if (self.file.identity, repr(self._steps)) != (other.file.identity, repr(other._steps)):
            raise ValueError("The images are of two files.")
        rows = np.concatenate([self.rows, other.rows])
        return DiskImages(self.file, rows, self._steps, (self._image_shape, self.dtype))

    def changed(self, step: Step) -> "DiskImages":
        """Returns the images after one more step. The step is tried on an image."""
        example = step(self[:1])
        like = (example.shape[1:], example.dtype)
        return DiskImages(self.file, self.rows, (*self._steps, step), like)

    def chunks(self, size: int) -> Iterator[NDArray[Any]]:
        """Yields the images in order, in arrays of about `size` bytes."""
        step = max(1, size // max(1, self.nbytes // max(1, len(self))))
        return (self[start : start + step] for start in range(0, len(self), step))

    @property
    def identity(self) -> str:
        """SHA-256 of facts that change if the images change."""
        described = json.dumps([self.file.identity, repr(self._steps)])
        return hashlib.sha256(described.encode() + self.rows.tobytes()).hexdigest()


Images = NDArray[Any] | DiskImages
"""Images, (n, height, width, channels), in memory or on the disk."""
