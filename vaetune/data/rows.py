"""Images in the order of their files or arrays, with names, splits and labels, read in parts.

A search shuffles its images. A table about them has one row per image in the order in which the
user has them, so that row i of the table belongs to image i.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.data.assemble import list_positions
from vaetune.data.disk.images import Images, Step
from vaetune.data.images import ImageSet, Split, binarized
from vaetune.data.raw import RawSplit
from vaetune.errors import DataError

SPLITS = ("train", "validation", "test")

LEFT_OUT = "left_out"
"""Split of the images of a class that was left out of the search."""

_PARTS = (*SPLITS, *[LEFT_OUT] * len(SPLITS))
"""Split of each part of the images of a search. Classes are left out of each split."""

UNLABELLED = -1
"""Label of an image of a split without labels, if another split has some."""


@dataclass(frozen=True, eq=False)
class ImageRows:
    """Images with their names, splits and labels. Pixels are read when they are asked for.

    Attributes:
        source: Name of the set, or path.
        parts: Images of each split, (n, height, width, channels), and those left out of each.
        part: Index in `parts` of the split of each image, (n,).
        place: Index of each image in its split, (n,).
        names: Paths of files within the folder, or indices in the arrays, (n,) str or int64.
        labels: Class indices, (n,), with `UNLABELLED` for images without a label; None without
            labels.
        class_names: Class names by class index; None without labels.
        has_splits: Whether `part` means training, validation and test images, as in `SPLITS`, and
            then those left out of each of them.
        are_trained_on: Whether these are the images of the search that trained the model.
        steps: Changes to the images after they are read, in this order.
        notes: Facts about the reading, one sentence each.
    """

    source: str
    parts: tuple[Images, ...]
    part: NDArray[np.int64]
    place: NDArray[np.int64]
    names: NDArray[Any]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    has_splits: bool
    are_trained_on: bool = False
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def splits(self) -> NDArray[np.str_] | None:
        """Names of the splits, (n,), of `SPLITS` or `LEFT_OUT`; None without splits."""
        return np.array(_PARTS)[self.part] if self.has_splits else None

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Reads images, (n, height, width, channels), uint8 or float32 in [0, 1], in this order.

        Args:
            rows: Numbers of the images.

        Raises:
            DataError: An image cannot be read, or the model cannot take it.
        """
        part, place = self.part[rows], self.place[rows]
        first = self.parts[0]
        images = np.empty((len(part), *first.shape[1:]), first.dtype)
        for number in np.unique(part):
            chosen = part == number
            images[chosen] = self.parts[number][place[chosen]]
        for step in self.steps:
            images = step(images)
        return images

    def of_splits(self, wanted: Sequence[str]) -> "ImageRows":
        """Returns the images of some splits.

        Args:
            wanted: Names of `SPLITS`, or `LEFT_OUT`. Empty: all images.

        Raises:
            DataError: The images have no splits, or none of these.
        """
        if not wanted:
            return self
        splits = self.splits
        if splits is None:
            raise DataError(
                f"{self.source} has no splits, because the model was not trained on it. Leave out "
                "--split, or put the images into folders train, validation and test."
            )
        chosen = np.isin(splits, wanted)
        if not chosen.any():
            names = " or ".join(wanted).replace("_", "-")
            raise DataError(f"{self.source} has no {names} images.")
        return self.take(chosen)

    def take(self, rows: NDArray[Any] | slice) -> "ImageRows":
        """Returns some of the images.

        Args:
            rows: Numbers of the images, or whether to take each of them, (n,).
        """
        return replace(
            self,
            part=self.part[rows],
            place=self.place[rows],
            names=self.names[rows],
            labels=None if self.labels is None else self.labels[rows],
        )


def rows_of(images: ImageSet) -> ImageRows:
    """Returns all images of a set as the model takes them, in the order in which they were found.

    Args:
        images: Image set of the search that trained the model.
    """
    train = images.train
    if images.binarize == "stochastic":  # The pixels are still grey; each step draws them.
        train = binarized(train, images.binarize)
    splits = (train, images.validation, images.test, *images.left_out)
    in_order = list_positions([RawSplit(split.images) for split in splits])
    found = [
        positions if split.positions is None else split.positions
        for split, positions in zip(splits, in_order, strict=True)
    ]
    order = np.argsort(np.concatenate(found), kind="stable")
    part = np.repeat(np.arange(len(splits)), [len(split) for split in splits])[order]
    place = np.concatenate([np.arange(len(split)) for split in splits])[order]
    names = np.arange(len(order)) if images.names is None else images.names
    return ImageRows(
        source=images.source,
        parts=tuple(split.images for split in splits),
        part=part,
        place=place,
        names=names,
        labels=join_labels(splits, order),
        class_names=images.class_names,
        has_splits=True,
        are_trained_on=True,
    )


def join_labels(splits: Sequence[Split], order: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Returns the labels of all images, (n,), or None if no split has labels.

    Args:
        splits: Images of each split with their labels.
        order: Index of each image among those of all splits together, (n,).
    """
    if all(split.labels is None for split in splits):
        return None
    missing = [np.full(len(split), UNLABELLED) for split in splits]
    found = [m if s.labels is None else s.labels for s, m in zip(splits, missing, strict=True)]
    return np.concatenate(found)[order]
