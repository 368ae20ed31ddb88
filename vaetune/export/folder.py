"""The folder of an export: checks that it may be replaced, and replaces it in one step."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from vaetune.errors import ResultsError
from vaetune.study import MANIFEST, read_manifest

_Written = TypeVar("_Written")

_UNLISTED_FILES = (
    *("vae.keras", "encoder.keras", "decoder.keras", "README.md", MANIFEST),
    *("clusters.png", "reconstructions.png", "manifold.png", "prior_samples.png"),
)
"""Files of an older export; its manifest does not list them."""


def check_replaceable(target: Path) -> None:
    """Checks that a folder is missing, empty, or an export without any other files.

    Raises:
        ResultsError: It is anything else, or it contains the working directory.
    """
    try:
        found = list_files(target)
        if Path.cwd().is_relative_to(target.resolve()):
            raise ResultsError(
                f"{target} contains the working directory and cannot be replaced. "
                "Choose another folder with --output, or change the working directory first."
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{target} cannot be read: {error.strerror}.") from error
    if not found:
        return
    manifest = read_manifest(target)
    if manifest is None:
        raise ResultsError(
            f"{target} is not an export of vaetune and will not be overwritten. "
            "Move it away, or choose another folder with --output."
        )
    listed = manifest.get("files")
    own = set(map(str, listed if isinstance(listed, list) else _UNLISTED_FILES))
    foreign = sorted(name for name in found - own if not name.startswith("__pycache__/"))
    if foreign:
        raise ResultsError(
            f"{target} holds files that vaetune did not write and will not be overwritten: "
            f"{', '.join(foreign[:3])}{' and more' * (len(foreign) > 3)}. "
            "Move it away, or choose another folder with --output."
        )


def replace_folder(target: Path, write: Callable[[Path], _Written]) -> _Written:
    """Writes a new folder next to the old one, then swaps the two.

    Args:
        target: Folder to replace.
        write: Writes the contents into an empty folder.

    Returns:
        The result of `write`.

    Raises:
        ResultsError: The folder cannot be written, or another process is writing it. If this or
            any other error occurs, the old folder stays as it was.
    """
    real = target.resolve()  # A symbolic link keeps pointing to the folder.
    new, old = (real.with_name(f".{real.name}.vaetune-{age}") for age in ("new", "old"))
    with _locked(real):
        return _replace(target, real, new, old, write)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks a folder for one process of this user on this machine, without a file next to it.

    Without a folder for temporary files, it is not locked.
    """
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    user = getattr(os, "getuid", int)()  # Two users cannot open one lock file.
    with ExitStack() as stack:
        try:
            path = Path(tempfile.gettempdir(), f"vaetune-export-{user}-{key}.lock")
            stack.enter_context(FileLock(path).acquire(timeout=0))
        except Timeout:
            raise ResultsError(
                f"Another process is exporting to {folder}. Wait for it, or choose another folder "
                "with --output."
            ) from None
        except OSError:
            pass
        yield


def _replace(
    target: Path, real: Path, new: Path, old: Path, write: Callable[[Path], _Written]
) -> _Written:
    try:
        if old.exists() and not real.exists():
            old.rename(real)  # An earlier process was killed between the two renames.
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            written = write(new)
            check_replaceable(target)  # The folder may have changed during the export.
            _swap(new, real, old)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise ResultsError(f"{target} cannot be written: {error.strerror or error}.") from error
    shutil.rmtree(old, ignore_errors=True)
    return written


def _swap(new: Path, real: Path, old: Path) -> None:
    """Renames `real` to `old` and `new` to `real`; undoes the first if the second fails."""
    try:
        if real.exists():
            real.rename(old)
        new.rename(real)
    except BaseException:
        if old.exists() and not real.exists():
            old.rename(real)
        raise


def list_files(folder: Path) -> set[str]:
    """The relative paths of all files below a folder, and of all empty folders.

    Raises:
        OSError: The folder does not exist, is not a folder, or cannot be read.
    """
    found = set()
    for path in folder.iterdir():
        inside = list_files(path) if path.is_dir() and not path.is_symlink() else set()
        found |= {f"{path.name}/{name}" for name in inside} or {path.name}
    return found
