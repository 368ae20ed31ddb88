"""Reading of the headers of array files, which tell names, shapes and types without the values."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from vaetune.data.arrays.files import (
    explain_damage,
    is_idx_file,
    open_idx,
    read_idx_files,
    read_idx_header,
)
from vaetune.files import DAMAGED_FILE_ERRORS, DamagedArchiveError

_NPY = ".npy"


def read_array_headers(path: Path) -> Mapping[str, NDArray[Any]]:
    """Returns arrays of zeros with the names, shapes and types of those in a file.

    They use no memory. The names are those of `read_array_file`.

    Args:
        path: A file with a name of an array file.

    Raises:
        DataError: The file cannot be read, or is damaged.
    """
    with explain_damage(path):
        if is_idx_file(path):
            return read_idx_files(path, _read_idx)
        return {"x": _read_npy(path)} if path.suffix.lower() == _NPY else _read_npz(path)


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Returns shape, order and type of an open `.npy` file; the order is true for Fortran's.

    Raises:
        ValueError: The file is damaged, or has a version that arrays of numbers do not need.
    """
    version = npy_format.read_magic(file)
    read = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"its version is {version}, expected (1, 0) or (2, 0)")
    return read(file)


def _read_idx(path: Path) -> NDArray[Any]:
    with open_idx(path) as file:
        return _zeros(*read_idx_header(file))


def _read_npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        shape, _, dtype = read_npy_header(file)
        return _zeros(shape, dtype)


def _read_npz(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(_NPY)]
            arrays = {name.removesuffix(_NPY): _read_member(archive, name) for name in names}
    except DAMAGED_FILE_ERRORS as error:
        raise DamagedArchiveError(path, is_pickled=False) from error
    is_pickled = any(array.dtype.hasobject for array in arrays.values())
    if is_pickled and all(array.ndim < 2 for array in arrays.values()):
        raise DamagedArchiveError(path, is_pickled)
    return arrays


def _read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as file:
        shape, _, dtype = read_npy_header(file)
        return _zeros(shape, dtype)


def _zeros(shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns an array of zeros that uses no memory; pickled objects are an empty array."""
    if dtype.hasobject:
        return np.empty(0, object)
    return np.broadcast_to(np.zeros((), dtype), tuple(shape))
