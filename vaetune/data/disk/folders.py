"""Folders that are larger than memory: decoded once into a file of the cache, then read from it.

The file is built under a temporary name and renamed when it is whole. Its name is a hash of the
paths, sizes and times of all image files and of the options of reading, so a changed folder is
decoded again.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import DTypeLike, NDArray

from vaetune.config import ReadingSpec
from vaetune.data.disk.arrays import bytes_in_memory, is_larger_than_memory
from vaetune.data.disk.cache import cache_folder
from vaetune.data.disk.images import DiskImages, ImageFile
from vaetune.data.folders.files import find_files
from vaetune.data.folders.reader import read_folder
from vaetune.data.raw import RawImages, RawSplit
from vaetune.data.zero_copy import empty_aligned
from vaetune.errors import DataError, VaetuneError
from vaetune.files import write_atomically

FORMAT = 2
"""Version of the cached files. Those of another version are never read."""

_OPTIONS = ("image_size", "resize", "background", "skip_unreadable")
"""Options of reading that change the decoded pixels."""

_SPLITS = ("train", "validation", "test")

_FACTS = ("class_names", "pages", "image_size", "resize", "background", "notes", "warnings")
"""Attributes of `RawImages` that are kept with the pixels."""

Announce = Callable[[str], None]
"""Shows a sentence to the user."""


class _IsBuiltError(Exception):
    """Another process has built the file in the meantime."""


def read_folder_or_cache(
    folder: Path, spec: ReadingSpec, announce: Announce | None = None
) -> RawImages:
    """Reads a folder into memory, or, if it is too large, from its file in the cache.

    Args:
        folder: Folder of image files.
        spec: Options of reading.
        announce: Called before a file is built, with its size and path.

    Raises:
        DataError: The images cannot be read, or the file cannot be built.
    """
    if spec.from_disk is False:
        return read_folder(folder, spec)
    if spec.from_disk or any(cache_folder().glob("*.npy")):
        found = _load(folder, _key_of(folder, spec))
        if found and (spec.from_disk or is_larger_than_memory(_needed(found))):
            return found
    try:
        with _building(folder, spec, announce or _say_nothing) as building:
            raw = read_folder(folder, spec, building.allocate)
            return building.finish(raw)
    except _IsBuiltError:
        return read_folder_or_cache(folder, spec, announce)


def _say_nothing(sentence: str) -> None:
    pass


def _needed(raw: RawImages) -> int:
    splits = [split for split in (raw.train, raw.validation, raw.test) if split]
    return sum(bytes_in_memory(each.images.shape, each.images.dtype) for each in splits)


def _options(spec: ReadingSpec) -> dict[str, Any]:
    return spec.model_dump(include=set(_OPTIONS), mode="json")


def _key_of(folder: Path, spec: ReadingSpec) -> str:
    """Returns a hash of everything that the decoded images of a folder depend on."""
    found = find_files(folder)
    digest = sha256()
    about = [FORMAT, str(folder.resolve()), _options(spec), found.notes()]
    digest.update(json.dumps(about, sort_keys=True).encode())
    for path in found.images:
        with suppress(OSError):  # The path alone counts for a broken link.
            status = path.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
        digest.update(os.fsencode(path) + b"\0")
    return digest.hexdigest()[:32]


class _Building:
    """The file of a folder while it is built.

    Args:
        folder: Folder of image files.
        spec: Options of reading.
        announce: Shows a sentence to the user.
    """

    def __init__(self, folder: Path, spec: ReadingSpec, announce: Announce) -> None:
        self._folder = folder
        self._spec = spec
        self._announce = announce
        self._key = ""
        self._lock: FileLock | None = None
        self._array: np.memmap[Any, Any] | None = None

    @property
    def _temporary(self) -> Path:
        return cache_folder() / f".{self._key}.{os.getpid()}.tmp"

    def allocate(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Returns an empty array: in memory, or in the file if it is too large.

        Raises:
            DataError: The disk has no room for the file.
        """
        needed = bytes_in_memory(shape, np.dtype(dtype))
        if not self._spec.from_disk and not is_larger_than_memory(needed):
            return empty_aligned(shape, dtype)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        with self._explain(size):
            self._begin()
            self._announce(
                f"{shape[0]:,} images are decoded once into {_path_of(self._key)} "
                f"({_gigabytes(size)}). `vaetune cache --clear` removes it."
            )
            self._reserve(size)
            self._array = np.memmap(self._temporary, dtype, "r+", 0, shape)
        return self._array

    def _begin(self) -> None:
        """Waits until no other process builds the file."""
        if self._lock:
            return
        cache_folder().mkdir(parents=True, exist_ok=True)
        self._key = _key_of(self._folder, self._spec)
        self._lock = FileLock(cache_folder() / f"{self._key}.lock")
        self._lock.acquire()
        if _load(self._folder, self._key):
            raise _IsBuiltError
        for left in cache_folder().glob(f".{self._key}.*.tmp"):  # of a process that was killed
            left.unlink(missing_ok=True)

    def _reserve(self, size: int) -> None:
        """Reserves room on the disk, because writing to a mapped file cannot fail cleanly."""
        self._array = None
        with self._temporary.open("wb") as file:
            if shutil.disk_usage(cache_folder()).free < size:
                raise OSError(28, "No space left on device")
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)

    @contextmanager
    def _explain(self, size: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"The decoded images of {self._folder} need {_gigabytes(size)} in "
                f"{cache_folder()}: {error.strerror or error}. Free disk space, set "
                "XDG_CACHE_HOME to a folder on a larger disk, or make the images smaller with "
                "--image-size."
            ) from error

    def finish(self, raw: RawImages) -> RawImages:
        """Returns the images of the file, which is whole now, or those in memory.

        Raises:
            DataError: The file cannot be written.
        """
        if self._array is None:
            return raw
        size = self._array.nbytes
        content = json.dumps(self._describe(raw)).encode()
        with self._explain(size):
            self._array.flush()
            self._temporary.replace(_path_of(self._key))
        try:
            write_atomically(_facts_of(self._key), lambda file: file.write(content))
        except VaetuneError as error:
            _path_of(self._key).unlink(missing_ok=True)
            raise DataError(str(error)) from error
        self._remove_stale()
        found = _load(self._folder, self._key)
        assert found
        return found

    def _describe(self, raw: RawImages) -> dict[str, Any]:
        splits = {name: getattr(raw, name) for name in _SPLITS if getattr(raw, name)}
        return {
            "format": FORMAT,
            "source": str(self._folder.resolve()),
            "options": _options(self._spec),
            "dtype": raw.train.images.dtype.str,
            "image_shape": raw.train.images.shape[1:],
            "splits": {
                name: [len(split.images), _listed(split.labels), _listed(split.names)]
                for name, split in splits.items()
            },
            "facts": {name: getattr(raw, name) for name in _FACTS},
        }

    def _remove_stale(self) -> None:
        """Removes the file of the same folder as it was before."""
        now = _read_json(_facts_of(self._key))
        for path in cache_folder().glob("*.json"):
            old = _read_json(path)
            is_stale = all(old.get(key) == now.get(key) for key in ("source", "options"))
            if is_stale and path != _facts_of(self._key):
                with suppress(OSError):
                    path.unlink()
                    path.with_suffix(".npy").unlink()

    def close(self) -> None:
        """Removes a file that is not whole."""
        self._array = None
        if self._lock:
            self._temporary.unlink(missing_ok=True)
            self._lock.release()


@contextmanager
def _building(folder: Path, spec: ReadingSpec, announce: Announce) -> Iterator[_Building]:
    building = _Building(folder, spec, announce)
    try:
        yield building
    finally:
        building.close()


def _listed(array: NDArray[Any] | None) -> list[Any] | None:
    return None if array is None else array.tolist()


def _path_of(key: str) -> Path:
    return cache_folder() / f"{key}.npy"


def _facts_of(key: str) -> Path:
    return cache_folder() / f"{key}.json"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _load(folder: Path, key: str) -> RawImages | None:
    """Returns the images of a file in the cache, or None if there is none that is whole."""
    about = _read_json(_facts_of(key))
    if about.get("format") != FORMAT:
        return None
    counts = {name: count for name, (count, _, _) in about["splits"].items()}
    shape = (sum(counts.values()), *about["image_shape"])
    try:
        file = ImageFile(_path_of(key), 0, about["dtype"], shape)
    except DataError:
        return None
    splits: dict[str, Any] = {}
    at = 0
    for name, (count, labels, names) in about["splits"].items():
        images = DiskImages(file, np.arange(at, at + count))
        classes = None if labels is None else np.array(labels, np.int64)
        splits[name] = RawSplit(images, classes, np.array(names, dtype=np.dtypes.StringDType()))
        at += count
    facts: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about["facts"].items()
    }
    return RawImages("files", **splits, **facts)
