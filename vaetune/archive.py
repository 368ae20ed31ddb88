"""Arrays in an `.npz` file: written whole or not at all, read whole or refused."""

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import ResultsError

Arrays = dict[str, NDArray[Any]]

# What NumPy and zipfile raise on a file that was cut off or changed.
DAMAGE = (
    EOFError,
    RuntimeError,
    TokenError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class DamagedArchiveError(Exception):
    """A file that is no whole archive of plain arrays.

    Attributes:
        is_pickled: Whether it holds pickled objects, which are never unpickled.
    """

    def __init__(self, path: Path, is_pickled: bool) -> None:
        reason = "holds pickled objects" if is_pickled else "is no whole .npz file"
        super().__init__(f"{path} {reason}")
        self.is_pickled = is_pickled


def read_arrays(path: Path, names: Sequence[str] | None = None) -> Arrays:
    """Reads arrays; pickled objects are refused.

    Args:
        path: An `.npz` file.
        names: Those to read if they are there; all by default.

    Raises:
        DamagedArchiveError: The file is no whole archive of plain arrays.
        OSError: It cannot be opened.
    """
    # The file is opened here: NumPy leaves it open if it is damaged.
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                wanted = archive.files if names is None else names
                return {name: archive[name] for name in wanted if name in archive.files}
        except DAMAGE as error:
            raise DamagedArchiveError(path, "Object arrays" in str(error)) from error


def is_whole(path: Path) -> bool:
    """Whether a file is an archive whose arrays can all be read."""
    try:
        read_arrays(path)
    except (OSError, DamagedArchiveError):
        return False
    return True


def write_arrays(path: Path, arrays: Mapping[str, Any], compress: bool = False) -> None:
    """Writes arrays through to the disk, replacing the file before in one step.

    Raises:
        ResultsError: They cannot be written; the file before is unharmed.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    write: Any = np.savez_compressed if compress else np.savez
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written: {error.strerror}. What was recorded before is unharmed: "
            "mend that, then give the same command again."
        ) from error
