"""A named or a user's own image set, split into training, validation and test images."""

import difflib
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.archive import DamagedArchiveError, read_arrays
from vaetune.device import import_tensorflow
from vaetune.errors import DataError
from vaetune.evaluation import Binarize
from vaetune.folder import read_folder
from vaetune.spec import NAMED_SETS, DataSpec

MIN_IMAGES = 12
MIN_IMAGE_SIDE = 8
HELD_OUT_SHARE = 6
"""One image in so many is held out for validation, and for test where there is no test set."""

FINAL_HELD_OUT_SHARE = 20
"""Where a model is trained on the validation images too, one in so many of both is held out."""

_SPLIT_SEED = 20231017
_BINARIZE_SEED = 20080508
_CHUNK_VALUES = 2**18
_KNOWN_NAMES = ("x_train", "y_train", "x_test", "y_test", "x", "y")


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one purpose.

    Attributes:
        images: (n, height, width, channels), uint8 in 0..255 or float32 in [0, 1].
        labels: Class indices (n,) int64, or None.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: NDArray[np.int64] | slice) -> "Split":
        """The images of these indices, in their order; those of a slice are not copied."""
        labels = None if self.labels is None else self.labels[indices]
        return Split(self.images[indices], labels)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The images of a search.

    Attributes:
        name: A named set, else the file's stem or the folder's name.
        source: The named set, or the path.
        class_names: One for each class index, or None without labels.
        fingerprint: SHA-256 of all arrays, hexadecimal.
        binarize: What was made of the pixels. "stochastic" leaves the training images as they
            are: a step draws their pixels.
    """

    name: str
    source: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...] | None
    fingerprint: str
    binarize: Binarize = "none"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


@dataclass(frozen=True, eq=False)
class _Raw:
    """What a source holds, before it is checked."""

    images: Any
    labels: Any = None
    test_images: Any = None
    test_labels: Any = None
    class_names: tuple[str, ...] | None = None


def load_images(dataset: str | os.PathLike[str]) -> ImageSet:
    """Loads an image set and splits it, the same each time.

    Args:
        dataset: One of `spec.NAMED_SETS`, the path of an `.npz` file in Keras's layout, or of a
            folder of PNG and JPEG files whose sub-folders are labels.

    Raises:
        DataError: It cannot be read, or holds what no VAE can be trained on.
    """
    source = os.fspath(dataset)
    if source == "digits":
        with as_file(files("vaetune.digits") / "digits.npz") as path:
            return _assemble("digits", source, _read_npz(path))
    if source in NAMED_SETS:
        return _assemble(source, source, _download(source))
    path = Path(source).expanduser()
    if path.is_dir():
        images, labels, class_names = read_folder(path)
        return _assemble(path.resolve().name, source, _Raw(images, labels, class_names=class_names))
    return _assemble(path.stem, source, _read_npz(_existing_npz(path, source)))


def load_prepared(data: DataSpec) -> ImageSet:
    """Loads the images of a search and prepares them; see both for the errors."""
    return prepare_images(load_images(data.dataset), data)


def prepare_images(images: ImageSet, data: DataSpec) -> ImageSet:
    """Makes of an image set, as it was loaded, what the data section of a search asks for.

    The split stays but for `train_on`, which moves the validation images to the training images
    all but one in twenty of both: these are then the validation images and choose the epoch of a
    model that is trained for good. Losses on them do not compare with a search's.

    Returns:
        The set itself where nothing is asked for, else one with another fingerprint.
    """
    if data.binarize == "none" and data.train_on is None:
        return images
    train, validation = images.train, images.validation
    if data.train_on:
        train, validation = _join(train, validation)
    splits = (
        train if data.binarize == "stochastic" else binarized(train, data.binarize),
        binarized(validation, data.binarize, stream=1),
        binarized(images.test, data.binarize, stream=2),
    )
    return ImageSet(
        images.name,
        images.source,
        *splits,
        images.class_names,
        _fingerprint(splits, f"{data.binarize};" if data.binarize == "stochastic" else ""),
        data.binarize,
    )


def binarized(split: Split, how: Binarize, stream: int = 0) -> Split:
    """Images whose pixels are 0 or 255, the same each time.

    Args:
        split: Images, uint8 or floats in [0, 1].
        how: See `spec.DataSpec`.
        stream: Keeps the draws of several splits independent.
    """
    if how == "none":
        return split
    generator = np.random.default_rng([_BINARIZE_SEED, stream])
    pixels = np.empty(split.images.shape, np.uint8)
    for chunk in _chunks(pixels):
        x = to_unit_interval(split.images[chunk])
        limit = 0.5 if how == "threshold" else 1.0 - generator.random(x.shape, np.float32)
        pixels[chunk] = np.uint8(255) * (x >= limit)
    return Split(pixels, split.labels)


def to_unit_interval(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images as float32 in [0, 1]: bytes are divided by 255, floats stay as they are."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255.0)
    return images.astype(np.float32, copy=False)


def entropy_floor(images: NDArray[Any]) -> float:
    """What binary cross-entropy cannot go below: the mean of the pixels' summed entropies.

    A grey pixel is no Bernoulli variable; even a perfect reconstruction p = x costs
    -x log x - (1 - x) log(1 - x).

    Args:
        images: (n, height, width, channels), uint8 in 0..255 or float32 in [0, 1].

    Returns:
        Nats per image.
    """
    total = 0.0
    for chunk in _chunks(images):
        x = to_unit_interval(images[chunk]).astype(np.float64)
        inside = x[(x > 0.0) & (x < 1.0)]
        total -= float(np.sum(inside * np.log(inside) + (1.0 - inside) * np.log1p(-inside)))
    return total / len(images)


def _chunks(images: NDArray[Any]) -> Iterator[slice]:
    """Parts of an array of images that may be copied as floats: of so many values at most."""
    step = max(1, _CHUNK_VALUES // images[0].size)
    return (slice(start, start + step) for start in range(0, len(images), step))


def _existing_npz(path: Path, source: str) -> Path:
    if path.is_file() and path.suffix.lower() == ".npz":
        return path
    named = ", ".join(NAMED_SETS)
    if path.exists():
        raise DataError(
            f"{source} is not an image set: expected {named}, an .npz file or a folder of images. "
            "Save arrays with numpy.savez, or put image files into a folder."
        )
    closest = difflib.get_close_matches(path.name, NAMED_SETS, n=1)
    hint = f' Did you mean "{closest[0]}"?' if closest else ""
    raise DataError(
        f"There is no image set at {source}.{hint} Expected {named}, the path of an .npz file or "
        "of a folder of images."
    )


def _download(name: str) -> _Raw:
    """Loads MNIST or Fashion-MNIST through Keras, which downloads it once."""
    import_tensorflow()  # quietly, before Keras does
    from keras import datasets

    try:
        (images, labels), (test_images, test_labels) = getattr(datasets, name).load_data()
    except Exception as error:
        raise DataError(
            f"{name} could not be downloaded ({' '.join(str(error).split())}). Without a network "
            "use --dataset digits, the packaged sample, or the path of an .npz file."
        ) from error
    return _Raw(images, labels, test_images, test_labels)


def _read_npz(path: Path) -> _Raw:
    try:
        arrays = read_arrays(path, _KNOWN_NAMES)
        found = list(arrays) or sorted(read_arrays(path))
    except DamagedArchiveError as error:
        raise DataError(
            f"{error}. Save plain arrays of numbers with numpy.savez."
            + (" Objects are never unpickled: they could run any code." * error.is_pickled)
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if "x_train" in arrays:
        y_train, x_test, y_test = (arrays.get(name) for name in ("y_train", "x_test", "y_test"))
        return _Raw(arrays["x_train"], y_train, x_test, y_test)
    if "x" in arrays:
        return _Raw(arrays["x"], arrays.get("y"))
    raise DataError(
        f"{path} holds no images: expected arrays named x_train (with y_train, x_test, y_test if "
        f"there are any) or x (with y), found {', '.join(found) or 'nothing'}."
    )


def _assemble(name: str, source: str, raw: _Raw) -> ImageSet:
    """Checks, converts, splits and fingerprints."""
    images = _checked_images(raw.images, source)
    if len(images) < MIN_IMAGES:
        raise DataError(
            f"{source} holds {len(images)} training images, at least {MIN_IMAGES} are needed. "
            "Add images, or use --dataset digits."
        )
    labels = _checked_labels(raw.labels, len(images), source, "training")
    test_images = test_labels = None
    if raw.test_images is not None:
        test_images = _checked_images(raw.test_images, f"{source}, x_test")
        _check_test_set(images, test_images, source)
        test_labels = _checked_labels(raw.test_labels, len(test_images), source, "test")
    labels, test_labels, class_names = _as_classes(labels, test_labels, raw.class_names)
    images, test_images = _to_one_type(images, test_images)
    test = None if test_images is None else Split(test_images, test_labels)
    train, validation, test = _divide(Split(images, labels), test)
    fingerprint = _fingerprint((train, validation, test))
    return ImageSet(name, source, train, validation, test, class_names, fingerprint)


def _checked_images(images: Any, source: str) -> NDArray[Any]:
    """Returns (n, height, width, channels), as uint8 or as float32 in [0, 1]."""
    if images.dtype.kind not in "buif":
        raise DataError(
            f"{source} holds values of type {images.dtype}, expected numbers: uint8, or floats in "
            "[0, 1] or 0..255."
        )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4:
        raise DataError(
            f"{source} has shape {images.shape}, expected (images, height, width) or "
            "(images, height, width, channels)."
        )
    if not len(images):
        raise DataError(f"{source} is empty, at least {MIN_IMAGES} images are needed.")
    _check_size(images.shape[1:], source)
    return _to_pixels(images, source)


def _check_size(shape: Sequence[int], source: str) -> None:
    height, width, channels = shape
    if channels not in (1, 3):
        raise DataError(
            f"{source} has {channels} channels, expected 1 (grey) or 3 (colour). Arrays are read "
            "as (images, height, width, channels)."
        )
    if min(height, width) < MIN_IMAGE_SIDE:
        raise DataError(
            f"{source} has images of {height} x {width} pixels, at least {MIN_IMAGE_SIDE} x "
            f"{MIN_IMAGE_SIDE} are needed. Enlarge or pad them."
        )


def _to_pixels(images: NDArray[Any], source: str) -> NDArray[Any]:
    if images.dtype.kind == "b":
        return images.astype(np.uint8) * np.uint8(255)
    low, high = float(images.min()), float(images.max())
    if not np.isfinite(low + high):
        at = int(np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))[0])
        raise DataError(
            f"{source} holds pixels that are NaN or infinite, the first in image {at}. "
            "Replace them or leave those images out."
        )
    if low < 0 or high > 255:
        wrong = low if low < 0 else high
        raise DataError(
            f"{source} holds the pixel value {wrong:g}, expected 0..255, or 0..1 as floats. "
            "Scale the images first."
        )
    if images.dtype.kind == "f":
        return _floats_to_pixels(images, high)
    if high == 1:  # a mask of zeros and ones, not an all but black picture
        return images.astype(np.uint8) * np.uint8(255)
    return images.astype(np.uint8, copy=False)


def _floats_to_pixels(images: NDArray[Any], high: float) -> NDArray[Any]:
    if high <= 1.0:
        return images.astype(np.float32, copy=False)
    as_bytes = images.astype(np.uint8)
    if np.array_equal(as_bytes, images):
        return as_bytes
    return images.astype(np.float32) / np.float32(255.0)


def _checked_labels(labels: Any, count: int, source: str, what: str) -> NDArray[Any] | None:
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != count:
        raise DataError(
            f"{source} has {count} {what} images, but labels of shape {labels.shape}: expected "
            f"({count},). Give a label to each image, or leave the labels out."
        )
    whole = labels.dtype.kind in "iub" or (
        labels.dtype.kind == "f" and bool(np.all(labels == np.floor(labels)))
    )
    if not whole:
        raise DataError(
            f"{source} has {what} labels of type {labels.dtype}, expected whole numbers. "
            "Number the classes, or leave the labels out."
        )
    numbers: NDArray[np.int64] = labels.astype(np.int64)
    return numbers


def _check_test_set(images: NDArray[Any], test_images: NDArray[Any], source: str) -> None:
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{source} has training images of shape {images.shape[1:]}, but test images of shape "
            f"{test_images.shape[1:]}: expected the same. Resize them, or leave x_test out."
        )


def _as_classes(
    labels: NDArray[Any] | None,
    test_labels: NDArray[Any] | None,
    class_names: tuple[str, ...] | None,
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Numbers the classes from 0 in the order of their labels."""
    given = [each for each in (labels, test_labels) if each is not None]
    if not given or class_names is not None:
        return labels, test_labels, class_names
    values = np.unique(np.concatenate(given))
    numbered = [
        None if each is None else np.searchsorted(values, each).astype(np.int64)
        for each in (labels, test_labels)
    ]
    return numbered[0], numbered[1], tuple(str(value) for value in values)


def _to_one_type(
    images: NDArray[Any], test_images: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Training and test images share a type, floats if either are."""
    if test_images is None or images.dtype == test_images.dtype:
        return images, test_images
    return to_unit_interval(images), to_unit_interval(test_images)


def _divide(train: Split, test: Split | None) -> tuple[Split, Split, Split]:
    """Splits by a permutation that no seed of a search changes.

    The images are not copied: they are put in order where they are, one split after the other.
    """
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(train))
    held_out = max(1, round(len(train) / HELD_OUT_SHARE))
    validation, rest = order[:held_out], order[held_out:]
    parts = [rest[held_out:], validation, rest[:held_out]] if test is None else [rest, validation]
    order = np.concatenate(parts)
    # Keras's Fashion-MNIST is a view of bytes that may not change.
    images = train.images if train.images.flags.writeable else train.images.copy()
    _put_in_order(images, order)
    ordered = Split(images, None if train.labels is None else train.labels[order])
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    first, second, *third = (ordered.take(slice(*pair)) for pair in itertools.pairwise(ends))
    return first, second, third[0] if test is None else test


def _put_in_order(images: NDArray[Any], order: NDArray[np.int64]) -> None:
    """Does what `images[:] = images[order]` does, with memory for one image more."""
    is_done = np.zeros(len(order), dtype=bool)
    for first in range(len(order)):
        if is_done[first]:
            continue
        displaced, place = images[first].copy(), first
        while order[place] != first:  # a cycle of the permutation
            images[place] = images[order[place]]
            is_done[place] = True
            place = order[place]
        images[place] = displaced
        is_done[place] = True


def _join(train: Split, validation: Split) -> tuple[Split, Split]:
    """Training and validation images anew: all but a few of both, and those few."""
    images = np.concatenate([train.images, validation.images])
    given = [each for each in (train.labels, validation.labels) if each is not None]
    both = Split(images, np.concatenate(given) if given else None)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(both))
    held_out = max(1, round(len(both) / FINAL_HELD_OUT_SHARE))
    return both.take(order[held_out:]), both.take(order[:held_out])


def _fingerprint(splits: Sequence[Split], prefix: str = "") -> str:
    digest = hashlib.sha256(prefix.encode())
    for split in splits:
        for array in (split.images, split.labels):
            if array is None:
                digest.update(b"none;")
                continue
            digest.update(f"{array.dtype.str}{array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
