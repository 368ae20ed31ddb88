"""Finding of the image files of a folder, each once."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vaetune.errors import DataError

NOT_READ = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
"""Pillow's formats that Pillow recognizes, but can decode only with another program or library."""

MAX_NAMED = 20
"""Number of files that a message names."""

_MAX_ENDINGS = 8


@dataclass(frozen=True)
class FoundFiles:
    """The visible files of a folder and its sub-folders.

    Attributes:
        images: Paths of image files, sorted.
        others: Number of other files by ending.
        repeated: Number of links that lead to a file or folder that is found already.
    """

    images: tuple[Path, ...]
    others: Counter[str]
    repeated: int

    def notes(self) -> list[str]:
        """Returns sentences about files and links that are not used."""
        notes = []
        if count := self.others.total():
            named = [
                f"{number} {ending or 'without an ending'}"
                for ending, number in _most_frequent(self.others)
            ]
            more = len(self.others) - _MAX_ENDINGS
            listed = ", ".join(named) + (f" and {more} other endings" if more > 0 else "")
            notes.append(f"{counted(count, 'file')} {was(count)} not used: {listed}.")
        if self.repeated:
            links = counted(self.repeated, "link")
            verb = was(self.repeated)
            notes.append(f"{links} to files or folders that are read already {verb} not followed.")
        return notes


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun, such as "1 file" and "2 files"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def was(count: int) -> str:
    """Returns the verb for a number of things."""
    return "was" if count == 1 else "were"


def joined(names: Iterable[str]) -> str:
    """Returns names such as "train, val and test"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def first_named(paths: Iterable[Path], folder: Path) -> str:
    """Returns the first paths, relative to a folder, and the number of the others."""
    names = [str(path.relative_to(folder)) for path in paths]
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def image_endings() -> frozenset[str]:
    """Returns the endings of all formats that Pillow reads, in lower case with the dot."""
    Image.init()
    readable = (set(Image.OPEN) | {"MPO"}) - set(NOT_READ)  # JPEG's reader opens MPO.
    endings = Image.registered_extensions().items()
    return frozenset(ending for ending, kind in endings if kind in readable)


def find_files(folder: Path) -> FoundFiles:
    """Finds all files of a folder and its sub-folders, without those that are hidden.

    Links are followed last, so a file that is found twice keeps the path without a link.

    Raises:
        DataError: The folder or one of its sub-folders cannot be read.
    """
    walk = _Walk(image_endings())
    try:
        walk.enter(folder)
        while walk.links:
            walk.follow(walk.links.pop(0))
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error
    return FoundFiles(tuple(sorted(walk.images)), walk.others, walk.repeated)


class _Walk:
    """The state of a walk through a folder."""

    def __init__(self, endings: frozenset[str]) -> None:
        self.images: list[Path] = []
        self.others: Counter[str] = Counter()
        self.repeated = 0
        self.links: list[Path] = []
        self._endings = endings
        self._entered: set[object] = set()
        self._real: set[str] = set()

    def enter(self, folder: Path) -> None:
        """Adds the files of a folder, unless it was entered before."""
        real, status = os.path.realpath(folder), folder.stat()
        key = (status.st_dev, status.st_ino) if status.st_ino else real
        if key in self._entered:
            self.repeated += 1
            return
        self._entered.add(key)
        with os.scandir(folder) as entries:
            visible = sorted((e for e in entries if not e.name.startswith(".")), key=_name_of)
        for entry in visible:
            path = folder / entry.name
            if entry.is_symlink():
                self.links.append(path)
            elif entry.is_dir():
                self.enter(path)
            elif not entry.is_file():  # A pipe would be waited for.
                self.others[path.suffix.lower()] += 1
            else:
                self._add(path, os.path.join(real, entry.name))  # noqa: PTH118 for speed

    def follow(self, link: Path) -> None:
        """Adds the file or the files of the folder to which a link leads."""
        if link.is_dir():
            self.enter(link)
        else:
            self._add(link, os.path.realpath(link))

    def _add(self, path: Path, real: str) -> None:
        if (ending := path.suffix.lower()) not in self._endings:
            self.others[ending] += 1
        elif real in self._real:
            self.repeated += 1
        else:
            self._real.add(real)
            self.images.append(path)


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name


def _most_frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_ENDINGS]
