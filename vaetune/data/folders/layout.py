"""Splits and labels of image files, from the names of their folders."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaetune.data.folders.files import counted, joined, was
from vaetune.errors import DataError
from vaetune.files import escape_bytes

SplitName = Literal["train", "validation", "test"]

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

SPLIT_OF: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validate": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Splits by the names of their folders in lower case; "_set" may follow."""


def split_of(name: str) -> SplitName | None:
    """Returns the split that a folder of this name contains, or None."""
    return SPLIT_OF.get(name.lower().removesuffix("_set").removesuffix("-set"))


@dataclass(frozen=True, slots=True)
class Place:
    """An image file with its split and label.

    Attributes:
        path: Path of the file.
        split: Split of the images. All images of a folder without splits are "train".
        label: Name of the sub-folder that is the label, or None.
    """

    path: Path
    split: SplitName
    label: str | None


@dataclass(frozen=True)
class Arrangement:
    """The image files of a folder in the order in which they are read.

    Attributes:
        places: Files, one split after the other, sorted by path.
        notes: Facts about the splits, one sentence each.
        warnings: Facts that may be mistakes, one sentence each.
    """

    places: tuple[Place, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def arrange(folder: Path, paths: Sequence[Path]) -> Arrangement:
    """Finds the split and the label of each image file.

    Folders such as train, val and test are splits if there is one for training and at least one
    other. Sub-folders are labels.

    Args:
        folder: Folder of the data set.
        paths: Image files in the folder and its sub-folders, sorted.

    Raises:
        DataError: Images are both in a folder itself and in its sub-folders, or there are none.
    """
    if not paths:
        raise DataError(
            f"{folder} contains no images: expected files such as PNG, JPEG or TIFF, in the "
            "folder itself or in a sub-folder for each label."
        )
    outer, folder = folder, _enter_lone_folder(folder, paths)
    split_folders = _split_folders(folder)
    if not split_folders:
        places = _labelled(outer, paths, "train")
        return Arrangement(tuple(places), warnings=tuple(_doubtful_labels(places)))
    inside: dict[str, list[Path]] = {name: [] for name in split_folders}
    outside: Counter[str] = Counter()
    for path in paths:
        first, *rest = path.relative_to(folder).parts
        if rest and first in inside:
            inside[first].append(path)
        else:
            outside[first if rest else ""] += 1
    places = [
        place
        for split in SPLITS
        for name in split_folders
        if split_of(name) == split
        for place in _labelled(folder / name, inside[name], split)
    ]
    if not places or places[0].split != "train":
        raise DataError(
            f"{folder} contains no training images: expected some in the folder "
            f"{joined(_names_of('train', split_folders))}."
        )
    warnings = [f"The folder {name} contains no images." for name in inside if not inside[name]]
    warnings += [_unused(name, outside[name], folder) for name in sorted(outside)]
    return Arrangement(tuple(places), (_described(split_folders, inside),), tuple(warnings))


def _enter_lone_folder(folder: Path, paths: Sequence[Path]) -> Path:
    """Returns the only sub-folder with images if it holds splits, otherwise the folder itself."""
    lone = {path.relative_to(folder).parts[0] for path in paths}
    inner = folder / min(lone)
    return inner if len(lone) == 1 and inner.is_dir() and _split_folders(inner) else folder


def _doubtful_labels(places: Sequence[Place]) -> Iterator[str]:
    """Warns of labels that are names of splits."""
    named = sorted({place.label for place in places if place.label and split_of(place.label)})
    if named:
        yield (
            f"The folders {joined(named)} were taken as labels, because splits are a folder train "
            "and at least one of val and test."
        )


def _split_folders(folder: Path) -> list[str]:
    """Returns the names of the folders that are splits, training first; none without splits."""
    names = sorted(path.name for path in folder.iterdir() if split_of(path.name) and path.is_dir())
    present = [name for split in SPLITS for name in _names_of(split, names)]
    return present if {"train"} < {split_of(name) for name in names} else []


def _names_of(split: SplitName, names: Iterable[str]) -> list[str]:
    return [name for name in names if split_of(name) == split]


def _labelled(folder: Path, paths: Sequence[Path], split: SplitName) -> list[Place]:
    """Returns files with the names of the sub-folders as labels."""
    places = []
    for path in paths:
        first, *rest = path.relative_to(folder).parts
        places.append(Place(path, split, escape_bytes(first) if rest else None))
    classes = {place.label for place in places}
    if None in classes and len(classes) > 1:
        first = min(label for label in classes if label is not None)
        raise DataError(
            f"{folder} contains images both directly and in the sub-folder {first}. Put all "
            "images into sub-folders named after their labels, or none."
        )
    return places


def _described(split_folders: Sequence[str], inside: dict[str, list[Path]]) -> str:
    named = [f"{name} ({counted(len(inside[name]), 'file')})" for name in split_folders]
    return f"The folders {joined(named)} are the splits."


def _unused(name: str, count: int, folder: Path) -> str:
    files = f"{counted(count, 'image file')} in the folder {name or folder}"
    directly = "" if name else " itself"
    return f"{files}{directly} {was(count)} not used: the folder is not a split."
