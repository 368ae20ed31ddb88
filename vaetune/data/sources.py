"""Image sets loaded from the package, from Keras, from .npz files and from folders."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import NAMED_SETS, DataSpec
from vaetune.data.checks import (
    MIN_IMAGES,
    as_classes,
    check_test_set,
    checked_images,
    checked_labels,
    to_one_type,
)
from vaetune.data.image_folder import read_folder
from vaetune.data.images import ImageSet, Split, fingerprint_of, hold_out, prepare_images
from vaetune.device import import_tensorflow
from vaetune.errors import DataError
from vaetune.files import DamagedArchiveError, read_arrays

_KNOWN_NAMES = ("x_train", "y_train", "x_test", "y_test", "x", "y")


@dataclass(frozen=True, eq=False)
class _Raw:
    """What a source holds, before it is checked."""

    images: Any
    labels: Any = None
    test_images: Any = None
    test_labels: Any = None
    class_names: tuple[str, ...] | None = None


Dataset = str | os.PathLike[str] | NDArray[Any] | Mapping[str, NDArray[Any]]
"""The name of a packaged or downloaded set, a path, or arrays."""


def load_images(dataset: Dataset) -> ImageSet:
    """Loads an image set and splits it, the same way each time.

    Args:
        dataset: "digits", "mnist" or "fashion_mnist"; the path of an `.npz` file in Keras's
            layout, or of a folder of PNG and JPEG files whose sub-folders are labels; an array
            of images, (n, height, width) or (n, height, width, channels); or several arrays by
            the names that they would have in an `.npz` file.

    Raises:
        DataError: It cannot be read, or no VAE can be trained on it.
    """
    if isinstance(dataset, np.ndarray):
        return load_images({"x": dataset})
    if isinstance(dataset, Mapping):
        # Splitting puts images in order where they are: the caller's arrays stay as they were.
        arrays = {name: np.array(array) for name, array in dataset.items()}
        return _assemble("arrays", "arrays", _choose_arrays(arrays, "The mapping of arrays"))
    source = os.fspath(dataset)
    if source == "digits":
        with as_file(files("vaetune.data.digits") / "digits.npz") as path:
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
    return _choose_arrays(arrays, str(path), found)


def _choose_arrays(
    arrays: Mapping[str, NDArray[Any]], source: str, found: Sequence[str] | None = None
) -> _Raw:
    """Takes the arrays of an image set by their names.

    Args:
        arrays: Arrays by name.
        source: Name of the source, for error messages.
        found: All names there are. Default: those of `arrays`.
    """
    if "x_train" in arrays:
        y_train, x_test, y_test = (arrays.get(name) for name in ("y_train", "x_test", "y_test"))
        return _Raw(arrays["x_train"], y_train, x_test, y_test)
    if "x" in arrays:
        return _Raw(arrays["x"], arrays.get("y"))
    raise DataError(
        f"{source} holds no images: expected arrays named x_train (with y_train, x_test, y_test if "
        f"there are any) or x (with y), found {', '.join(found or arrays) or 'nothing'}."
    )


def _assemble(name: str, source: str, raw: _Raw) -> ImageSet:
    """Checks, converts, splits and fingerprints."""
    images = checked_images(raw.images, source)
    if len(images) < MIN_IMAGES:
        raise DataError(
            f"{source} holds {len(images)} training images, at least {MIN_IMAGES} are needed. "
            "Add images, or use --dataset digits."
        )
    labels = checked_labels(raw.labels, len(images), source, "training")
    test_images = test_labels = None
    if raw.test_images is not None:
        test_images = checked_images(raw.test_images, f"{source}, x_test")
        check_test_set(images, test_images, source)
        test_labels = checked_labels(raw.test_labels, len(test_images), source, "test")
    labels, test_labels, class_names = as_classes(labels, test_labels, raw.class_names)
    images, test_images = to_one_type(images, test_images)
    test = None if test_images is None else Split(test_images, test_labels)
    train, validation, test = hold_out(Split(images, labels), test)
    fingerprint = fingerprint_of((train, validation, test))
    return ImageSet(name, source, train, validation, test, class_names, fingerprint)
