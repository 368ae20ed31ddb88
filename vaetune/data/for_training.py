"""Prepares images for training as a search asks for: classes to leave out, splits, binarization."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaetune.config import MIN_IMAGES, DataSpec, Reading
from vaetune.data.disk.images import DiskImages, Images
from vaetune.data.images import SPLIT_SEED, ImageSet, Split, binarized, fingerprint_of
from vaetune.data.quality import count_copies
from vaetune.errors import DataError, short_repr

FINAL_HELD_OUT_ONE_IN = 20
"""If a model is trained on the validation images too, one image in 20 of both is held out."""

_MAX_NAMED = 20
"""Largest number of classes that an error names."""


def prepare_images(images: ImageSet, data: DataSpec) -> ImageSet:
    """Leaves out classes and applies the split and the binarization that a search asks for.

    With `train_on`, the validation images join the training images. One in twenty of both is held
    out, to choose the best epoch of a final model; losses on these few images cannot be compared
    with those of a search.

    Args:
        images: The image set as it was loaded.
        data: The `data` section of the search.

    Returns:
        `images` itself if nothing is to be done, otherwise a set with another fingerprint.

    Raises:
        DataError: A class to be left out does not exist, or too few images remain without it.
    """
    if data.leave_out and not images.left_out:
        images = _leave_out(images, data.leave_out)
    elif data.binarize == "none" and data.train_on is None:
        return images
    train, validation = images.train, images.validation
    if data.train_on:
        train, validation = _join(train, validation)
    splits = (
        train if data.binarize == "stochastic" else binarized(train, data.binarize),
        binarized(validation, data.binarize, stream=1),
        binarized(images.test, data.binarize, stream=2),
    )
    left_out = tuple(
        binarized(split, data.binarize, stream)
        for stream, split in enumerate(images.left_out, start=3)
    )
    prefix = f"{data.binarize};" if data.binarize == "stochastic" else ""
    return replace(
        images,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        fingerprint=fingerprint_of((*splits, *left_out), prefix),
        binarize=data.binarize,
        left_out=left_out,
    )


def prepare_others(images: ImageSet, data: DataSpec) -> ImageSet:
    """Prepares images that need not be those of a search, see `prepare_images`.

    Classes to be left out that the images do not have are ignored.

    Args:
        images: The image set as it was loaded.
        data: The `data` section of the search.
    """
    known = images.class_names or ()
    found = tuple(name for name in data.leave_out or () if name in known)
    return prepare_images(images, data.model_copy(update={"leave_out": found or None}))


def _leave_out(images: ImageSet, names: Sequence[str]) -> ImageSet:
    """Returns an image set with the images of some classes apart, without a new fingerprint."""
    known = images.class_names
    if known is None:
        raise DataError(
            f"{images.source} has no labels, but data.leave_out = {short_repr(list(names))} names "
            "classes. Remove it, or add labels."
        )
    unknown = [name for name in names if name not in known]
    if unknown:
        more = f" and {len(known) - _MAX_NAMED} more" if len(known) > _MAX_NAMED else ""
        raise DataError(
            f"{images.source} has no class {short_repr(unknown[0])}, which data.leave_out names. "
            f"Expected classes of: {', '.join(known[:_MAX_NAMED])}{more}."
        )
    indices = [known.index(name) for name in names]
    pairs = [_divide(split, indices) for split in (images.train, images.validation, images.test)]
    train, validation, test = (kept for kept, _ in pairs)
    _check_rest(images.source, train, validation, test)
    reading = images.reading
    if reading is not None:
        count = sum(len(left_out) for _, left_out in pairs)
        reading = _describe_rest(reading, names, count, [train, validation, test])
    left_out = tuple(left_out for _, left_out in pairs)
    return replace(
        images, train=train, validation=validation, test=test, left_out=left_out, reading=reading
    )


def _divide(split: Split, classes: Sequence[int]) -> tuple[Split, Split]:
    """Returns the images of all other classes, and those of these classes."""
    if split.labels is None:
        return split, split.take(slice(0, 0))
    is_left_out = np.isin(split.labels, classes)
    return split.take(np.flatnonzero(~is_left_out)), split.take(np.flatnonzero(is_left_out))


def _check_rest(source: str, train: Split, validation: Split, test: Split) -> None:
    needed = (("training", train, MIN_IMAGES), ("validation", validation, 1), ("test", test, 1))
    for name, split, least in needed:
        if len(split) < least:
            raise DataError(
                f"{source} has {len(split)} {name} images without the classes of data.leave_out, "
                f"expected at least {least}. Leave out fewer classes."
            )


def _describe_rest(
    reading: Reading, names: Sequence[str], count: int, splits: Sequence[Split]
) -> Reading:
    """Returns the record of the reading with a note, and with copies among the other images."""
    classes = f"class{'es' * (len(names) > 1)} {', '.join(names)}"
    note = f"{count:,} images of {classes} are left out of all splits."
    copies = count_copies(*splits)
    return reading.model_copy(update={"copies": copies, "notes": (*reading.notes, note)})


def _join(train: Split, validation: Split) -> tuple[Split, Split]:
    """Joins training and validation images, and returns most of them and a held-out few."""
    if isinstance(train.images, DiskImages) and isinstance(validation.images, DiskImages):
        images: Images = train.images.followed_by(validation.images)
    else:
        images = np.concatenate([train.images[:], validation.images[:]])
    both = Split(images, *map(_concatenated, train.facts, validation.facts))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(both))
    held_out = max(1, round(len(both) / FINAL_HELD_OUT_ONE_IN))
    return both.take(order[held_out:]), both.take(order[:held_out])


def _concatenated(*arrays: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    present = [each for each in arrays if each is not None]
    return np.concatenate(present) if present else None
