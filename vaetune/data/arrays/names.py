"""Finds the images and labels among named arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import Layout, ReadingSpec, Resize
from vaetune.data.arrays.layouts import (
    describe_unflattened,
    find_layout,
    shape_channels_last,
    square_side,
    to_channels_last,
    warn_of_shape,
)
from vaetune.data.prepare import resize
from vaetune.data.raw import RawImages, RawSplit
from vaetune.errors import DataError

Arrays = Mapping[str, NDArray[Any]]

NO_PADDING = (
    'resize = "pad" adds a border of zeros, which is not black in images with negative values. Use '
    'resize = "crop" or "stretch".'
)
"""Error message."""

_TRAIN = ("train", "training")
_VALIDATION = ("val", "valid", "validation", "dev")
_TEST = ("test", "testing")
_IMAGES = ("x", "images", "image", "imgs", "data", "samples")
_LABELS = ("y", "labels", "label", "targets", "target", "classes")


def _of_split(words: Sequence[str], split: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the arrays of a split, such as "x_train" and "train_x"."""
    pairs = [(word, part) for part in split for word in words]
    return tuple(f"{word}{gap}{part}" for gap in ("_", "") for word, part in pairs) + tuple(
        f"{part}{gap}{word}" for gap in ("_", "") for word, part in pairs
    )


@dataclass(frozen=True)
class _Names:
    """The names of the arrays that are used, as they stand in the file."""

    images: str
    labels: str | None = None
    validation: str | None = None
    validation_labels: str | None = None
    test: str | None = None
    test_labels: str | None = None

    def own_splits(self) -> list[tuple[str, str]]:
        """Returns the names of the set's own validation and test images, and what they are."""
        pairs = [(self.validation, "validation"), (self.test, "test")]
        return [(name, part) for name, part in pairs if name]

    def used(self) -> set[str]:
        return {name for name in vars(self).values() if name}


def find_images(arrays: Arrays, spec: ReadingSpec, source: str) -> RawImages:
    """Returns the images, labels and splits among named arrays.

    The names of Keras, scikit-learn, MedMNIST and `numpy.savez` are known, in any case. Without a
    known name, the only array with the shape of images is used.

    Args:
        arrays: Arrays by name.
        spec: Options of reading.
        source: Name of the image set in messages.

    Raises:
        DataError: No array, or more than one, can be the images, or their shapes do not fit.
    """
    names = _choose_names(arrays, source)
    unused = sorted(set(arrays) - names.used())
    notes = [_describe_unused(unused, arrays)] if unused else []
    own = [f"{name} ({part})" for name, part in names.own_splits()]
    notes += [f"Own splits are used: {' and '.join(own)}."] if own else []
    shape, layout, warning = _arrange(arrays, names, spec, source)

    def split(name: str | None, label_name: str | None) -> RawSplit | None:
        if name is None:
            return None
        where = source if name == names.images else f"{source}, {name}"
        return _make_split(arrays, name, label_name, layout, where)

    train = split(names.images, names.labels)
    assert train is not None
    doubts = (warning, warn_of_shape(shape, layout, spec.layout))
    raw = RawImages(
        "arrays",
        train,
        split(names.validation, names.validation_labels),
        split(names.test, names.test_labels),
        layout=layout,
        notes=tuple(notes),
        warnings=tuple(text for text in doubts if text),
    )
    _check_shapes(raw, source, names)
    return _resize_all(raw, spec)


def find_shape(arrays: Arrays, spec: ReadingSpec, source: str) -> tuple[int, int, int, int]:
    """Returns the number, height, width and channels of the training images among named arrays.

    The arguments and the errors are those of `find_images`. The values are not read.
    """
    shape, layout, _ = _arrange(arrays, _choose_names(arrays, source), spec, source)
    return shape_channels_last(shape, layout)


def _arrange(
    arrays: Arrays, names: _Names, spec: ReadingSpec, source: str
) -> tuple[tuple[int, ...], Layout, str]:
    """Returns the shape of the images, the order of its axes, and a warning if they were rows."""
    labels = arrays.get(names.labels or "")
    count = len(labels) if labels is not None and labels.ndim else None
    images, warning = _unflatten(arrays[names.images])
    return images.shape, find_layout(images.shape, spec.layout, count, source), warning


def _choose_names(arrays: Arrays, source: str) -> _Names:
    by_lower_case = {name.lower(): name for name in reversed(list(arrays))}

    def first(candidates: Sequence[str]) -> str | None:
        return next((by_lower_case[name] for name in candidates if name in by_lower_case), None)

    splits = [
        name
        for part in (_VALIDATION, _TEST)
        for name in (
            first((*_of_split(_IMAGES, part), *part)),
            first(_of_split(_LABELS, part)),
        )
    ]
    images = first((*_of_split(_IMAGES, _TRAIN), *_TRAIN))
    labels = first(_of_split(_LABELS, _TRAIN))
    if images is None:
        images, labels = first(_IMAGES), first(_LABELS)
    if images is None and "arr_0" in arrays:
        images = "arr_0"
        if _can_be_labels(arrays.get("arr_1"), arrays["arr_0"]):
            labels = "arr_1"
    if images is None:
        images = _only_candidate(arrays, {name for name in splits if name}, source)
    return _Names(images, labels, *splits)


def _can_be_labels(array: NDArray[Any] | None, images: NDArray[Any]) -> bool:
    return (
        array is not None and array.ndim in (1, 2) and images.ndim > 2 and len(array) == len(images)
    )


def _only_candidate(arrays: Arrays, splits: set[str], source: str) -> str:
    """Returns the name of the only array with three or four axes that is no other split."""
    found = [n for n, array in arrays.items() if array.ndim in (3, 4) and n not in splits]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    raise DataError(
        f"{source} contains no images: expected arrays named x_train (optionally y_train, x_val, "
        f"x_test, ...) or x (optionally y), found {listed or 'nothing'}."
    )


def _describe_unused(unused: Sequence[str], arrays: Arrays) -> str:
    listed = ", ".join(f"{name} {arrays[name].shape}" for name in unused)
    return f"{len(unused)} {'array was' if len(unused) == 1 else 'arrays were'} not used: {listed}."


def _unflatten(array: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Returns rows of square grey images as images, and a warning if it did so."""
    side = square_side(array.shape)
    if side is None:
        return array, ""
    return (
        array.reshape(-1, side, side),
        describe_unflattened(array.shape[1], side),
    )


def _make_split(
    arrays: Arrays, name: str, label_name: str | None, layout: Layout, where: str
) -> RawSplit:
    images, _ = _unflatten(arrays[name])
    if images.ndim not in (3, 4) or (layout == "channels_first" and images.ndim == 3):
        raise DataError(f"{where} has shape {arrays[name].shape}, expected images like the others.")
    return RawSplit(to_channels_last(images, layout), arrays.get(label_name or ""))


def _check_shapes(raw: RawImages, source: str, names: _Names) -> None:
    expected = raw.train.images.shape[1:]
    for name, split in ((names.validation, raw.validation), (names.test, raw.test)):
        if split and split.images.shape[1:] != expected:
            raise DataError(
                f"{source} has images of shape {expected}, but {name} has images of shape "
                f"{split.images.shape[1:]}: expected the same shape. Resize them, or leave {name} "
                "out."
            )


def resize_images(images: NDArray[Any], size: tuple[int, int], how: Resize) -> NDArray[Any]:
    """Returns images in another size.

    Args:
        images: Pixels, (n, height, width, channels).
        size: Height and width.
        how: Method of resizing; see `prepare.resize`.
    """
    if images.dtype == bool:  # Masks become grey where they are averaged.
        images = images.astype(np.uint8) * np.uint8(255)
    return np.stack([resize(image, size, how) for image in images])


def _resize_all(raw: RawImages, spec: ReadingSpec) -> RawImages:
    """Returns the images in the size that the user asks for, if any."""
    size, how = spec.image_size, spec.resize or "crop"
    if size is None or raw.train.images.shape[1:3] == size:
        return raw
    count = sum(len(split.images) for split in _splits(raw))
    if how == "pad" and any((split.images[:] < 0).any() for split in _splits(raw)):
        raise DataError(NO_PADDING)

    def resized(split: RawSplit | None) -> RawSplit | None:
        if split is None:
            return None
        return replace(split, images=resize_images(split.images[:], size, how))

    train = resized(raw.train)
    assert train is not None
    height, width = raw.train.images.shape[1:3]
    return replace(
        raw,
        train=train,
        validation=resized(raw.validation),
        test=resized(raw.test),
        image_size=size,
        resize=how,
        notes=(*raw.notes, f"{count:,} images were resized from {height} x {width} ({how})."),
    )


def _splits(raw: RawImages) -> Iterator[RawSplit]:
    return (split for split in (raw.train, raw.validation, raw.test) if split)
