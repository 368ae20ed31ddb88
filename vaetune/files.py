"""Files written whole or not at all: arrays, and folders locked for one process."""

import json
import os
import socket
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from vaetune.errors import InUseError, ResultsError

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
            "fix the problem and run the same command again."
        ) from error


_LOCK_NAME = ".lock"

_LOCK_WAIT_S = 0.2
"""Longer than `is_in_use` holds a lock, shorter than a person minds."""


@contextmanager
def lock_results(folder: Path) -> Iterator[None]:
    """Keeps a folder of results to one process; the lock goes when the process does.

    Raises:
        InUseError: Another process holds it; the message names the process.
        ResultsError: The folder cannot be written.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK_NAME)
        try:
            lock.acquire(timeout=_LOCK_WAIT_S)
        except Timeout:
            raise InUseError(
                f"{folder} is in use by {_holder(folder)}. Wait for it or stop it, "
                "or write elsewhere with --results."
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
        (folder / ".holder").unlink(missing_ok=True)
        lock.release()


def is_in_use(folder: Path) -> bool:
    """Whether a process holds a folder of results, or that cannot be known.

    Where none does, asking holds the lock for an instant: do not ask again and again.
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
    """Turns the operating system's refusals to write into one clear line."""
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written: {error.strerror}. What was recorded before is unharmed: "
            "fix the problem and run the same command again."
        ) from error
