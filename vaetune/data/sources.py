"""Loading of image sets from the package, from Keras, from .npz files and from folders."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import NAMED_SETS, DataSpec, ReadingSpec
from vaetune.data.checks import (
    MIN_IMAGES,
    check_test_set,
    checked_images,
    checked_labels,
    number_classes,
    to_common_type,
)
from vaetune.data.image_folder import read_folder
from vaetune.data.images import ImageSet, Split, fingerprint_of, hold_out, prepare_images
from vaetune.device import import_tensorflow
from vaetune.errors import DataError, one_line
from vaetune.files import DamagedArchiveError, read_arrays

_KNOWN_NAMES = ("x_train", "y_train", "x_test", "y_test", "x", "y")


@dataclass(frozen=True, eq=False)
class _Arrays:
    """The arrays of a source before they are checked."""

    images: Any
    labels: Any = None
    test_images: Any = None
    test_labels: Any = None
    class_names: tuple[str, ...] | None = None


Dataset = str | os.PathLike[str] | NDArray[Any] | Mapping[str, NDArray[Any]]
"""Name of a packaged or downloaded set, path, or arrays."""


def load_images(dataset: Dataset) -> ImageSet:
    """Loads an image set and splits it. The split is the same each time.

    Args:
        dataset: Image set, given as one of:

            - a name: "digits", "mnist" or "fashion_mnist";
            - the path of an `.npz` file in Keras's layout;
            - the path of a folder of image files, with the labels as sub-folders;
            - an array of images, (n, height, width) or (n, height, width, channels);
            - several arrays by name, with the names of an `.npz` file.

    Raises:
        DataError: The images cannot be read, or a VAE cannot be trained on them.
    """
    if isinstance(dataset, np.ndarray):
        return load_images({"x": dataset})
    if isinstance(dataset, Mapping):
        # Splitting reorders images in place, so the caller's arrays are copied.
        arrays = {name: np.array(array) for name, array in dataset.items()}
        return _make_set("arrays", "arrays", _choose_arrays(arrays, "The mapping of arrays"))
    source = os.fspath(dataset)
    if source == "digits":
        with as_file(files("vaetune.data.digits") / "digits.npz") as path:
            return _make_set("digits", source, _read_npz(path))
    if source in NAMED_SETS:
        return _make_set(source, source, _download(source))
    path = Path(source).expanduser()
    if path.is_dir():
        return _make_set(path.resolve().name, source, _from_folder(path))
    _check_npz(path, source)
    return _make_set(path.stem, source, _read_npz(path))


def load_prepared(data: DataSpec) -> ImageSet:
    """Loads and prepares the images of a search, see `load_images` and `prepare_images`.

    Raises:
        DataError: The images cannot be read, or a VAE cannot be trained on them.
    """
    return prepare_images(load_images(data.dataset), data)


def _from_folder(path: Path) -> _Arrays:
    """Reads a folder. Its own validation images join the training images."""
    raw = read_folder(path, ReadingSpec())
    train = [split for split in (raw.train, raw.validation) if split is not None]
    labels = [split.labels for split in train if split.labels is not None]
    return _Arrays(
        raw.train.images if len(train) == 1 else np.concatenate([each.images for each in train]),
        np.concatenate(labels) if len(labels) == len(train) else None,
        raw.test.images if raw.test else None,
        raw.test.labels if raw.test else None,
        raw.class_names,
    )


def _check_npz(path: Path, source: str) -> None:
    """Checks that there is a file with the ending `.npz`."""
    if path.is_file() and path.suffix.lower() == ".npz":
        return
    named = ", ".join(NAMED_SETS)
    if path.exists():
        raise DataError(
            f"{source} is not an image set: expected {named}, an .npz file or a folder of images. "
            "Save arrays with numpy.savez, or put image files into a folder."
        )
    closest = difflib.get_close_matches(path.name, NAMED_SETS, n=1)
    hint = f' Did you mean "{closest[0]}"?' if closest else ""
    raise DataError(
        f"There is no image set at {source}.{hint} Expected {named}, or the path of an .npz file "
        "or of a folder of images."
    )


def _download(name: str) -> _Arrays:
    """Loads MNIST or Fashion-MNIST with Keras, which downloads each once."""
    import_tensorflow()  # Keras would import it with all its messages.
    from keras import datasets

    try:
        (images, labels), (test_images, test_labels) = getattr(datasets, name).load_data()
    except Exception as error:
        raise DataError(
            f"{name} could not be downloaded ({one_line(error)}). Without a network, use --dataset "
            "digits, which is packaged, or the path of an .npz file."
        ) from error
    return _Arrays(images, labels, test_images, test_labels)


def _read_npz(path: Path) -> _Arrays:
    try:
        arrays = read_arrays(path, _KNOWN_NAMES)
        found = list(arrays) or sorted(read_arrays(path))
    except DamagedArchiveError as error:
        raise DataError(
            f"{error}. Save plain arrays of numbers with numpy.savez."
            + (" Pickled objects are never loaded: they could run any code." * error.is_pickled)
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    return _choose_arrays(arrays, str(path), found)


def _choose_arrays(
    arrays: Mapping[str, NDArray[Any]], source: str, found: Sequence[str] | None = None
) -> _Arrays:
    """Picks images and labels from named arrays.

    Args:
        arrays: Arrays by name.
        source: Name of the image set in messages.
        found: All names in the source. Default: the names in `arrays`.

    Raises:
        DataError: None of the arrays has the name of images.
    """
    if "x_train" in arrays:
        y_train, x_test, y_test = (arrays.get(name) for name in ("y_train", "x_test", "y_test"))
        return _Arrays(arrays["x_train"], y_train, x_test, y_test)
    if "x" in arrays:
        return _Arrays(arrays["x"], arrays.get("y"))
    raise DataError(
        f"{source} contains no images: expected arrays named x_train (optionally y_train, x_test, "
        f"y_test) or x (optionally y), found {', '.join(found or arrays) or 'nothing'}."
    )


def _make_set(name: str, source: str, arrays: _Arrays) -> ImageSet:
    """Checks, converts and splits arrays."""
    images = checked_images(arrays.images, source)
    if len(images) < MIN_IMAGES:
        raise DataError(
            f"{source} contains {len(images)} training images, expected at least {MIN_IMAGES}. "
            "Add images, or use --dataset digits."
        )
    labels = checked_labels(arrays.labels, len(images), source, "training")
    test_images = test_labels = None
    if arrays.test_images is not None:
        test_images = checked_images(arrays.test_images, f"{source}, x_test")
        check_test_set(images, test_images, source)
        test_labels = checked_labels(arrays.test_labels, len(test_images), source, "test")
    labels, test_labels, class_names = number_classes(labels, test_labels, arrays.class_names)
    images, test_images = to_common_type(images, test_images)
    test = None if test_images is None else Split(test_images, test_labels)
    train, validation, test = hold_out(Split(images, labels), test)
    fingerprint = fingerprint_of((train, validation, test))
    return ImageSet(name, source, train, validation, test, class_names, fingerprint)
