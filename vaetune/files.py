"""Atomic writing of array files, and locks on folders of results."""

import json
import os
import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from vaetune.errors import InUseError, ResultsError

Arrays = dict[str, NDArray[Any]]

# NumPy and zipfile raise these for a file that is truncated or damaged.
DAMAGED_FILE_ERRORS = (
    EOFError,
    RuntimeError,
    TokenError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class DamagedArchiveError(Exception):
    """A file is not a complete archive of plain arrays.

    Attributes:
        is_pickled: True if the file contains pickled objects, which are never loaded.
    """

    def __init__(self, path: Path, is_pickled: bool) -> None:
        reason = "contains pickled objects" if is_pickled else "is not a complete .npz file"
        super().__init__(f"{path} {reason}")
        self.is_pickled = is_pickled


def read_arrays(path: Path, names: Sequence[str] | None = None) -> Arrays:
    """Reads arrays from a file. Pickled objects are never loaded.

    Args:
        path: Path of an `.npz` file.
        names: Names of the arrays to read; missing ones are skipped. Default: all arrays.

    Raises:
        DamagedArchiveError: The file is not a complete archive of plain arrays.
        OSError: The file cannot be opened.
    """
    # Open the file here, because NumPy does not close a damaged one.
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                wanted = archive.files if names is None else names
                return {name: archive[name] for name in wanted if name in archive.files}
        except DAMAGED_FILE_ERRORS as error:
            raise DamagedArchiveError(path, "Object arrays" in str(error)) from error


def list_arrays(path: Path) -> list[str]:
    """Returns the names of the arrays in a file.

    Args:
        path: Path of an `.npz` file.

    Raises:
        DamagedArchiveError: The file is not an archive.
        OSError: The file cannot be opened.
    """
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.lib.npyio.NpzFile):
                with archive:
                    return list(archive.files)
        except DAMAGED_FILE_ERRORS as error:
            raise DamagedArchiveError(path, False) from error
    raise DamagedArchiveError(path, False)


def is_whole(path: Path) -> bool:
    """Whether a file is an archive and all its arrays can be read."""
    try:
        read_arrays(path)
    except (OSError, DamagedArchiveError):
        return False
    return True


def write_arrays(path: Path, arrays: Mapping[str, Any], compress: bool = False) -> None:
    """Writes arrays to an `.npz` file; see `write_atomically`.

    Raises:
        ResultsError: They cannot be written. An earlier file stays as it was.
    """
    save: Any = np.savez_compressed if compress else np.savez
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: save(file, **arrays))


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], own_temporary: bool = False
) -> None:
    """Writes a file to the disk and replaces an earlier one in one step.

    Readers see the earlier file or the new one, even after a power failure.

    Args:
        path: File to write.
        write: Function that writes the contents into an open file.
        own_temporary: True to give the temporary file a name of its own for each process, for files
            that several processes may write at the same time.

    Raises:
        ResultsError: The file cannot be written. An earlier file stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid() if own_temporary else 'tmp'}")
    with writing_to(path):
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def escape_bytes(text: str) -> str:
    """Escapes bytes that are not UTF-8 in a name or path, such as those of a name in Latin-1."""
    return text.encode(errors="backslashreplace").decode()


def check_writable(path: Path, flag: str) -> None:
    """Checks that a file can be written, by beginning one next to it, before anything is computed.

    Args:
        path: File to write later.
        flag: Option of the command line that names the file.

    Raises:
        ResultsError: There is no such folder, or the file cannot be written.
    """
    if not path.parent.is_dir():
        raise ResultsError(f"There is no folder {path.parent}. Create it, or choose another one.")
    begun = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        begun.touch()
        begun.unlink()
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written: {error.strerror}. Choose another file with {flag}."
        ) from error


_LOCK_NAME = ".lock"

_LOCK_WAIT_S = 0.2
"""Seconds to wait for a lock: longer than `is_in_use` holds it, too short to be noticed."""


@contextmanager
def lock_results(folder: Path) -> Iterator[None]:
    """Locks a folder of results for this process. The lock ends with the process at the latest.

    Raises:
        InUseError: Another process holds the lock. The message names the process.
        ResultsError: The folder cannot be written.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK_NAME)
        try:
            lock.acquire(timeout=_LOCK_WAIT_S)
        except Timeout:
            raise InUseError(
                f"{folder} is in use by {_holder(folder)}. Wait for it, stop it, or choose another "
                "folder with --results."
            ) from None
    try:
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(),
        }
        with writing_to(folder):
            (folder / ".holder").write_text(json.dumps(holder))
        yield
    finally:
        with suppress(OSError):  # If the disk is read-only, an earlier error says so.
            (folder / ".holder").unlink()
        lock.release()


def is_in_use(folder: Path) -> bool:
    """Whether a process holds the lock of a folder of results; also True if this is unknown.

    If the folder is free, this call locks it for an instant, so do not call it in a loop.
    """
    path = folder / _LOCK_NAME
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / ".holder").read_text())
        return f"process {holder['pid']} on {holder['host']} since {holder['since'][:16]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns errors of the operating system into one clear error message.

    Raises:
        ResultsError: The body raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written: {error.strerror}. Everything found so far is kept. "
            "Fix the problem, then try again."
        ) from error
