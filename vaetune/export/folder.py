"""The folder of an export: whether it may be replaced, and how it is replaced as a whole."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vaetune.errors import ResultsError
from vaetune.export.manifest import MANIFEST, read_manifest

_Written = TypeVar("_Written")

_FORMER_FILES = (
    *("vae.keras", "encoder.keras", "decoder.keras", "README.md", MANIFEST),
    *("clusters.png", "reconstructions.png", "manifold.png", "prior_samples.png"),
)
"""What an export may hold whose manifest does not list its files."""


def check_replaceable(target: Path) -> None:
    """Checks that a folder does not exist, is empty, or is an export with no other files.

    Raises:
        ResultsError: It is anything else, or the working directory is inside it.
    """
    try:
        found = list_files(target)
        if Path.cwd().is_relative_to(target.resolve()):
            raise ResultsError(
                f"{target} holds the working directory and cannot be replaced from within. "
                "Name another folder with --output, or go elsewhere first."
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{target} cannot be exported to: {error.strerror}.") from error
    if not found:
        return
    manifest = read_manifest(target)
    if manifest is None:
        raise ResultsError(
            f"{target} is not an export of vaetune and will not be overwritten. "
            "Move it away, or name another folder with --output."
        )
    listed = manifest.get("files")
    foreign = sorted(found - set(map(str, listed if isinstance(listed, list) else _FORMER_FILES)))
    if foreign:
        raise ResultsError(
            f"{target} holds what no export wrote and will not be overwritten: "
            f"{', '.join(foreign[:3])}{' and more' * (len(foreign) > 3)}. "
            "Move it away, or name another folder with --output."
        )


def replace_folder(target: Path, write: Callable[[Path], _Written]) -> _Written:
    """Writes a new folder next to the old one, then swaps them.

    Returns:
        What `write` returns.

    Raises:
        ResultsError: The folder cannot be written. The old one is unharmed, as it is by whatever
            `write` raises.
    """
    real = target.resolve()  # a link keeps pointing to the folder
    fresh, old = (real.with_name(f".{real.name}.vaetune-{age}") for age in ("new", "old"))
    try:
        if old.exists() and not real.exists():
            old.rename(real)  # a swap that was cut off half-way
        for left_over in (fresh, old):
            shutil.rmtree(left_over, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            written = write(fresh)
            check_replaceable(target)  # somebody may have put something there meanwhile
            _swap(fresh, real, old)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise ResultsError(f"{target} cannot be written: {error.strerror or error}.") from error
    shutil.rmtree(old, ignore_errors=True)
    return written


def _swap(fresh: Path, real: Path, old: Path) -> None:
    try:
        if real.exists():
            real.rename(old)
        fresh.rename(real)
    except BaseException:
        if old.exists() and not real.exists():
            old.rename(real)
        raise


def list_files(folder: Path) -> set[str]:
    """The files of a folder and of those in it, and folders that are empty, by relative path.

    Raises:
        OSError: It is no folder, is not there, or cannot be read.
    """
    found = set()
    for path in folder.iterdir():
        inside = list_files(path) if path.is_dir() and not path.is_symlink() else set()
        found |= {f"{path.name}/{name}" for name in inside} or {path.name}
    return found
