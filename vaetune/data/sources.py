"""Loading of image sets from the package, from Keras, from .npz files and from folders."""

import difflib
import os
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import NAMED_SETS, DataSpec, ReadingSpec, parse_reading
from vaetune.data.arrays.files import is_array_file, read_array_file
from vaetune.data.arrays.given import name_arrays
from vaetune.data.arrays.names import Arrays, find_images
from vaetune.data.assemble import assemble
from vaetune.data.disk.arrays import open_on_disk, stays_on_disk
from vaetune.data.disk.folders import Announce, read_folder_or_cache
from vaetune.data.for_training import prepare_images
from vaetune.data.images import ImageSet
from vaetune.data.raw import RawImages
from vaetune.device import import_tensorflow
from vaetune.errors import DataError, MissingImagesError, one_line

Dataset = str | os.PathLike[str] | NDArray[Any] | Mapping[str, NDArray[Any]]
"""Name of a packaged or downloaded set, path, or arrays."""


def load_images(
    dataset: Dataset,
    reading: ReadingSpec | Mapping[str, Any] | None = None,
    announce: Announce | None = None,
) -> ImageSet:
    """Loads an image set and splits it. The split is the same each time.

    Args:
        dataset: Image set, given as one of:

            - a name: "digits", "mnist" or "fashion_mnist";
            - the path of an `.npz`, `.npy` or idx file;
            - the path of a folder of image files, with the labels, or the splits, as sub-folders;
            - an array of images, (n, height, width) or (n, height, width, channels);
            - several arrays by name, with the names of an `.npz` file.
        reading: Options of reading, with the keys of `[data]` in a search file, such as
            `{"range": [0, 16]}`. Default: as the images suggest.
        announce: Called with a sentence before a folder that is larger than memory is decoded into
            a file.

    Raises:
        DataError: The images cannot be read, or a VAE cannot be trained on them.
        SpecError: A key or value of `reading` is wrong.
    """
    spec = _to_spec(reading)
    given = name_arrays(dataset)
    if not isinstance(given, str):
        # Splitting reorders images in place, so the caller's arrays are copied.
        arrays = {name: np.array(array) for name, array in given.items()}
        return assemble("arrays", "arrays", find_images(arrays, spec, "The mapping"), spec)
    name, raw = read_raw(given, spec, announce)
    return assemble(name, given, raw, spec)


def read_raw(
    source: str, spec: ReadingSpec, announce: Announce | None = None
) -> tuple[str, RawImages]:
    """Reads a named set, a folder or a file, and returns the name of the set and its images.

    Args:
        source: Name of the set, or path.
        spec: Options of reading.
        announce: See `load_images`.

    Raises:
        DataError: The images cannot be read.
    """
    if source == "digits":
        with as_file(files("vaetune.data.digits") / "digits.npz") as path:
            return source, find_images(read_array_file(path), spec, source)
    if source in NAMED_SETS:
        return source, find_images(_download(source), spec, source)
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve().name, read_folder_or_cache(path, spec, announce)
    check_file(path, source)
    return _name_of(path), _read_arrays(path, source, spec)


def _to_spec(reading: ReadingSpec | Mapping[str, Any] | None) -> ReadingSpec:
    if isinstance(reading, ReadingSpec):
        return reading
    return parse_reading(reading or {})


def _name_of(path: Path) -> str:
    """Returns the name of the image set in an array file: the name without endings."""
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name.removesuffix(".gz")


def _read_arrays(path: Path, source: str, spec: ReadingSpec) -> RawImages:
    if stays_on_disk(path, spec):
        return open_on_disk(path, spec, source)
    return find_images(read_array_file(path), spec, source)


def load_prepared(data: DataSpec, announce: Announce | None = None) -> ImageSet:
    """Loads and prepares the images of a search, see `load_images` and `prepare_images`.

    Args:
        data: The `data` section of the search.
        announce: See `load_images`.

    Raises:
        DataError: The images cannot be read, or a VAE cannot be trained on them.
    """
    return prepare_images(load_images(data.dataset, data, announce), data)


def check_file(path: Path, source: str) -> None:
    """Checks that there is an array file.

    Args:
        path: Path of the file.
        source: Path in messages.

    Raises:
        DataError: There is nothing, or something else.
    """
    if path.is_file() and is_array_file(path):
        return
    named = ", ".join(NAMED_SETS)
    if path.exists():
        raise DataError(
            f"{source} is not an image set: expected {named}, an .npz, .npy or idx file, or a "
            "folder of images. Save arrays with numpy.savez, or put image files into a folder."
        )
    closest = difflib.get_close_matches(path.name, NAMED_SETS, n=1)
    hint = f' Did you mean "{closest[0]}"?' if closest else ""
    raise MissingImagesError(
        f"There is no image set at {source}.{hint} Expected {named}, or the path of an .npz, .npy "
        "or idx file or of a folder of images."
    )


def _download(name: str) -> Arrays:
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
    return {"x_train": images, "y_train": labels, "x_test": test_images, "y_test": test_labels}
