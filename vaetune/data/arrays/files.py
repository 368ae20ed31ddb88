"""Reading of arrays from .npz, .npy and idx files."""

import gzip
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import DataError
from vaetune.files import DamagedArchiveError, list_arrays, read_arrays

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""Types of the values of idx files, by the third byte."""

_IMAGES = "images"
"""Word in the name of an idx file of images."""

_LABELS = "labels"
"""Word in the name of an idx file of labels."""


IdxFile = gzip.GzipFile | BufferedReader
"""An open idx file."""


def is_array_file(path: Path) -> bool:
    """Whether a file has a name of an array file."""
    return _reader_of(path) is not None


def read_array_file(path: Path) -> Mapping[str, NDArray[Any]]:
    """Reads the arrays of a file by name. Pickled objects are never loaded.

    The only array of an `.npy` or idx file is named "x". An idx file of images named as those of
    MNIST is read with its labels and the other split: train-images-idx3-ubyte, t10k-...

    Raises:
        DataError: The file cannot be read, or is damaged.
    """
    read = _reader_of(path)
    assert read is not None
    with explain_damage(path):
        return read(path)


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Raises a DataError that says what is wrong with an array file, if it cannot be read."""
    try:
        yield
    except DamagedArchiveError as error:
        raise DataError(
            f"{error}. Save plain arrays of numbers with numpy.savez."
            + (" Pickled objects are never loaded: they could run any code." * error.is_pickled)
        ) from error
    except (gzip.BadGzipFile, zlib.error, EOFError, struct.error, ValueError) as error:
        raise DataError(f"{path} is damaged or of another kind ({error}).") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _reader_of(path: Path) -> Callable[[Path], Mapping[str, NDArray[Any]]] | None:
    name = path.name.lower()
    if name.endswith(".npz"):
        return _read_npz
    if name.endswith(".npy"):
        return _read_npy
    return read_idx_files if is_idx_file(path) else None


def is_idx_file(path: Path) -> bool:
    """Whether a file has a name of an idx file."""
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    return plain.endswith((".idx", "-ubyte")) or ".idx" in plain[-6:] or "-idx" in plain


def _read_npz(path: Path) -> Mapping[str, NDArray[Any]]:
    """Reads the arrays of an archive. Pickled ones become empty arrays of objects.

    Raises:
        DamagedArchiveError: The archive is damaged, or has pickled objects and no images.
    """
    arrays: dict[str, NDArray[Any]] = {}
    pickled = None
    for name in list_arrays(path):
        try:
            arrays |= read_arrays(path, (name,))
        except DamagedArchiveError as error:
            if not error.is_pickled:
                raise
            arrays[name], pickled = np.empty(0, object), error
    if pickled and all(array.ndim < 2 for array in arrays.values()):
        raise pickled
    return arrays


def _read_npy(path: Path) -> Mapping[str, NDArray[Any]]:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("it does not start as an .npy file does")
        file.seek(0)
        return {"x": np.load(file, allow_pickle=False)}


def _read_idx(path: Path) -> NDArray[Any]:
    """Reads an idx file, the format of MNIST's original files."""
    with open_idx(path) as file:
        shape, dtype = read_idx_header(file)
        content = file.read()
    expected = math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise ValueError(f"it has {len(content):,} bytes of values, expected {expected:,}")
    values = np.frombuffer(content, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def read_idx_files(
    path: Path, read: Callable[[Path], NDArray[Any]] = _read_idx
) -> Mapping[str, NDArray[Any]]:
    """Reads an idx file and, if it is named as those of MNIST, the files that belong to it.

    Args:
        path: The file.
        read: Function that reads one file.
    """
    arrays = {"x": read(path)}
    if _IMAGES not in path.name:
        return arrays
    label_file = _with_labels(path)
    if label_file:
        arrays["y"] = read(label_file)
    test = path.with_name(path.name.replace("train-", "t10k-", 1))
    if test != path and test.is_file():
        arrays["x_test"] = read(test)
        if test_labels := _with_labels(test):
            arrays["y_test"] = read(test_labels)
    return arrays


def _with_labels(path: Path) -> Path | None:
    beside = path.with_name(path.name.replace(_IMAGES, _LABELS).replace("idx3", "idx1"))
    return beside if beside != path and beside.is_file() else None


def open_idx(path: Path) -> IdxFile:
    """Opens an idx file, which may be compressed."""
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def read_idx_header(file: IdxFile) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Returns shape and type of the values of an open idx file."""
    zeros, kind, axes = struct.unpack(">HBB", file.read(4))
    if zeros or kind not in _IDX_TYPES:
        raise ValueError("it does not start as an idx file does")
    return struct.unpack(f">{axes}I", file.read(4 * axes)), np.dtype(_IDX_TYPES[kind])
